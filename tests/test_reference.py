"""The reference of the site names every command, key and public function: it is drawn from the code."""

import importlib.util
import pkgutil
import re
from pathlib import Path

import pytest

import caelab
from caelab.config import options

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("sphinx", reason="the extra docs is not installed")


@pytest.fixture(scope="module")
def catalogue():
    spec = importlib.util.spec_from_file_location("catalogue", ROOT / "docs" / "catalogue.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_with_its_options(catalogue, lab):
    said = "\n".join(catalogue.commands())
    names = re.findall(r"^  (\w+)  ", lab("--help")[1].partition("Commands:")[2], re.MULTILINE)
    assert {"train", "audit", "export"} <= {*names}
    assert re.findall(r"^## caelab (\w+)$", said, re.MULTILINE) == names
    assert "| `--format NAME` | onnx, torch_export or safetensors |" in said
    assert "```text\ncaelab study table2 --seeds 5\n" in said


def test_every_group_option_and_key(catalogue):
    said = "\n".join(catalogue.configuration())
    for group in (path.name for path in (ROOT / "conf").iterdir() if path.is_dir() and path.name != "hydra"):
        for file in (ROOT / "conf" / group).glob("*.yaml"):
            assert f"### {group}={file.stem}\n" in said
    known = {key for key in options.every_key() if not key.endswith("_partial_")} - {*options.groups()}
    leaves = {key for key in known if not any(other.startswith(f"{key}.") for other in known)}
    told = {*re.findall(r"^\| `([\w.]+)` \|", said, re.MULTILINE)}
    assert {
        key for key in leaves if key.partition(".")[0] not in ("study", "experiment", "debug")
    } - told == set()


def test_what_a_key_means(catalogue):
    said = "\n".join(catalogue.configuration())
    assert (
        "| `bottleneck.dim` | `8` | numbers of a token; it must divide model.latent |" in said
    )  # of its YAML
    assert "`caelab train bottleneck=vq bottleneck.entries=1024` (pip install 'caelab\\[vq\\]')" in said
    assert "MNIST: `caelab train dataset=mnist`\n" in said
    assert "-` `${hydra:runtime.choices.model}-` `${" in said  # where a line may break
    assert re.search(r"\| `dataset.path` \| `[^|]*` \| the file. An ``.npy`` of", said)  # of its class


def test_every_public_function_and_class(catalogue):
    """By the source: each module's definitions at its top, whose names do not begin with an underscore."""
    pages = catalogue.modules()
    told = {name for names in pages.values() for name in names}
    every = {one.name for one in pkgutil.walk_packages(caelab.__path__, "caelab.")}
    assert told == {name for name in every if "__main__" not in name}
    for name in ("caelab.api", "caelab.losses", "caelab.models.residual", "caelab.runs.analyses"):
        source = Path(importlib.util.find_spec(name).origin).read_text()
        defined = re.findall(r"^(?:def|class) ([a-zA-Z]\w*)", source, re.MULTILINE)
        text = "\n".join(catalogue.python([name]))
        assert re.search(r":members: (.*)", text)[1].split(", ") == defined
    face = "\n".join(catalogue.face())
    assert re.findall(r"^## caelab\.(\w+)", face, re.MULTILINE) == caelab.__all__

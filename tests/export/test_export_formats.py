"""Each format: what is in its files, that they are the network, and that the card's code loads them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from toys import images, leave_whole_run

from caelab.errors import UserError
from caelab.export import formats
from caelab.export.check import check
from caelab.export.export import export
from caelab.export.formats import FORMATS, find, metadata
from caelab.export.parts import parts
from caelab.inference import restore
from caelab.models.base import Base
from caelab.models.classical import Classical
from caelab.models.honest_skip import HonestSkip
from caelab.models.improved import Improved
from caelab.models.internal_skip import InternalSkip
from caelab.models.pca import PCA
from caelab.models.residual import Residual
from caelab.runs import results

SKIPS = {
    "_target_": "caelab.models.improved_skip.ImprovedSkip",
    "latent": 6,
    "channels": [2, 4],
    "skip_levels": [1, 2],
}
CODE = ("z", "skip_1", "skip_2")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a network with two skips on images of 3x28x28."""
    return leave_whole_run(tmp_path_factory.mktemp("runs") / "skips", SKIPS)


@pytest.fixture(scope="module")
def exported(run):
    """The same run in each format, exported when it is first asked for."""
    done = {}

    def get(name):
        if name not in done:
            export(run, name)
            done[name] = run / "export" / name
        return done[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("caelab.export.check.SECONDS", 0.0)  # one pass
        yield get


@pytest.fixture(scope="module")
def net(run):
    return restore.load(run)


def outputs(net, x):
    """What encoder, decoder and autoencoder must give: z, skip_1, skip_2, x_hat."""
    with torch.no_grad():
        code = net.encode(x)
        return [code.z, *code.skips, net(x)]


def test_onnx_in_a_fresh_process_is_the_network(exported, net, tmp_path):
    x = torch.rand(3, *net.shape)
    np.save(tmp_path / "x.npy", x.numpy())
    code = f"""
import sys
import numpy as np, onnxruntime
folder, x = {str(exported("onnx"))!r}, np.load("x.npy")
encoder, decoder, whole = (
    onnxruntime.InferenceSession(f"{{folder}}/{{name}}.onnx", providers=["CPUExecutionProvider"])
    for name in ("encoder", "decoder", "autoencoder")
)
for n in (1, 3):
    z, *skips = encoder.run({CODE!r}, {{"x": x[:n]}})
    given = {{"z": z, **{{f"skip_{{i}}": skip for i, skip in enumerate(skips, start=1)}}}}
    (x_hat,) = decoder.run(["x_hat"], given)
    np.savez(f"{{n}}.npz", z, *skips, x_hat, *whole.run(["x_hat"], {{"x": x[:n]}}))
assert "torch" not in sys.modules and "caelab" not in sys.modules
"""
    command = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(command, cwd=tmp_path, check=True)
    for n in (1, 3):
        want = outputs(net, x[:n])
        with np.load(tmp_path / f"{n}.npz") as found:
            for got, expected in zip(found.values(), [*want, want[-1]], strict=True):
                np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)


def test_onnx_names_its_axes_and_says_what_it_is(exported, run):
    record = results.finished(run)
    model = onnx.load(exported("onnx") / "decoder.onnx")
    sizes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert sizes == {
        "z": ["batch", 6],
        "skip_1": ["batch", 2, 14, 14],
        "skip_2": ["batch", 4, 7, 7],
        "x_hat": ["batch", 3, 28, 28],
    }
    kept = {one.key: one.value for one in model.metadata_props}
    assert json.loads(kept["caelab"]) == metadata(record)


def test_torch_export_is_the_network_and_says_what_it_is(exported, run, net):
    kept = {"caelab.json": ""}
    folder = exported("torch_export")
    encoder = torch.export.load(folder / "encoder.pt2", extra_files=kept).module()
    decoder = torch.export.load(folder / "decoder.pt2").module()
    whole = torch.export.load(folder / "autoencoder.pt2").module()
    assert json.loads(kept["caelab.json"]) == metadata(results.finished(run))
    for n in (1, 3):
        x = torch.rand(n, *net.shape)
        *code, x_hat = outputs(net, x)
        for got, want in zip(encoder(x), code, strict=True):
            torch.testing.assert_close(got, want)
        torch.testing.assert_close(decoder(*code), x_hat)
        torch.testing.assert_close(whole(x), x_hat)


def test_safetensors_hold_the_weights_and_what_builds_the_network(exported, run, net):
    with safe_open(exported("safetensors") / "autoencoder.safetensors", "pt") as file:
        kept = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state = net.state_dict()
    assert weights.keys() == state.keys()
    assert all(torch.equal(weights[name], state[name]) for name in state)
    assert list(kept) == ["caelab"]
    about = json.loads(kept["caelab"])
    assert about == metadata(results.finished(run))
    assert (about["schema"], about["model"], about["shape"]) == (1, SKIPS, [3, 28, 28])


def test_metadata_name_no_place_of_this_machine(run):
    record = results.finished(run)
    about = metadata(record)
    assert about["fingerprint"] == "0123456789abcdef"
    assert (about["range"], about["metrics"], about["data"]) == ([0, 1], record.metrics, record.data.plain())
    assert about["config"]["dataset"] == {
        "_target_": "caelab.data.shapes.Shapes",
        "batch_size": 32,
        "image_size": 28,
        **{"train_size": 96, "val_size": 40, "test_size": 50},
    }
    assert set(about["config"]) == {"model", "loss", "dataset", "corruption"}
    assert "/home/someone" in json.dumps(record.config)
    assert "/home/someone" not in json.dumps(about)


@pytest.mark.parametrize("name", FORMATS)
def test_files_name_no_place_of_this_machine(exported, run, name):
    files = sorted(exported(name).iterdir())
    assert len(files) == {"onnx": 4, "torch_export": 4, "safetensors": 2}[name]
    places = [str(place).encode() for place in (ROOT, run, Path(sys.prefix), "/home/someone")]
    for file in files:
        content = file.read_bytes()
        assert [place for place in places if place in content] == [], file


@pytest.mark.parametrize("name", FORMATS)
def test_code_in_the_card_loads_the_files(exported, net, name, monkeypatch):
    card = (exported(name) / "model_card.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir(exported(name))
    made = {}
    exec(code, made)
    want = outputs(net, torch.zeros(5, 3, 28, 28))[-1]
    torch.testing.assert_close(torch.as_tensor(made["x_hat"]), want)
    assert "0123456789abcdef" in str(made["about"])


@pytest.mark.parametrize("name", FORMATS)
def test_code_in_the_docs_loads_the_files(exported, net, name, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "how" / "export.md").read_text(), re.DOTALL)
    (code,) = [block for block in blocks if FORMATS[name].file("") in block]
    monkeypatch.chdir(exported(name))
    made = {}
    exec(code.replace("3, 32, 32", "3, 28, 28"), made)
    want = outputs(net, torch.zeros(5, 3, 28, 28))[-1]
    torch.testing.assert_close(torch.as_tensor(made["x_hat"]), want)


@pytest.mark.parametrize("name", FORMATS)
def test_flipped_bytes_are_found(exported, net, name, tmp_path):
    bias = net.state_dict()["decoder.1.0.bias"].numpy().tobytes()
    for path in exported(name).iterdir():
        content = path.read_bytes()
        flipped = bytes(byte ^ 0x40 for byte in bias[:4]) + bias[4:]
        (tmp_path / path.name).write_bytes(content.replace(bias, flipped))
    with pytest.raises(
        UserError, match=r"the decoder in \w+\.\w+ differs from the network by|cannot be read back"
    ):
        check(tmp_path, FORMATS[name], list(parts(net)), images(4, net.shape))


TINY = {"latent": 4, "channels": (2, 3)}


@pytest.mark.parametrize(
    "net",
    [
        Base((1, 28, 28), **TINY, activation="GELU"),
        Improved((3, 15, 17), **TINY),
        HonestSkip((1, 28, 28), **TINY, skip_levels=(1,)),
        InternalSkip((1, 13, 16), **TINY, encoder_skips=((0, 2),), decoder_skips=((0, 1),), residual=True),
        Residual((1, 13, 18), 5, channels=4, blocks=1, encoder_channels=8),
        PCA((1, 12, 12), 5),
        PCA((1, 12, 12), 0),
    ],
    ids=lambda net: f"{type(net).__name__}-{net.latent}",
)
def test_every_model_can_be_traced(net, tmp_path):
    form, pieces = FORMATS["torch_export"], list(parts(net))[:2]
    for file, content in form.write(pieces, {}):
        (tmp_path / file).write_bytes(content)
    x = torch.rand(3, *net.shape)
    encode, decode = (form.read(tmp_path, part) for part in pieces)
    with torch.no_grad():
        torch.testing.assert_close(decode(encode((x,)))[0], net(x))


def test_what_cannot_be_traced_is_refused_in_a_line_and_kept_as_config(tmp_path):
    pieces = list(parts(Classical((1, 12, 12), "median")))
    with pytest.raises(
        UserError, match=r"the decoder: torch.export cannot trace it \(.+\); --format safeten"
    ) as e:
        list(FORMATS["torch_export"].write(pieces, {}))
    assert "\n" not in str(e.value)
    config = {"_target_": "caelab.models.classical.Classical", "filter": "median"}
    about = {"schema": 1, "model": config, "shape": [1, 12, 12], "fingerprint": "0", "metrics": {}}
    ((file, content),) = FORMATS["safetensors"].write(pieces, about)
    (tmp_path / file).write_bytes(content)
    assert [
        one.difference for one in check(tmp_path, FORMATS["safetensors"], pieces, images(2, (1, 12, 12)))
    ] == [0.0] * 3


def test_formats_that_cannot_be_are_named(monkeypatch):
    with pytest.raises(UserError, match="--format onxx: there is no such format; did you mean 'onnx'"):
        find("onxx")
    monkeypatch.setattr(formats, "installed", lambda package: package != "onnxscript")
    with pytest.raises(
        UserError, match=r'--format onnx: onnxscript not installed; pip install "caelab\[export\]"'
    ):
        find("onnx")
    assert find("safetensors") is FORMATS["safetensors"]

"""Classes of a module of the user's own: built, known by their source, and opened again."""

import sys

import pytest
import torch
from tiny import TINY
from torch import nn

import caelab
from caelab.config import source
from caelab.config.build import instantiate
from caelab.errors import UserError
from caelab.models import outside
from caelab.models.autoencoder import Code
from caelab.models.refinement import fit
from caelab.runs import trust

DATA = ("trainer.max_epochs=1", *(word for word in TINY if word.startswith(("dataset", "trainer.acc"))))
NETS = '''
import torch
from caelab.models.autoencoder import Code
from own_layers import WIDTH


class Plain(torch.nn.Module):
    """Two linear layers."""

    def __init__(self, latent=WIDTH):
        super().__init__()
        self.weight = torch.nn.Parameter(0.01 * torch.randn(3 * 32 * 32, latent))

    def encode(self, x):
        return Code(x.flatten(1) @ self.weight)

    def decode(self, code):
        return (code.z @ self.weight.T).sigmoid().reshape(-1, 3, 32, 32)
'''


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A module with a network, another that it imports from beside it, and an option that names it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own_nets.py").write_text(NETS)
    (tmp_path / "own_layers.py").write_text("WIDTH = 5\n")
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "plain.yaml").write_text("_target_: own_nets.Plain\nlatent: 5\n")
    yield tmp_path / "own_nets.py"
    forget()


def forget():
    """Import the modules anew, as another process does."""
    for name in ("own_nets", "own_layers"):
        sys.modules.pop(name, None)
    trust._trained_with.clear()


class Line(nn.Module):
    """Its pictures go beyond black and white."""

    def encode(self, x):
        return Code(x.flatten(1))

    def decode(self, code):
        return (2 * code.z - 0.5).unflatten(1, (1, 1, 3))


def test_pictures_are_clamped_but_for_training():
    net, x = outside.network(Line(), (1, 1, 3)), torch.tensor([[[[0.0, 0.5, 1.0]]]])
    assert net.train()(x).flatten().tolist() == [-0.5, 0.5, 1.5]
    assert net.eval()(x).flatten().tolist() == [0, 0.5, 1]
    assert fit(net, x, net.encode(x), 1).errors.max() == 0  # as it is scored


def test_a_network_without_a_base_class_is_trained_known_by_its_source_and_opened(train, nets):
    first = train("model=plain", *DATA, tiny=False)
    assert first.status == 0, first.err
    assert first.record["size"]["latent"] == first.record["size"]["effective_code"] == 5
    assert first.record["size"]["parameters"] == 3 * 32 * 32 * 5
    assert list(first.record["sources"]) == ["own_nets.Plain"]
    forget()
    model = caelab.load(first.run_dir)
    assert type(model.network.net).__name__ == "Plain"
    assert model.shape == (3, 32, 32)
    assert model.reconstruct(torch.rand(2, 3, 32, 32)).shape == (2, 3, 32, 32)

    nets.write_text(NETS.replace("Two linear layers", "One matrix, used twice") + "# a remark\n")
    again = train("model=plain", *DATA, tiny=False)
    assert "finished before" in again.out
    nets.with_name("own_layers.py").write_text("WIDTH = 6\n")
    refused = train("model=plain", *DATA, tiny=False)
    assert "own_nets.Plain: its file has changed since it was imported" in refused.err
    forget()
    other = train("model=plain", *DATA, tiny=False)
    assert len(other.records) == 2
    assert {one["fingerprint"] for one in other.records} > {first.record["fingerprint"]}
    with pytest.raises(UserError, match=r"own_nets\.Plain has changed since; restore its code"):
        caelab.load(first.run_dir)


def test_an_export_of_such_a_network_is_opened_by_whom_its_run_is(train, nets, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(nets.parent / "user"))
    run = train("model=plain", *DATA, tiny=False).run_dir
    caelab.Run(run).export("safetensors")
    file = run / "export" / "safetensors" / "autoencoder.safetensors"
    assert "Two linear layers." in (file.parent / "model_card.md").read_text()
    forget()
    assert caelab.load(file).latent == 5
    nets.with_name("own_layers.py").write_text("WIDTH = 6\n")
    forget()
    with pytest.raises(UserError, match=r"own_nets\.Plain: code that is not the lab's and that you have not"):
        caelab.load(file)
    monkeypatch.setenv("PYTHONPATH", str(nets.parent))
    monkeypatch.syspath_prepend(nets.parent)
    with pytest.raises(UserError, match=r"safetensors: own_nets\.Plain has changed since; restore its code"):
        caelab.load(file, trust=["own_nets"])
    nets.with_name("own_layers.py").write_text("WIDTH = 5\n")
    forget()
    assert caelab.load(file, trust=["own_nets"]).latent == 5


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import a.b, c", ["a.b", "c"]),
        ("from a import b", ["a", "a.b"]),
        ("from . import b", ["pkg.sub", "pkg.sub.b"]),
        ("from ..x import b", ["pkg.x", "pkg.x.b"]),
        ("def f():\n    import late\n", ["late"]),
    ],
)
def test_what_a_module_imports(text, names):
    assert list(source._imports(text, "pkg.sub")) == names


def test_the_lab_s_classes_and_python_s_own_have_no_digest():
    known = ["caelab.models.base.Base", "torch.nn.MSELoss", "functools.partial", "torchvision.ops.MLP"]
    assert source.digests([{"_target_": target} for target in known]) == {}
    assert source.digests({"_target_": "nowhere.Net"}) == {}
    assert source.digests({"a": [{"_target_": "test_outside.Odd"}]}).keys() == {"test_outside.Odd"}


def test_a_module_that_is_no_python_is_one_line(nets):
    nets.with_name("own_layers.py").write_text("WIDTH = 5\n\n(\n")
    with pytest.raises(UserError, match=r"own_nets\.Plain: '\(' was never closed in line 3"):
        source.digests({"_target_": "own_nets.Plain"})


class Odd(nn.Module):
    """A network whose parts may be anything."""

    def __init__(self, code=None, x_hat=None):
        super().__init__()
        self.code, self.x_hat = code, x_hat

    def encode(self, x):
        return self.code

    def decode(self, code):
        return self.x_hat


@pytest.mark.parametrize(
    ("code", "x_hat", "line"),
    [
        (torch.zeros(1, 4), None, r"model: Odd\.encode must return a Code\(z, skips\), got Tensor"),
        (Code(torch.zeros(1, 4, 2)), None, r"model: Odd\.encode: z must be \(N, latent\), got \(1, 4, 2\)"),
        (Code(torch.zeros(1, 4)), torch.zeros(1, 3, 8, 7), r"model: Odd\.decode returns \(1, 3, 8, 7\)"),
    ],
)
def test_a_network_that_breaks_the_contract_is_told_how(code, x_hat, line):
    with pytest.raises(UserError, match=line):
        outside.network(Odd(code, x_hat), (3, 8, 8))


def test_what_is_no_network():
    with pytest.raises(UserError, match="model: object is not a torch"):
        outside.network(object(), (3, 8, 8))
    with pytest.raises(UserError, match="has no 'encode'; give it encode"):
        instantiate({"_target_": "torch.nn.ReLU"}, "model", shape=(3, 8, 8))


class Fitted(Odd):
    """Keeps what it was fitted to."""

    def initialise(self, images):
        self.images = images


def test_the_lab_asks_a_network_for_no_more_than_it_has():
    code, x = Code(torch.ones(1, 4)), torch.zeros(1, 3, 8, 8)
    state = torch.get_rng_state()
    plain = outside.network(Odd(code, x), [3, 8, 8])
    assert torch.equal(torch.get_rng_state(), state)
    assert (plain.latent, plain.shape, plain.training) == (4, (3, 8, 8), True)
    plain.initialise_from("images", "corrupted")
    fitted = outside.network(Fitted(code, x), (3, 8, 8))
    fitted.initialise_from("images", "corrupted")
    assert fitted.net.images == "images"
    assert outside.network(fitted, (3, 8, 8)) is fitted

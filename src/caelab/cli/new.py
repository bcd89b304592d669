"""``caelab new``: the first files of a model, a loss, a dataset or a study of one's own."""

import re
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from typing import Annotated

import typer

from caelab import terminal
from caelab.cli.arguments import examples
from caelab.errors import UserError

_MODEL = '''
"""CLASS: one convolution, a linear code, and the way back."""

from torch import nn

from caelab.models.autoencoder import Code


class CLASS(nn.Module):
    """A small autoencoder.

    Args:
        shape: (C, H, W) of one image; the dataset gives it.
        latent: numbers of the code.
        features: channels of the convolution.
    """

    def __init__(self, shape, latent=64, features=16):
        super().__init__()
        channels, self.height, self.width = shape
        inside = (features, (self.height + 1) // 2, (self.width + 1) // 2)
        numbers = inside[0] * inside[1] * inside[2]
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, features, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(numbers, latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, numbers),
            nn.ReLU(),
            nn.Unflatten(1, inside),
            nn.ConvTranspose2d(features, channels, 2, stride=2),
            nn.Sigmoid(),
        )

    def encode(self, x):
        """Map images (N, C, H, W) in [0, 1] to their code; z is (N, latent)."""
        return Code(self.encoder(x))

    def decode(self, code):
        """Map a code to images (N, C, H, W) in [0, 1]."""
        return self.decoder(code.z)[..., : self.height, : self.width]
'''

_MODEL_TEST = """
import pytest
import torch
from NAME import CLASS


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 15, 17)])
def test_code_and_images_have_their_shapes(shape):
    net = CLASS(shape, latent=8)
    code = net.encode(torch.rand(2, *shape))
    assert code.z.shape == (2, 8)
    assert net.decode(code).shape == (2, *shape)


def test_every_weight_learns():
    net = CLASS((3, 32, 32))
    net.decode(net.encode(torch.rand(2, 3, 32, 32))).square().sum().backward()
    assert all(weight.grad is not None for weight in net.parameters())
"""

_LOSS = '''
"""CLASS: absolute errors, rounded off near zero."""

from torch import nn


class CLASS(nn.Module):
    """The mean of ``sqrt((x_hat - x)^2 + epsilon^2) - epsilon`` over all pixels.

    Args:
        epsilon: errors below it count by their square.
    """

    def __init__(self, epsilon=0.01):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, x_hat, x):
        """Compare ``x_hat`` with ``x``, both (N, C, H, W) in [0, 1]; returns a scalar."""
        return ((x_hat - x).square() + self.epsilon**2).sqrt().mean() - self.epsilon
'''

_LOSS_TEST = """
import pytest
import torch
from NAME import CLASS


def test_a_perfect_image_has_none():
    x = torch.rand(2, 3, 8, 8)
    assert CLASS()(x, x).item() == pytest.approx(0, abs=1e-6)


def test_a_known_error():
    x = torch.zeros(2, 3, 8, 8)
    assert CLASS(epsilon=0.4)(x + 0.3, x).item() == pytest.approx(0.1)  # 3, 4, 5
"""

_DATASET = '''
"""CLASS: stripes of any width, drawn when they are asked for."""

import hashlib

import torch

from caelab.data.datamodule import ImageDataModule, Split


def draw(n, seed):
    """Draw n images (n, 1, 32, 32) uint8 and their classes (n,) int64."""
    random = torch.Generator().manual_seed(seed)
    classes = torch.randint(2, (n,), generator=random)
    widths = torch.randint(2, 9, (n, 1, 1), generator=random)
    places = torch.arange(32)
    rows, columns = places[:, None].expand(32, 32), places.expand(32, 32)
    along = torch.where(classes[:, None, None] == 0, rows, columns)  # (n, 32, 32)
    return (along // widths % 2 * 255).to(torch.uint8)[:, None], classes


class CLASS(ImageDataModule):
    """Horizontal and vertical stripes; the label is the direction."""

    name = "NAME"
    shape = (1, 32, 32)
    class_names = ("horizontal", "vertical")

    def load(self):
        """The three splits, and the SHA-256 of their images."""
        splits, whole = {}, hashlib.sha256()
        for seed, (split, n) in enumerate({"train": 1000, "val": 200, "test": 200}.items()):
            images, classes = draw(n, seed)
            splits[split] = Split(images, classes, torch.arange(n))
            whole.update(images.numpy().tobytes())
        return splits, whole.hexdigest()
'''

_DATASET_TEST = """
from NAME import CLASS, draw


def test_splits(tmp_path):
    data = CLASS(str(tmp_path), train_size=100)
    data.setup()
    assert {split: len(images) for split, images in data.splits.items()} == {
        "train": 100,
        "val": 200,
        "test": 200,
    }
    assert data.splits["test"][:3].shape == (3, *data.shape)


def test_stripes_lie_along_their_class():
    images, classes = draw(20, seed=0)
    assert (images[classes == 0] == images[classes == 0][..., :1]).all()
    assert (images[classes == 1] == images[classes == 1][..., :1, :]).all()
"""

_STUDY = """
# caelab study NAME
title: Kernel size
text: Does a larger kernel help base?
datasets: [shapes]
epochs: 3
seeds: 3
runs:
  "3x3": [model=base]
  "5x5": [model=base, model.kernel_size=5]
floors:
  PCA 256: [model=pca]
reference: "3x3"
claims:
  - {text: larger kernels help, better: ["5x5"], than: ["3x3"]}
quick: {epochs: 1, train_size: 1000}
"""

_COMMAND = {"study": "caelab study NAME --budget quick", "dataset": "caelab train dataset=NAME"}
_KEYS = {
    "model": "latent: 64\nfeatures: 16\n",
    "loss": "epsilon: 0.01\n",
    "dataset": "data_dir: ${paths.data}\nbatch_size: 256\ntrain_size: null\nclasses: null\n",
}
_CODE = {"model": (_MODEL, _MODEL_TEST), "loss": (_LOSS, _LOSS_TEST), "dataset": (_DATASET, _DATASET_TEST)}

_VALUES = ("null", "nan", "inf")  # for which Hydra takes them, beside those that Python has, too


def add(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=examples("caelab new model wide", "caelab new study kernels"))(new)


def new(
    kind: Annotated[str, typer.Argument(metavar="model|loss|dataset|study")],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="name of the option and its module, such as wide")
    ],
) -> None:
    """Start a model, loss, dataset or study of your own.

    Writes a YAML file, a class and a test to the working directory (for a study, the YAML file alone). They
    work as they are. Existing files are kept.
    """
    files = contents(kind, name)
    for path in files:
        if path.exists():
            raise UserError(f"{path} exists already; choose another name")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    terminal.say(f"{', '.join(map(str, files))}; next: {_command(kind, name)}")


def contents(kind: str, name: str) -> dict[Path, str]:
    """Return what each of the files holds.

    Raises:
        UserError: no kind of what can be new, no name of a module, or a taken one.
    """
    from caelab.config import options
    from caelab.studies import LOOSE

    if kind not in (kinds := [*_CODE, "study"]):
        raise UserError(f"{kind}: caelab new cannot write that{terminal.nearest(kind, kinds)}")
    if not name.isidentifier() or not name.islower() or not name.isascii():  # Hydra takes no other letters
        raise UserError(f"{name}: a name takes only a to z, digits and _, such as wide")
    if iskeyword(name) or iskeyword(_class(name)) or name in _VALUES:
        raise UserError(f"{name}: is a reserved word of Python or YAML; choose another name")
    if kind == "study" and name == LOOSE:
        raise UserError(f"{name}: is reserved for tables of runs without a study; choose another name")
    if name in options.files(kind):
        raise UserError(f"{name}: there is a {kind}={name} already; choose another name")
    if kind != "study" and find_spec(name):
        raise UserError(f"{name}: there is a module {name} already; choose another name")
    of_options = Path("conf", kind, f"{name}.yaml")
    if kind == "study":
        return {of_options: _filled(_STUDY, name)}
    if re.search(rf"^from .* import .*\b{_class(name)}\b", _CODE[kind][0], re.MULTILINE):
        raise UserError(f"{name}: its file imports another {_class(name)}; choose another name")
    code, test = (_filled(text, name) for text in _CODE[kind])
    header = _filled(f"# {_command(kind, name)}\n_target_: NAME.CLASS\n", name)
    return {of_options: header + _KEYS[kind], Path(f"{name}.py"): code, Path(f"test_{name}.py"): test}


def _filled(text: str, name: str) -> str:
    return text.lstrip("\n").replace("CLASS", _class(name)).replace("NAME", name)


def _class(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _command(kind: str, name: str) -> str:
    return _COMMAND.get(kind, f"caelab train {kind}=NAME").replace("NAME", name)

"""Networks small enough to be known by heart, and the run directory of one that nobody trained."""

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor

from caelab.composition import compose
from caelab.config.build import instantiate
from caelab.config.job import Job
from caelab.inference import restore
from caelab.models.autoencoder import Autoencoder, Code
from caelab.models.base import Base
from caelab.models.classical import Classical
from caelab.runs import results
from caelab.runs.record import RECORD, SCHEMA, Complete, Record, made
from caelab.training import describe

SHAPE = (2, 3, 4)
SECTIONS = {"size", "time", "data"}
SIZES = {"train_size": 96, "val_size": 40, "test_size": 50}


def images(n: int, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Tensor:
    """Noise, (N, C, H, W) uint8."""
    return torch.randint(
        0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def orthonormal(rows: int, columns: int) -> Tensor:
    """Rows of length 1 at right angles to each other."""
    square = torch.randn(columns, columns, generator=torch.Generator().manual_seed(1))
    return torch.linalg.qr(square).Q[:rows].contiguous()


class Linear(Autoencoder):
    """z = A (x - 1/2), x_hat = 1/2 + A^T z, with orthonormal rows in A (latent, D)."""

    def __init__(self, shape=SHAPE, latent=5):
        super().__init__(shape, latent)
        self.register_buffer("matrix", orthonormal(latent, torch.Size(shape).numel()))

    def encode(self, x):
        return Code((x.flatten(1) - 0.5) @ self.matrix.T)

    def decode(self, code):
        return (0.5 + code.z @ self.matrix).reshape(-1, *self.shape)


class Skipping(Linear):
    """Linear, with a quarter of the image around the code."""

    def encode(self, x):
        return Code(super().encode(x).z, (x / 4,))

    def decode(self, code):
        return super().decode(code) + code.skips[0]


def config(**changes):
    """A composed config; ``model__latent=9`` sets ``model.latent``."""
    plain = {
        "model": {"latent": 8},
        "dataset": {"data_dir": "${paths.data}", "archive": None},
        "trainer": {"max_epochs": 2, "enable_progress_bar": True},
        "logger": {"csv": {"save_dir": "${hydra:runtime.output_dir}"}},
        "paths": {"data": "/a", "output": "multirun"},
        "seed": 0,
        "keep": "both",
        "force": False,
    }
    cfg = OmegaConf.create(plain)
    for key, value in changes.items():
        OmegaConf.update(cfg, key.replace("__", "."), value)
    return cfg


def job(cfg, run_dir=Path(), choices=None, overrides=()):
    """The job of a composed config, as the command line makes it of Hydra's settings."""
    settings = OmegaConf.create({"overrides": {"task": list(overrides)}})
    return Job(
        compose.without_loggers(cfg),
        choices or {},
        list(overrides),
        compose.identity(cfg),
        run_dir,
        run_dir.parent,
        {},
        None,
        partial(compose._save, cfg, settings),
    )


def record(**changes):
    """The record of a finished run; a mapping is merged with what it has, and None takes a key away."""
    whole = {
        "schema": SCHEMA,
        "fingerprint": "0123456789abcdef",
        "status": "finished",
        "started": "2026-05-01T11:00:00+00:00",
        "finished": "2026-05-01T12:00:00+00:00",
        "overrides": ["model=base", "dataset=shapes"],
        "choices": {"model": "base", "loss": "mse", "optimizer": "adam", "dataset": "shapes"},
        "config": {"model": {"_target_": "caelab.models.base.Base"}, "dataset": {}},
        "seed": 3,
        "best_epoch": 2,
        "metrics": {"val/psnr": 21.0, "test/psnr": 21.5, "test/ssim": 0.5},
        "size": {
            "parameters": 1234,
            "latent": 6,
            "effective_code": 6,
            "flops_per_image": 5678,
            "input_numbers": 768,
        },
        "time": {"fit_seconds": 3.25, "test_seconds": 1.5, "epochs": 4, "images_per_second": None},
        "data": {
            "name": "shapes",
            "train": 96,
            "val": 40,
            "test": 50,
            "shape": [3, 16, 16],
            "sha256": "other",
        },
        "environment": {
            "caelab": "0.1.0",
            "python": "3.11.7",
            "torch": "2.14.1",
            "lightning": "2.6.6",
            "device": "cpu",
            "precision": "32-true",
            "threads": 1,
        },
        "artifacts": {"best": "checkpoints/best.ckpt"},
    }
    for key, value in changes.items():
        whole[key] = whole[key] | value if isinstance(value, dict) and key in whole else value
    return {key: value for key, value in whole.items() if value is not None}


def typed(**changes) -> Record:
    """The same as the lab has it in memory."""
    return made(record(**changes))


def exact(**changes) -> Complete:
    """The record of a finished run with just these mappings, and nothing concluded from them."""
    whole = typed()
    sections = {key: replace(getattr(whole, key), **changes.pop(key)) for key in SECTIONS & changes.keys()}
    return replace(whole, **sections, **changes)


def leave_whole_run(path: Path, model: dict, image_size: int = 28) -> Path:
    """Leave what a finished run of any model on ``shapes`` leaves; its weights are those it starts from."""
    leave_run(path, image_size)
    data = restore.datamodule(results.finished(path))
    data.setup()
    torch.manual_seed(0)
    net = instantiate(model, "model", shape=data.shape)
    net.initialise(data.splits["train"])
    leave_weights(path, net)
    record = json.loads((path / RECORD).read_text())
    record["choices"]["model"] = model["_target_"].split(".")[-2]
    record["config"] |= {
        "model": model,
        "loss": {"_target_": "torch.nn.MSELoss"},
        "paths": {"data": "/home/someone/data", "output": "multirun"},
        "logger": {"csv": {"save_dir": "/home/someone/multirun"}},
    }
    record |= {
        "metrics": {
            "val/psnr": 21.75,
            "test/psnr": 21.5,
            "test/psnr_pooled": 20.25,
            "test/ssim": 0.75,
            "published/psnr": 22.125,
        },
        "size": asdict(describe.network(net)),
        "time": {"epochs": 4, "fit_seconds": 12.4, "test_seconds": 0.6},
        "data": asdict(describe.dataset(data)),
        "environment": record["environment"] | {"commit": None},
    }
    (path / RECORD).write_text(json.dumps(record))
    return path


def sha256_of(dataset: dict) -> str:
    """Checksum that a run on the data of this config has on its record."""
    return instantiate(dataset, "dataset").load()[1]


def leave_run(path: Path, image_size: int = 16, **model) -> Path:
    """Leave record and checkpoint of a ``Base`` with random weights on ``shapes`` in a directory."""
    shape = [3, image_size, image_size]
    model = {"latent": 6, "channels": [4, 8], "hidden": []} | model
    torch.manual_seed(0)
    net = Base(shape, **model)
    (path / "checkpoints").mkdir(parents=True)
    leave_weights(path, net)
    dataset = {
        "_target_": "caelab.data.shapes.Shapes",
        "data_dir": str(path / "data"),
        "batch_size": 32,
        "image_size": image_size,
        **SIZES,
    }
    whole = record(
        config={"model": {"_target_": "caelab.models.base.Base", **model}, "dataset": dataset},
        size={"input_numbers": 3 * image_size**2},
        data={"shape": shape, "sha256": sha256_of(dataset)},
    )
    (path / RECORD).write_text(json.dumps(whole))
    return path


def leave_weights(path: Path, net: torch.nn.Module) -> None:
    """Leave the checkpoint of a network in a run's directory."""
    weights = {f"net.{name}": one for name, one in net.state_dict().items()}
    torch.save({"state_dict": weights}, path / results.ARTIFACTS["best"])


def leave_network(path: Path, net: Autoencoder, **model) -> Path:
    """Leave record and checkpoint of a network of ``caelab.models``, built with those arguments."""
    leave_run(path)
    leave_weights(path, net)
    record = json.loads((path / RECORD).read_text())
    record["config"]["model"] = {"_target_": f"{type(net).__module__}.{type(net).__qualname__}", **model}
    record["data"]["shape"] = list(net.shape)
    (path / RECORD).write_text(json.dumps(record))
    return path


def leave_identity(path: Path, shape: tuple[int, ...] = (3, 8, 8)) -> Path:
    """Leave a run whose code is the image itself, so that every pixel comes back."""
    return leave_network(path, Classical(shape))


def leave_analysis(package: Path) -> Path:
    """Leave a package with an analysis of its name, which says how many grams a run has: 3."""
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        f"""\
from caelab.runs.analyses import Analysis, Column, Option, whole_number

ANALYSIS = Analysis(
    __name__,
    "How heavy is the model?\\n\\nPuts it on a scale.",
    examples=("RUN --times 2",),
    files=("{package.name}.png", "{package.name}-parts/first.csv"),
    columns={{"grams": Column("{package.name}/grams", "weight in g", ".1f")}},
    options={{"times": Option(1, "how often", "N", whole_number(1))}},
)
"""
    )
    (package / f"{package.name}.py").write_text(
        f"""\
def measure(subject, times):
    return {{"figures": {{"{package.name}/grams": 3.0 * times}}}}


def show(run, result):
    yield f"{{run.name}}: {{result['figures']['{package.name}/grams']}} g"
"""
    )
    return package

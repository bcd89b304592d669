"""Who is measured: each trains the same network on the same images, in a process of its own.

``python -m caelab.bench.contestants NAME OVERRIDE ...`` carries out one of them and prints its figures as
JSON. The first epoch warms up and is left out; evaluation and checkpoints are outside the timed part.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import skimage.metrics
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ToTensor

from caelab import terminal, train
from caelab.bench import loaders
from caelab.bench.measure import OUTPUT
from caelab.bench.task import Clock, Task
from caelab.config import explain
from caelab.data.datamodule import Batches, Split
from caelab.data.prefetch import require_fit
from caelab.data.scale import unit
from caelab.metrics.image_quality import ImageQuality
from caelab.runs import records
from caelab.runs.record import Complete
from caelab.training.callbacks import Checkpoints, Stopwatch
from caelab.training.speed import AUTO, EXACT, keep_memory


def limit(overrides: list[str]) -> dict[str, Any]:
    """One resident batch again and again, at the best settings: no data path at all."""
    keep_memory()
    task = Task(overrides, AUTO)
    clock, step = Clock(task.device), task.step()
    x = unit(task.train[: task.batch_size].to(task.device))
    steps = -(-len(task.train) // task.batch_size)
    for _ in clock.epochs(task.epochs, steps * task.batch_size):
        for _ in range(steps):
            step(x)
            clock.stepped()
    return clock.figures()


def bare(overrides: list[str]) -> dict[str, Any]:
    """A loop in plain PyTorch over the images in memory."""
    task = Task(overrides)
    clock, step = Clock(task.device), task.step()
    images, index = task.train.images.to(task.device), task.train.index.to(task.device)
    for _ in clock.epochs(task.epochs, len(index)):
        order = index[torch.randperm(len(index), device=task.device)]
        for rows in torch.split(order, task.batch_size):
            step(unit(images.index_select(0, rows)))  # torch's fastest way to pick rows
            clock.stepped()
    return clock.figures()


class Pictures(Dataset[tuple[Tensor, int]]):
    """The images as torchvision's datasets hand them out: a PIL image made into a tensor, one by one."""

    def __init__(self, split: Split) -> None:
        require_fit("bench: images in memory as others hold them", len(split) * split[:1].nbytes)
        self.arrays = split[:].permute(0, 2, 3, 1).numpy().squeeze()  # (N, H, W, C) or (N, H, W)
        self.labels = split.targets.tolist()
        self.transform = ToTensor()

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """One image (C, H, W) float32 in [0, 1], and its label."""
        return self.transform(Image.fromarray(self.arrays[position])), self.labels[position]


def _loader(task: Task, workers: int) -> DataLoader[tuple[Tensor, int]]:
    return DataLoader(
        Pictures(task.train),
        task.batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=task.device.type == "cuda",
    )


def script(overrides: list[str]) -> dict[str, Any]:
    """A plain script as people write it: DataLoader, ToTensor, ``loss.item()`` in each step."""
    task = Task(overrides)
    clock, step, loader = Clock(task.device), task.step(), _loader(task, 0)
    for _ in clock.epochs(task.epochs, len(task.train)):
        total = 0.0
        for x, _labels in loader:
            total += step(x.to(task.device)).item()
            clock.stepped()
    return clock.figures()


def lightning(overrides: list[str], workers: int = 0) -> dict[str, Any]:
    """Lightning with a torchvision-like dataset, ToTensor and DataLoader."""
    task = Task(overrides)
    clock = Clock(task.device)
    epochs = clock.epochs(task.epochs + 1, len(task.train))

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.loss = task.net, task.loss

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            loss: Tensor = self.loss(self.net(batch[0]), batch[0])
            self.log("train/loss", loss, on_step=False, on_epoch=True)
            return loss

        def configure_optimizers(self) -> Any:
            return task.factory(self.parameters())

        def on_train_batch_end(self, *_: Any) -> None:
            clock.stepped()

        def on_train_epoch_start(self) -> None:
            next(epochs)  # and ends the one before

        def on_train_end(self) -> None:
            next(epochs)

    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "devices": 1,
        "accelerator": {"cuda": "gpu"}.get(task.device.type, task.device.type),
    }
    Trainer(max_epochs=task.epochs, **quiet).fit(Module(), _loader(task, workers))
    return clock.figures()


def pythae(overrides: list[str]) -> dict[str, Any]:
    """The trainer of pythae, with its own dataset: the images as float32 in memory, picked one by one."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import BaseAE, BaseAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    task = Task(overrides)
    clock = Clock(task.device)
    epochs = clock.epochs(task.epochs + 1, len(task.train))

    class Model(BaseAE):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(BaseAEConfig(), decoder=BaseDecoder())
            self.net, self.loss = task.net, task.loss

        def forward(self, inputs: Any, **_: Any) -> Any:
            x_hat = self.net(inputs["data"])
            return ModelOutput(loss=self.loss(x_hat, inputs["data"]), recon_x=x_hat)

    class Trainer(BaseTrainer):  # type: ignore[misc]
        def set_optimizer(self) -> None:
            self.optimizer = task.factory(self.model.parameters())

        def _optimizers_step(self, model_output: Any = None) -> None:
            super()._optimizers_step(model_output)
            clock.stepped()

    class Epochs(TrainingCallback):  # type: ignore[misc]
        def on_epoch_begin(self, training_config: Any, **given: Any) -> None:
            if given["epoch"] == 1:
                next(epochs)

        def on_epoch_end(self, training_config: Any, **_: Any) -> None:
            next(epochs)  # and starts the next one

    settings = BaseTrainerConfig(
        output_dir=os.environ[OUTPUT],
        num_epochs=task.epochs,
        per_device_train_batch_size=task.batch_size,
        no_cuda=task.device.type == "cpu",
    )
    require_fit("bench: images as pythae holds them", 4 * len(task.train) * task.train.images[0].numel())
    data = BaseDataset(unit(task.train[:]), task.train.targets)
    Trainer(Model(), data, training_config=settings, callbacks=[Epochs()]).train()
    return clock.figures()


def caelab(overrides: list[str], speed: str) -> dict[str, Any]:
    """This lab, through its command line."""
    clock, ended = Clock(torch.device("cpu")), Stopwatch.on_train_batch_end

    def stepped(*arguments: Any) -> None:
        clock.stepped()
        ended(*arguments)

    Stopwatch.on_train_batch_end = stepped  # type: ignore[method-assign,assignment]
    record = _trained([*overrides, f"speed={speed}"])
    return {"images_per_second": record.time.images_per_second, "first_step": clock.first_step}


def _trained(overrides: list[str]) -> Complete:
    """Train through the command line, and return the record."""
    output = os.environ[OUTPUT]
    sys.argv = ["caelab-train", *overrides, f"paths.output={output}"]
    train.main()
    ((_, record),) = records.find(output)
    assert isinstance(record, Complete)
    return record


def speed_run(overrides: list[str]) -> dict[str, Any]:
    """This lab; ``curve``: seconds from the start of the fit to the end of each validated epoch, and PSNR."""
    curve: list[tuple[float, float]] = []
    save = Checkpoints.save

    def saved(self: Checkpoints, trainer: Trainer, epoch: int) -> None:
        watch = next(one for one in trainer.callbacks if isinstance(one, Stopwatch))  # type: ignore[attr-defined]
        watch.lap()
        if self.validated:
            curve.append((watch.fit_seconds, float(trainer.callback_metrics["val/psnr"])))
        save(self, trainer, epoch)

    Checkpoints.save = saved  # type: ignore[method-assign]
    record = _trained(overrides)
    return {"curve": curve, "test_psnr": record.metrics["test/psnr"]}


def evaluation(overrides: list[str]) -> dict[str, Any]:
    """PSNR and SSIM of 10,000 reconstructions: here, and with scikit-image in a loop over 500 of them."""
    task = Task(overrides)
    images, net = Batches(task.train, 500), task.net.eval()
    count = min(10_000, len(task.train))
    with torch.inference_mode():
        quality, began = ImageQuality().to(task.device), time.perf_counter()
        for _, batch in zip(range(-(-count // 500)), images, strict=False):
            x = unit(batch.to(task.device))
            quality.update(net(x), x)
        quality.compute()
        ours = time.perf_counter() - began
        x = unit(task.train[:500].to(task.device))
        pairs = [(a.cpu().numpy(), b.cpu().numpy()) for a, b in zip(x, net(x), strict=True)]
    began = time.perf_counter()
    psnr: Callable[..., float] = skimage.metrics.peak_signal_noise_ratio
    ssim: Callable[..., float] = skimage.metrics.structural_similarity
    settings: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for image, image_hat in pairs:
        psnr(image, image_hat, data_range=1)
        ssim(image, image_hat, data_range=1, channel_axis=0, **settings)
    theirs = (time.perf_counter() - began) * count / len(pairs)
    return {"images": count, "caelab": ours, "skimage": theirs}


def nothing(overrides: list[str]) -> dict[str, Any]:
    """Torch alone, with one step of the network on one batch: the memory that nobody can save."""
    task = Task(overrides)
    step = task.step()
    for _ in range(20):
        step(torch.zeros(task.batch_size, *task.train.images.shape[1:], device=task.device))
    return {"arrays": sum(t.nbytes for t in (task.train.images, task.train.labels))}


CONTESTANTS: dict[str, Callable[[list[str]], dict[str, Any]]] = {
    "limit": limit,
    "bare": bare,
    "exact": lambda overrides: caelab(overrides, EXACT),
    "auto": lambda overrides: caelab(overrides, AUTO),
    "lightning-0": lightning,
    "lightning-2": lambda overrides: lightning(overrides, workers=2),
    "script": script,
    "pythae": pythae,
}
"""Name -> what is trained, in the order of the table."""
_FURTHER = {"evaluation": evaluation, "nothing": nothing, "speed-run": speed_run}


def main() -> None:
    """Carry out one contestant and print its figures on the last line."""
    name, *overrides = sys.argv[1:]
    with terminal.told(explain.line):
        figures = (CONTESTANTS | loaders.CONTESTANTS | _FURTHER)[name](overrides)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures["peak_bytes"] = peak if sys.platform == "darwin" else 1024 * peak
    io = Path("/proc/self/io")
    if io.exists():
        figures["read_bytes"] = int(io.read_text().split("rchar: ")[1].split()[0])
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

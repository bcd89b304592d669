"""The parts of a run: everything that its config describes is built and checked here, and nowhere else."""

import os
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import Logger
from torch import nn

from caelab import terminal
from caelab.bottlenecks.bottleneck import Bottleneck, Discrete
from caelab.bottlenecks.none import Plain
from caelab.config.build import complaint, instantiate
from caelab.config.fingerprint import network_node
from caelab.config.job import Job
from caelab.config.machine import limit_threads
from caelab.config.refusals import limits
from caelab.corruptions import Clean, require_unpaired
from caelab.data.datamodule import ImageDataModule
from caelab.errors import UserError
from caelab.inference import origin
from caelab.metrics.measures import OBJECTIVE, Measure, asked
from caelab.metrics.quality import WINDOW
from caelab.models import outside
from caelab.models.autoencoder import Autoencoder
from caelab.runs import trust
from caelab.training import trainer
from caelab.training.callbacks import Checkpoints, EpochProgress, MovingAverage, Pruning, Stopwatch
from caelab.training.environment import Environments
from caelab.training.module import AutoencoderModule
from caelab.training.pictures import Pictures, taking
from caelab.training.speed import AUTO, Speed, choose, device_of, keep_memory
from caelab.training.trial import GRID, TRIAL

_OTHER_WEIGHTS = ("bf16-true", "16-true", "64-true", "64")  # precisions whose weights are not float32


@dataclass(frozen=True)
class Parts:
    """What a run is carried out with.

    Attributes:
        module: network, loss, corruption, and the factories of optimizer and scheduler.
        data: its training and validation images are open.
        speed: how the arithmetic is carried out.
        trainer: with all callbacks and loggers, of which the record asks the following.
        checkpoints: has the figures of the best epoch.
        stopwatch: has the times.
        environments: has where the run was carried out.
    """

    module: AutoencoderModule
    data: ImageDataModule
    speed: Speed
    trainer: Trainer
    checkpoints: Checkpoints
    stopwatch: Stopwatch
    environments: Environments


def build(job: Job, loggers: list[Logger]) -> Parts:
    """Build the parts of a run; its data are fetched last, since a mistake should not cost a download.

    Raises:
        UserError: a part cannot be built, or refuses a value.
    """
    keep_memory()
    limit_threads()
    config = job.config
    device = device_of(config["trainer"]["accelerator"])
    pictures = [Pictures(config["logger"].get("images_every"))] if taking(loggers) else []
    others = _callbacks(config)
    data = _data(job)
    module = _module(config, data.shape)
    _require_penalty(module.net, config["select"])
    _require_place(module, config["trainer"], trainer.alone(config["trainer"]["devices"], device))
    _require_float32(module.net.bottleneck, str(config["trainer"]["precision"]))
    if data.paired:
        _require_pairs(module)
    speed = _speed(config, device, module.optimizer)
    _remember(config)
    _require_tokens(module.net.bottleneck, config["dataset"].get("train_size"))
    data.prepare_data()
    data.setup("fit")
    _require_tokens(module.net.bottleneck, len(data.splits["train"]))
    if config["speed"] == AUTO and trainer.alone(config["trainer"]["devices"], device):
        speed = speed.over(
            config["trainer"]["max_epochs"] * len(data.splits["train"]) // data.batch_size, device
        )
    if speed.compile:  # else it gives up after eight jobs in one process
        torch.compiler.reset()
    if speed.precision in ("64", "64-true"):  # before a checkpoint's weights are read into float32
        module.double()
    module.train_at(speed)
    checkpoints, stopwatch = Checkpoints(job.run_dir / "checkpoints", config["select"]), Stopwatch()
    environments = Environments(config, speed, data.sha256)
    return Parts(
        module,
        data,
        speed,
        trainer.build(
            config["trainer"] | {"precision": speed.precision},
            device,
            logger=loggers or False,
            # averaged weights are put back by one of the others; the last saves what all of them hold
            callbacks=[*pictures, stopwatch, environments, *others, checkpoints],
            default_root_dir=str(job.run_dir),
        ),
        checkpoints,
        stopwatch,
        environments,
    )


def _callbacks(config: dict[str, Any]) -> list[Callback]:
    """What accompanies the fit beside its stopwatch and its checkpoints: the user's callbacks first."""
    callbacks = trainer.callbacks(config)
    if config["ema"] is not None:
        callbacks.append(MovingAverage(config["ema"]))
    bar = config["trainer"].get("enable_progress_bar", True)
    if bar and not any(isinstance(one, ProgressBar) for one in callbacks):
        callbacks.append(EpochProgress(config["select"]))
    if (reference := os.environ.get(TRIAL, GRID)) != GRID:
        from caelab.training.pruning import attach  # Optuna, which no other run needs

        callbacks.append(Pruning(attach(reference, config["select"]), config["select"]))
    return callbacks


def _data(job: Job) -> ImageDataModule:
    data: ImageDataModule = instantiate(
        job.config["dataset"] | job.places, "dataset", order_seed=job.config["seed"]
    )
    data.limits = limits(job.config["trainer"])
    channels, height, width = data.shape
    if min(height, width) < WINDOW:
        which = f"{height}x{width} pixels and {channels} channel{'s'[: channels != 1]}"
        raise UserError(f"{data.place()}: images of {which}; SSIM needs {WINDOW} pixels a side")
    return data


def _module(config: dict[str, Any], shape: tuple[int, int, int]) -> AutoencoderModule:
    """Build network, loss, corruption and what else acts on images (C, H, W) of that shape."""
    optimizer = instantiate(config["optimizer"], "optimizer")
    instantiate(config["bottleneck"], "bottleneck")  # its mistakes by its own name
    torch.manual_seed(config["seed"])
    net = outside.network(instantiate(network_node(config), "model", shape=shape), shape)
    if config["from"] is not None:
        origin.fill(net, config["from"])
    loss, corruption, augmentation, scheduler = (
        instantiate(config[group], group) for group in ("loss", "corruption", "augment", "scheduler")
    )
    for group, change in {"corruption": corruption, "augment": augmentation}.items():
        try:  # on one image, before data are fetched
            change(torch.zeros(1, *shape), torch.zeros(1, dtype=torch.int64))
        except ValueError as error:
            raise UserError(f"{group}.{error}") from None
    if config["flip"] and augmentation.random:
        raise UserError("flip=true: cannot be combined with augment=...; leave out one of them")
    measures = _measures(config["metrics"], shape)
    module = AutoencoderModule(
        net,
        loss,
        optimizer,
        config["seed"],
        corruption,
        scheduler,
        flip=config["flip"],
        augmentation=augmentation,
        measures=measures,
    )
    try:
        module.build_optimizer()
    except (ValueError, TypeError) as error:
        raise UserError(complaint("optimizer", config["optimizer"], error)) from None
    return module


def _measures(names: list[str], shape: tuple[int, int, int]) -> dict[str, Measure]:
    """What is measured beside what always is, tried on one image of that shape."""
    measures, blank = asked(names), torch.zeros(1, *shape)
    for name, measure in measures.items():
        try:
            measure.of(blank, blank)
        except ValueError as error:
            raise UserError(f"metrics=[{name}]: {error}") from None
    return measures


def _require_tokens(bottleneck: Bottleneck, images: int | None) -> None:
    """Refuse a codebook of which some entries could never be used."""
    if images is None or not isinstance(bottleneck, Discrete) or not bottleneck.learnt:
        return
    if bottleneck.entries > (tokens := images * bottleneck.tokens):
        of = f"{images:,} images of {bottleneck.tokens}"
        raise UserError(
            f"bottleneck.entries={bottleneck.entries}: there are {tokens:,} training tokens, {of}; give fewer"
        )


def _require_penalty(net: Autoencoder, select: str) -> None:
    """Refuse to choose a checkpoint by an objective that is the loss alone."""
    if select != OBJECTIVE:
        return
    with torch.no_grad():
        penalty = net.eval().encode(torch.zeros(1, *net.shape)).penalty
    net.train()
    if penalty is None:
        raise UserError(f"select={select}: this model adds nothing to the loss; use select=val/loss")


def _require_float32(bottleneck: Bottleneck, precision: str) -> None:
    """Refuse weights of another type beside what is kept, drawn and counted in float32."""
    if type(bottleneck) is not Plain and precision in _OTHER_WEIGHTS:
        name, half = type(bottleneck).__name__, "64" not in precision
        raise UserError(
            f"trainer.precision={precision}: {name} computes in float32; use "
            f"trainer.precision={'bf16-mixed' if half else '32-true'}, or bottleneck=none"
        )


def _require_place(module: AutoencoderModule, settings: dict[str, Any], alone: bool) -> None:
    """Refuse what a network that keeps something of each training image cannot be trained with."""
    if not module.net.by_place:
        return
    name = type(module.net).__name__
    if module.augmentation.random:
        raise UserError(
            f"augment: {name} keeps one code for each unchanged image; use augment=none, or flip=true"
        )
    if not isinstance(module.corruption, Clean):
        raise UserError(f"corruption: {name} fits its codes to clean images; use corruption=none")
    if not isinstance(module.loss, nn.MSELoss):
        raise UserError(f"loss: {name} fits its codes by squared error; use loss=mse")
    if (batches := settings.get("accumulate_grad_batches", 1)) != 1:
        key = f"trainer.accumulate_grad_batches={batches}"
        raise UserError(f"{key}: {name} updates its codes with each batch; leave this out")
    if (precision := str(settings["precision"])).startswith("16"):
        key = f"trainer.precision={precision}"
        raise UserError(
            f"{key}: float16 scales or loses the gradients that update the codes of {name}; use bf16-mixed"
        )
    if not alone:
        raise UserError(f"trainer.devices: {name} keeps its codes on one device; use trainer.devices=1")


def _require_pairs(module: AutoencoderModule) -> None:
    """Refuse what cannot be done to pairs of pictures."""
    require_unpaired(True, module.corruption)
    if module.augmentation.random:
        raise UserError(
            "augment: the two pictures of a pair would be changed differently; use augment=none, or flip=true"
        )
    if module.net.by_place:
        name = type(module.net).__name__
        raise UserError(
            f"model: {name} fits its codes to the images to reconstruct; it takes no index with 'target'"
        )


def _speed(config: dict[str, Any], device: torch.device, optimizer: Any) -> Speed:
    precision = str(config["trainer"]["precision"])
    clipped = bool(config["trainer"].get("gradient_clip_val"))
    return choose(config["speed"], config["compile"], precision, device, optimizer, clipped)


def _remember(config: dict[str, Any]) -> None:
    """Let the commands that open the run build the classes that it has named."""
    try:
        trust.remember(config)
    except OSError as error:
        terminal.note(f"{error.filename}: {error.strerror}; opening the run will ask for --trust")

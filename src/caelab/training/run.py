"""One run: data, network, fit, only then a look at the test split, and the record that it leaves."""

import logging
import os
import time
from contextlib import suppress
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from caelab import (
    compose,
    describe,
    environment,
    figures,
    loggers,
    origin,
    places,
    previous,
    results,
    screen,
    trust,
)
from caelab.callbacks import Checkpoints, EpochProgress, Pruning, Stopwatch
from caelab.checkpoint_file import to_resume
from caelab.corruptions import Corrupted
from caelab.data.datamodule import ImageDataModule
from caelab.environment import Environments
from caelab.errors import PrunedError, UserError
from caelab.machine import limit_threads
from caelab.module import AutoencoderModule
from caelab.quality import WINDOW
from caelab.results import Record
from caelab.run_dir import claim, full_disk_told, locked
from caelab.scoring import measure
from caelab.speed import AUTO, Speed, choose, device_of, emulated, keep_memory
from caelab.trained import checkpoint
from caelab.trainer import alone, build, callbacks, images_an_epoch, leads, limits, share_log, told
from caelab.trial import GRID, TRIAL

log = logging.getLogger(__name__)

_OF_THE_FIT = ("metrics", "best_epoch", "size", "batch_size", "time")  # keys of a record


def run(cfg: DictConfig, identity: str, run_dir: Path) -> Record:
    """Carry out one run in ``run_dir``, or go on with it from its last finished epoch.

    Args:
        cfg: the checked job config; Hydra's own config is set for the process.
        identity: its fingerprint.
        run_dir: existing directory.

    Returns:
        The record, also written to ``result.json``.

    Raises:
        UserError: a mistake or condition that the user can mend; the record then says "failed".
        PrunedError: a search has ended this trial early; the record says "pruned".

    A trial is not tested. Where the run was a trial before, it is tested and not trained again, and whatever
    happens meanwhile, its record stays until that of the tested run takes its place.
    """
    if not leads(cfg.trainer.devices, device_of(cfg.trainer.accelerator)):
        return _follow(cfg, run_dir)
    with locked(run_dir), full_disk_told(run_dir):
        previous.restore(run_dir)
        before = None if cfg.force else results.settled(run_dir, identity, trial=True)
        if before and (before["status"] == "finished" or TRIAL in os.environ):
            return before  # by another process, since this one looked
        if not (run_dir / results.ARTIFACTS["best"]).is_file():
            before = None  # there is nothing that could be tested
        claim(cfg, identity, run_dir, trained=before is not None)
        settings = HydraConfig.get()
        record = results.start(cfg, dict(settings.runtime.choices), list(settings.overrides.task))
        active: list[Logger] = []
        failed = True
        try:
            share_log()
            with full_disk_told(run_dir):
                active += loggers.start(cfg, run_dir)
                record |= _carry_out(cfg, run_dir, active, before)
            failed = False
        except PrunedError as end:
            failed = False
            results.write(
                run_dir, record | {"status": "pruned", "error": str(end), "finished": results.now()}
            )
            raise
        except Exception as error:
            log.exception("the run failed")
            if before is None:
                _write_failed(run_dir, record, error)
            raise
        finally:
            loggers.close(active, failed)
        status = "trial" if TRIAL in os.environ else "finished"
        record |= {"status": status, "finished": results.now()}
        del record["error"]
        results.write(run_dir, record)
        previous.discard(run_dir / results.PREVIOUS)
    return record


def _write_failed(run_dir: Path, record: Record, error: Exception) -> None:
    line = compose.explain(error) or f"{type(error).__name__}: {error}"
    with suppress(OSError):  # a full disk cannot take the record either
        results.write(run_dir, record | {"status": "failed", "error": line, "finished": results.now()})


def _follow(cfg: DictConfig, run_dir: Path) -> Record:
    """Take part in a run that the first process leads; that one speaks, locks and writes for all."""
    screen.console.quiet = True
    share_log()
    settings = HydraConfig.get()
    record = results.start(cfg, dict(settings.runtime.choices), list(settings.overrides.task))
    return record | _carry_out(cfg, run_dir, [], None)


def _carry_out(cfg: DictConfig, run_dir: Path, active: list[Logger], before: Record | None) -> Record:
    """Train, unless the run was trained ``before`` as a trial, and test, unless this one is a trial."""
    others = _callbacks(cfg)
    module, data, speed = _build(cfg)
    checkpoints, stopwatch = Checkpoints(run_dir / "checkpoints"), Stopwatch()
    environments = Environments(compose.plain(cfg), speed)
    trainer = build(
        compose.plain(cfg.trainer) | {"precision": speed.precision},
        device_of(cfg.trainer.accelerator),
        logger=active or False,
        callbacks=[stopwatch, environments, *others, checkpoints],  # the last saves what the others hold
        default_root_dir=str(run_dir),
    )
    images, shown = len(data.splits["train"]), images_an_epoch(trainer, data)
    few = "" if shown == images else f", {shown:,} an epoch,"
    device = environment.device(trainer)
    picked = f", speed=auto: {speed}" if cfg.speed == AUTO else ""
    screen.say(f"{screen.shown(run_dir)}: {images:,} training images{few} on {device}{picked}")
    if emulated(speed.precision, device_of(cfg.trainer.accelerator)):
        slow = f"{device} emulates bfloat16, many times slower than 32-true"
        screen.say(f"  trainer.precision={speed.precision}: {slow}")
    learns = any(p.requires_grad for p in module.parameters())
    if before and learns:
        screen.say("  trained before, as a trial; now it is tested")
        found = {key: before[key] for key in _OF_THE_FIT if key in before}
    else:
        if learns:
            _fit(trainer, module, data, checkpoints, stopwatch, fresh=cfg["from"] is None)
        else:
            _fit_at_once(trainer, module, data, checkpoints, stopwatch)
        found = _fitted(checkpoints, stopwatch) | {"size": describe.network(module.net)}
        found |= {"batch_size": data.batch_size} if learns else {}
        found["time"] |= {"images_per_epoch": shown}
    if TRIAL not in os.environ:
        found["metrics"] |= _test(trainer, module, data, checkpoints.best, stopwatch, run_dir)
        found["time"] |= {"test_seconds": stopwatch.test_seconds}
    if before and learns:
        environments.follow([*before.get("earlier_environments", []), before["environment"]])
    return found | {
        "data": describe.dataset(data),
        "environment": environments.present,
        "earlier_environments": environments.earlier,
        "artifacts": {k: v for k, v in results.ARTIFACTS.items() if (run_dir / v).exists()},
    }


def _fitted(checkpoints: Checkpoints, stopwatch: Stopwatch) -> Record:
    if not checkpoints.figures:
        raise UserError(
            "no validation took place, so no checkpoint could be chosen; a callback ended the run"
        )
    figures = dict(checkpoints.figures)
    return {"metrics": figures, "best_epoch": checkpoints.epoch, "time": stopwatch.record()}


def _callbacks(cfg: DictConfig) -> list[Callback]:
    """What accompanies the fit beside its stopwatch and its checkpoints: the user's callbacks first."""
    chosen = callbacks(compose.plain(cfg))
    if cfg.ema is not None:
        chosen.append(EMAWeightAveraging(decay=cfg.ema))
    if cfg.trainer.get("enable_progress_bar", True) and not any(isinstance(c, ProgressBar) for c in chosen):
        chosen.append(EpochProgress())
    if (reference := os.environ.get(TRIAL, GRID)) != GRID:
        from caelab.pruning import attach  # Optuna, which no other run needs

        chosen.append(Pruning(attach(reference)))
    return chosen


def _build(cfg: DictConfig) -> tuple[AutoencoderModule, ImageDataModule, Speed]:
    """Build and check everything before data are fetched: a mistake should not cost a download."""
    keep_memory()
    limit_threads()
    config = compose.plain(cfg)
    optimizer = compose.build(config["optimizer"], "optimizer")
    device = device_of(cfg.trainer.accelerator)
    clipped = bool(cfg.trainer.get("gradient_clip_val"))
    speed = choose(cfg.speed, cfg.compile, str(cfg.trainer.precision), device, optimizer, clipped)
    where = places.of_dataset(config["dataset"])
    data = compose.build(config["dataset"] | where, "dataset", order_seed=cfg.seed)
    data.limits = limits(config["trainer"])
    if min(data.shape[1:]) < WINDOW:
        raise UserError(
            f"dataset: images of {data.shape[1]}x{data.shape[2]}; SSIM needs {WINDOW} pixels a side"
        )
    torch.manual_seed(cfg.seed)
    net = compose.build(config["model"], "model", shape=data.shape)
    if config["from"] is not None:
        origin.fill(net, config["from"])
    loss = compose.build(config["loss"], "loss")
    corruption = compose.build(config["corruption"], "corruption")
    try:  # on one image, before data are fetched
        corruption(torch.zeros(1, *data.shape), torch.zeros(1, dtype=torch.int64))
    except ValueError as error:
        raise UserError(f"corruption.{error}") from None
    scheduler = compose.build(config["scheduler"], "scheduler")
    module = AutoencoderModule(net, loss, optimizer, cfg.seed, corruption, scheduler, cfg.flip)
    try:
        module.build_optimizer()
    except (ValueError, TypeError) as error:
        raise UserError(f"optimizer: {error}") from None
    _remember(config)
    data.prepare_data()
    data.setup("fit")
    if cfg.speed == AUTO and alone(cfg.trainer.devices, device):
        steps = cfg.trainer.max_epochs * len(data.splits["train"]) // data.batch_size
        speed = speed.over(steps, device)
    if speed.compile:  # else it gives up after eight jobs in one process
        torch.compiler.reset()
    if speed.precision in ("64", "64-true"):  # before a checkpoint's weights are read into float32
        module.double()
    module.train_at(speed)
    return module, data, speed


def _remember(config: Record) -> None:
    try:
        trust.remember(config)
    except OSError as error:
        screen.note(f"{error.filename}: {error.strerror}; opening the run will ask for --trust")


def _fit(
    trainer: Trainer,
    module: AutoencoderModule,
    data: ImageDataModule,
    checkpoints: Checkpoints,
    stopwatch: Stopwatch,
    *,
    fresh: bool,
) -> None:
    """Train, from the last checkpoint where there is one, else from weights that are ``fresh`` or given."""
    last = to_resume(checkpoints.last, checkpoints.best)
    stopwatch.start()
    if last:
        screen.say(f"  going on after epoch {last[1]['epoch'] + 1}")
    elif fresh:
        _initialise(module, data)
    with told():
        trainer.fit(module, datamodule=data, ckpt_path=last and last[0], weights_only=True)


def _fit_at_once(
    trainer: Trainer,
    module: AutoencoderModule,
    data: ImageDataModule,
    checkpoints: Checkpoints,
    stopwatch: Stopwatch,
) -> None:
    """Fit a network that nothing is learnt by, such as PCA."""
    stopwatch.start()
    _initialise(module, data)
    stopwatch.lap()
    trainer.validate(module, datamodule=data, verbose=False)
    checkpoints.save(trainer, 0)


def _initialise(module: AutoencoderModule, data: ImageDataModule) -> None:
    net, train = module.net, data.splits["train"]
    asked = net.latent
    try:
        net.initialise_from(train, Corrupted(train, module.corruption, module.seed))
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    if net.latent < asked:
        screen.say(f"  model.latent={asked}: it takes {net.latent:,} numbers, one for each training image")


def _test(
    trainer: Trainer,
    module: AutoencoderModule,
    data: ImageDataModule,
    best: Path,
    stopwatch: Stopwatch,
    run_dir: Path,
) -> dict[str, float]:
    """Measure the best checkpoint on the test split, and draw its first image of each class."""
    module.load_state_dict(checkpoint(best)["state_dict"])
    began = time.perf_counter()
    found, (originals, corrupted, reconstructions) = measure(trainer, module, data)
    stopwatch.test_seconds = time.perf_counter() - began
    if not trainer.is_global_zero:
        return found
    given = {} if torch.equal(corrupted, originals) else {"corrupted": corrupted}
    kept = {"originals": originals, **given, "reconstructions": reconstructions}
    figures.keep(run_dir / results.ARTIFACTS["images"], **kept)
    rows = given | {"reconstruction": reconstructions}
    picture = figures.reconstructions(run_dir / results.ARTIFACTS["reconstructions"], originals, rows)
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):
            logger.log_image("reconstructions", [str(picture)])
    return found

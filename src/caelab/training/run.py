"""One run: data, network, fit, only then a look at the test split, and the record that it leaves."""

import logging
import os
import time
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from caelab import terminal
from caelab.config import explain, instances
from caelab.config.check import KEEP
from caelab.config.job import Job
from caelab.corruptions import Corrupted
from caelab.errors import PrunedError, UserError
from caelab.inference.trained import checkpoint
from caelab.plotting import bands, figures
from caelab.runs import previous, results
from caelab.runs.record import Complete, Record, is_finished, save
from caelab.runs.run_dir import drop, locked
from caelab.training import describe, environment, floor, loggers, pictures
from caelab.training.checkpoint_file import to_resume
from caelab.training.claim import claim, full_disk_told
from caelab.training.parts import Parts, build
from caelab.training.scoring import measure
from caelab.training.speed import AUTO, device_of, emulated
from caelab.training.trainer import alone, images_an_epoch, leads, share_log, told
from caelab.training.trial import TRIAL

log = logging.getLogger(__name__)

_OF_THE_FIT = ("metrics", "best_epoch", "size", "floor", "batch_size", "time")


def run(job: Job) -> Complete:
    """Carry out one run, or go on with it from its last finished epoch.

    Returns:
        The record, also written to ``result.json``.

    Raises:
        UserError: a mistake or condition that the user can mend; the record then says "failed".
        PrunedError: a search has ended this trial early; the record says "pruned".

    A trial is not tested. Where the run was a trial before, it is tested and not trained again, and whatever
    happens meanwhile, its record stays until that of the tested run takes its place.
    """
    settings, run_dir = job.config["trainer"], job.run_dir
    device = device_of(settings["accelerator"])
    for group in instances.groups(job.config) if not alone(settings["devices"], device) else ():
        raise UserError(
            f"{group}: an object lives in one process only; {instances.MEND}, or trainer.devices=1"
        )
    if not leads(settings["devices"], device):
        return _follow(job)
    with locked(run_dir), full_disk_told(run_dir), bands.of_run(job.config):
        previous.restore(run_dir)
        before = None if job.config["force"] else results.settled(run_dir, job.identity, trial=True)
        if before and (is_finished(before) or TRIAL in os.environ):
            return before  # by another process, since this one looked
        if not (run_dir / results.ARTIFACTS["best"]).is_file():
            before = None  # there is nothing that could be tested
        claim(job, trained=before is not None)
        record = results.start(job)
        active: list[Logger] = []
        failed = True
        try:
            share_log()
            with full_disk_told(run_dir):
                if job.config["force"] and (run_dir / results.ARTIFACTS["last"]).exists():
                    _begun(build(job, []), forced=True)  # first: the loggers go on where the run does
                active += loggers.start(job, record)
                parts = build(job, active)
                complete = _carry_out(job, record, parts, before)
                loggers.conclude(active, complete, run_dir, partial(_floor, parts, complete))
            failed = False
        except PrunedError as end:
            failed = False
            save(run_dir, replace(record, status="pruned", error=str(end), finished=results.now()))
            raise
        except Exception as error:
            log.exception("the run failed")
            if before is None:
                _write_failed(run_dir, record, error)
            raise
        finally:
            loggers.close(active, failed)
        if is_finished(complete):
            gone = {*KEEP["both"]} - {*KEEP[job.config["keep"]]}
            left = {name: path for name, path in complete.artifacts.items() if name not in gone}
            complete = replace(complete, artifacts=left)
        save(run_dir, complete)
        drop(run_dir, complete)
        previous.discard(run_dir / results.PREVIOUS)
    return complete


def _write_failed(run_dir: Path, record: Record, error: Exception) -> None:
    line = explain.line(error) or f"{type(error).__name__}: {error}"
    with suppress(OSError):  # a full disk cannot take the record either
        save(run_dir, replace(record, status="failed", error=line, finished=results.now()))


def _follow(job: Job) -> Complete:
    """Take part in a run that the first process leads; that one speaks, locks and writes for all."""
    terminal.console.quiet = True
    share_log()
    return _carry_out(job, results.start(job), build(job, []), None)


def _carry_out(job: Job, record: Record, parts: Parts, before: Complete | None) -> Complete:
    """Train, unless the run was trained ``before`` as a trial, and test, unless this one is a trial."""
    shown = images_an_epoch(parts.trainer, parts.data)
    _announce(job, parts, shown)
    learns = any(p.requires_grad for p in parts.module.parameters())
    if before and learns:
        if before.data.sha256 != parts.data.sha256:
            raise _other_images(parts)
        terminal.say("  trained before, as a trial; now it is tested")
        of_the_fit = {key: getattr(before, key) for key in _OF_THE_FIT}
    else:
        if learns:
            _fit(parts, fresh=job.config["from"] is None, forced=job.config["force"])
        else:
            _fit_at_once(parts)
        of_the_fit = _fitted(parts, shown, learns)
    metrics = {} if TRIAL in os.environ else _test(parts, job.run_dir)
    if before and learns:
        parts.environments.follow([*before.earlier_environments, before.environment])
    known = {one.name: getattr(record, one.name) for one in fields(record)}
    return Complete(
        **known
        | of_the_fit
        | {
            "status": "trial" if TRIAL in os.environ else "finished",
            "error": "",
            "metrics": of_the_fit["metrics"] | metrics,
            "time": replace(of_the_fit["time"], test_seconds=parts.stopwatch.test_seconds),
            "data": describe.dataset(parts.data),
            "environment": parts.environments.present,
            "earlier_environments": parts.environments.earlier,
            "artifacts": {k: v for k, v in results.ARTIFACTS.items() if (job.run_dir / v).exists()},
            "finished": results.now(),
        }
    )


def _announce(job: Job, parts: Parts, shown: int) -> None:
    """Say what starts: where, on how many images, and how fast.

    Args:
        job: the run.
        parts: its parts.
        shown: training images an epoch.
    """
    images, device = len(parts.data.splits["train"]), environment.device(parts.trainer)
    few = "" if shown == images else f", {shown:,} an epoch,"
    speed = f", speed=auto: {parts.speed}" if job.config["speed"] == AUTO else ""
    terminal.say(f"{terminal.shown(job.run_dir)}: {images:,} training images{few} on {device}{speed}")
    if once := instances.groups(job.config):
        what = f"  {', '.join(once)}: an object, so this run cannot be repeated, resumed or opened"
        terminal.say(f"{what}; for that {instances.MEND}")
    precision = parts.speed.precision
    if emulated(precision, device_of(job.config["trainer"]["accelerator"])):
        slow = f"{device} emulates bfloat16, many times slower than 32-true"
        terminal.say(f"  trainer.precision={precision}: {slow}")


def _fitted(parts: Parts, shown: int, learns: bool) -> dict[str, Any]:
    """What the record says of the fit."""
    checkpoints, net = parts.checkpoints, parts.module.net
    if not checkpoints.figures:
        raise UserError(
            "no validation took place, so no checkpoint could be chosen; a callback ended the run"
        )
    return {
        "metrics": dict(checkpoints.figures),
        "best_epoch": checkpoints.epoch,
        "time": parts.stopwatch.record(shown),
        "size": describe.network(net),
        "floor": net.floor,
        "batch_size": parts.data.batch_size if learns else None,
    }


def _fit(parts: Parts, *, fresh: bool, forced: bool) -> None:
    """Train, from the last checkpoint where there is one, else from weights that are ``fresh`` or given."""
    last = _begun(parts, forced)
    parts.stopwatch.start()
    if last:
        terminal.say(f"  going on after epoch {last[1]['epoch'] + 1}")
    elif fresh:
        _initialise(parts)
    with told():
        parts.trainer.fit(parts.module, datamodule=parts.data, ckpt_path=last and last[0], weights_only=True)


def _begun(parts: Parts, forced: bool) -> tuple[Path, dict[str, Any]] | None:
    """Path and content of the checkpoint to go on from; one of other code or images gives way to force.

    Raises:
        UserError: it is of other images, and the run is not forced.
    """
    checkpoints, last = parts.checkpoints, to_resume(parts.checkpoints.last, parts.checkpoints.best)
    others = parts.environments.others(last[1]) if last else []
    if others and forced:
        terminal.say(f"  begun with other {' and '.join(others)}; force=true: the run starts again")
        for path in (checkpoints.best, checkpoints.last):  # no kill leaves a best one that is not of the last
            path.unlink(missing_ok=True)
        return None
    if "images" in others:
        raise _other_images(parts)
    return last


def _other_images(parts: Parts) -> UserError:
    return UserError(
        f"{parts.data.place()}: not the images that the run began with; "
        "restore those, or start the run again with force=true"
    )


def _fit_at_once(parts: Parts) -> None:
    """Fit a network that nothing is learnt by, such as PCA."""
    parts.stopwatch.start()
    _initialise(parts)
    parts.stopwatch.lap()
    parts.trainer.validate(parts.module, datamodule=parts.data, verbose=False)
    parts.checkpoints.save(parts.trainer, 0)


def _initialise(parts: Parts) -> None:
    module, train = parts.module, parts.data.splits["train"]
    asked = module.net.latent
    try:
        module.net.initialise_from(train, Corrupted(train.given, module.corruption, module.seed))
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    if module.net.latent < asked:
        taken = f"{module.net.latent:,} numbers, one for each training image"
        terminal.say(f"  model.latent={asked}: it takes {taken}")


def _test(parts: Parts, run_dir: Path) -> dict[str, float]:
    """Measure the best checkpoint on the test split, and draw its first image of each class."""
    parts.module.load_state_dict(checkpoint(parts.checkpoints.best)["state_dict"])
    began = time.perf_counter()
    metrics, measured = measure(parts.trainer, parts.module, parts.data)
    parts.stopwatch.test_seconds = time.perf_counter() - began
    if not parts.trainer.is_global_zero:
        return metrics
    images = pictures.named(*measured)
    figures.keep(run_dir / results.ARTIFACTS["images"], **images)
    rows = {name.removesuffix("s"): x for name, x in images.items() if name != "originals"}
    picture = figures.reconstructions(run_dir / results.ARTIFACTS["reconstructions"], measured[0], rows)
    pictures.show_tested(parts.trainer.loggers, picture, images)
    return metrics


def _floor(parts: Parts, record: Complete) -> float | None:
    """Test PSNR (dB) of PCA on as many numbers, where that is known or pays."""
    return floor.measured(
        record, parts.data, parts.module.corruption.cpu(), Path(record.config["paths"]["data"])
    )

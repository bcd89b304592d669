"""One run: data, network, fit, the one look at the test split, and the record that it leaves."""

import logging
import platform
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning
import torch
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import caelab
from caelab import compose, figures, results, screen
from caelab.callbacks import Checkpoints, EpochProgress, Stopwatch
from caelab.data.datamodule import ImageDataModule
from caelab.errors import UserError
from caelab.metrics import WINDOW, published_protocol
from caelab.models.autoencoder import Autoencoder
from caelab.module import AutoencoderModule
from caelab.restore import checkpoint
from caelab.results import Record

log = logging.getLogger(__name__)

_ARTIFACTS = {
    "best": "checkpoints/best.ckpt",
    "last": "checkpoints/last.ckpt",
    "reconstructions": "reconstructions.png",
    "curves": "metrics.csv",
    "log": "train.log",
    "config": ".hydra/config.yaml",
}
_MADE = (results.RECORD, "checkpoints", "metrics.csv", "reconstructions.png", "evaluations")


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
    """
    lock = FileLock(run_dir / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"{screen.shown(run_dir)}: another process is training there; let it finish"
        ) from None
    with lock:
        _claim(cfg, identity, run_dir)
        settings = HydraConfig.get()
        record = results.start(cfg, dict(settings.runtime.choices), list(settings.overrides.task))
        loggers: list[Logger] = []
        failed = True
        try:
            _share_log()
            loggers += _loggers(cfg)
            record |= _carry_out(cfg, run_dir, loggers)
            failed = False
        except Exception as error:
            log.exception("the run failed")
            line = compose.explain(error) or f"{type(error).__name__}: {error}"
            record |= {"status": "failed", "error": line}
            with suppress(OSError):  # a full disk cannot take the record either
                results.write(run_dir, record | {"finished": results.now()})
            raise
        finally:
            _close(loggers, failed)
        record |= {"status": "finished", "finished": results.now()}
        del record["error"]
        results.write(run_dir, record)
        shutil.rmtree(run_dir / results.ASIDE, ignore_errors=True)
    return record


def _claim(cfg: DictConfig, identity: str, run_dir: Path) -> None:
    """Make sure that the directory is this run's own, and set an old record aside."""
    saved = run_dir / ".hydra" / "config.yaml"
    if saved.exists():
        owner = OmegaConf.load(saved)
        if not isinstance(owner, DictConfig) or results.fingerprint(owner) != identity:
            raise UserError(
                f"{screen.shown(run_dir)} holds a run of another config; choose another hydra.run.dir"
            )
    record = results.read(run_dir)
    if record is not None and cfg.force:
        _set_aside(run_dir)
    elif record is not None:
        (run_dir / results.RECORD).unlink()
    saved.parent.mkdir(exist_ok=True)
    settings = HydraConfig.get()
    OmegaConf.save(cfg, saved)
    OmegaConf.save(OmegaConf.create({"hydra": settings}), saved.with_name("hydra.yaml"))
    OmegaConf.save(settings.overrides.task, saved.with_name("overrides.yaml"))


def _set_aside(run_dir: Path) -> None:
    """Move what the old run made to ``previous/``; what is there already is a complete run and stays."""
    aside = run_dir / results.ASIDE
    kept = aside.exists()
    aside.mkdir(exist_ok=True)
    for name in _MADE:
        path = run_dir / name
        if path.exists():
            path.replace(aside / name) if not kept else _remove(path)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _share_log() -> None:
    """Let Lightning's messages reach the job's log file, and warnings too, instead of the screen."""
    logging.captureWarnings(True)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def _loggers(cfg: DictConfig) -> list[Logger]:
    loggers = []
    for name, node in cfg.logger.items():
        if isinstance(node, DictConfig):
            logger = compose.build(compose.plain(node), f"logger.{name}")
            try:
                getattr(logger, "experiment", None)  # W&B and TensorBoard connect on first use
                logger.log_hyperparams(compose.plain(cfg))
                loggers.append(logger)
            except Exception as error:  # a logger must never cost a run
                screen.error(f"logger={name} did not start and is left out: {error}")
    return loggers


def _close(loggers: list[Logger], failed: bool) -> None:
    for logger in loggers:
        if hasattr(logger, "close"):
            logger.close(failed)


def _carry_out(cfg: DictConfig, run_dir: Path, loggers: list[Logger]) -> Record:
    module, data = _build(cfg)
    checkpoints, stopwatch = Checkpoints(run_dir / "checkpoints"), Stopwatch()
    callbacks = [stopwatch, EpochProgress(), checkpoints]
    trainer = _trainer(cfg, loggers, callbacks, run_dir)
    screen.say(
        f"{screen.shown(run_dir)}: {len(data.splits['train']):,} training images on {_device(trainer)}"
    )
    if any(p.requires_grad for p in module.parameters()):
        _fit(trainer, module, data, checkpoints, stopwatch)
    else:
        stopwatch.start()
        module.net.initialise(data.splits["train"])
        stopwatch.lap()
        trainer.validate(module, datamodule=data, verbose=False)
        checkpoints.save(trainer, 0)
    if not checkpoints.figures:
        raise UserError(
            "no validation took place, so no checkpoint could be chosen; check the trainer's limits"
        )
    return {
        "metrics": checkpoints.figures | _test(trainer, module, data, checkpoints.best, stopwatch, run_dir),
        "best_epoch": checkpoints.epoch,
        "size": _size(module.net),
        "time": stopwatch.record(),
        "data": _data(data),
        "environment": _environment(trainer),
        "artifacts": {k: v for k, v in _ARTIFACTS.items() if (run_dir / v).exists()},
    }


def _build(cfg: DictConfig) -> tuple[AutoencoderModule, ImageDataModule]:
    """Build and check everything before data are fetched: a mistake should not cost a download."""
    config = compose.plain(cfg)
    data = compose.build(config["dataset"], "dataset", order_seed=cfg.seed)
    if min(data.shape[1:]) < WINDOW:
        raise UserError(
            f"dataset: images of {data.shape[1]}x{data.shape[2]}; SSIM needs {WINDOW} pixels a side"
        )
    torch.manual_seed(cfg.seed)
    net = compose.build(config["model"], "model", shape=data.shape)
    loss = compose.build(config["loss"], "loss")
    optimizer = compose.build(config["optimizer"], "optimizer")
    module = AutoencoderModule(net, loss, optimizer, cfg.seed)
    try:
        module.configure_optimizers()
    except (ValueError, TypeError) as error:
        raise UserError(f"optimizer: {error}") from None
    data.prepare_data()
    data.setup("fit")
    return module, data


def _trainer(cfg: DictConfig, loggers: list[Logger], callbacks: list[Any], run_dir: Path) -> Trainer:
    try:
        return compose.build(  # type: ignore[no-any-return]
            compose.plain(cfg.trainer),
            "trainer",
            logger=loggers or False,
            callbacks=callbacks,
            default_root_dir=str(run_dir),
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
    except MisconfigurationException as error:
        raise UserError(
            f"trainer.accelerator={cfg.trainer.accelerator}, trainer.devices={cfg.trainer.devices}: {error} "
            "trainer.accelerator=auto takes what is there"
        ) from None


def _fit(
    trainer: Trainer,
    module: AutoencoderModule,
    data: ImageDataModule,
    checkpoints: Checkpoints,
    stopwatch: Stopwatch,
) -> None:
    resume = checkpoints.last.exists()
    stopwatch.start()
    if resume:
        epoch = checkpoint(checkpoints.last)["epoch"] + 1
        screen.say(f"  going on after epoch {epoch}")
    else:
        module.net.initialise(data.splits["train"])
    trainer.fit(module, datamodule=data, ckpt_path=checkpoints.last if resume else None, weights_only=True)


def _test(
    trainer: Trainer,
    module: AutoencoderModule,
    data: ImageDataModule,
    best: Path,
    stopwatch: Stopwatch,
    run_dir: Path,
) -> dict[str, float]:
    """Read the test split once, with the best checkpoint, and draw its first image of each class."""
    module.load_state_dict(checkpoint(best)["state_dict"])
    began = time.perf_counter()
    found, (originals, reconstructions) = _measure(trainer, module, data)
    stopwatch.test_seconds = time.perf_counter() - began
    picture = figures.reconstructions(run_dir / "reconstructions.png", originals, {"": reconstructions})
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):
            logger.log_image("reconstructions", [str(picture)])
    return found


def _measure(
    trainer: Trainer, module: AutoencoderModule, data: ImageDataModule
) -> tuple[dict[str, float], tuple[Tensor, Tensor]]:
    """Return test figures under both protocols, and the images of the published one."""
    (full,) = trainer.test(module, datamodule=data, verbose=False)
    originals, reconstructions = figures.first_of_each_class(data, module.net)
    published = published_protocol(reconstructions, originals)
    found = {**full, **{f"published/{name}": value for name, value in published.items()}}
    return found, (originals, reconstructions)


def score(net: Autoencoder, data: ImageDataModule, loss: nn.Module) -> Record:
    """Measure a trained network on the test split of any data of its shape.

    Returns:
        ``{"data": {...}, "metrics": {"test/psnr": ..., "published/psnr": ..., ...}}``.
    """
    _share_log()
    data.prepare_data()
    data.setup("test")
    trainer = Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    found, _ = _measure(trainer, AutoencoderModule(net, loss, torch.optim.Adam), data)
    return {"data": _data(data), "metrics": found}


def _size(net: Autoencoder) -> dict[str, int]:
    parameter = next(iter(net.state_dict().values()))
    image = torch.zeros(1, *net.shape, device=parameter.device)
    net.eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        code = net.encode(image)
        net.decode(code)
    return {
        "parameters": net.size,
        "latent": net.latent,
        "effective_code": code.numbers,
        "flops_per_image": counter.get_total_flops(),
        "input_numbers": image.numel(),
    }


def _data(data: ImageDataModule) -> dict[str, Any]:
    counts = {name: len(data.splits[name]) for name in ("train", "val", "test")}
    return {"name": data.name, **counts, "shape": list(data.shape), "sha256": data.sha256}


def _device(trainer: Trainer) -> str:
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _environment(trainer: Trainer) -> dict[str, Any]:
    return {
        "caelab": caelab.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "lightning": lightning.__version__,
        "device": _device(trainer),
        "threads": torch.get_num_threads(),
        "precision": str(trainer.precision),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """Return the commit of the checkout that caelab runs from; None for an installed wheel."""
    conf = Path(compose.CONF)
    if conf.parent == Path(caelab.__file__).parent:
        return None
    try:
        done = subprocess.run(["git", "-C", conf, "rev-parse", "HEAD"], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None

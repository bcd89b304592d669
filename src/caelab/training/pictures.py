"""The same images as a network makes them better and better, for every logger that takes pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from caelab.errors import UserError
from caelab.metrics.quality import mse, psnr, ssim
from caelab.plotting import figures

DURING, AFTER, TABLE = "val/images", "test/images", "test/table"
"""Keys of the pictures of each of several epochs, of the test images, and of their table."""

_BETWEEN = 10  # epochs with pictures, between the first and the last
_SHOWN = 10  # images


class Pictures(Callback):
    """Shows loggers the first validation image of each class, what the network is given, and what it makes.

    Never test images: these are read once the checkpoint is chosen. It comes before other callbacks, so that
    it sees averaged weights where those are what is validated.

    Args:
        every: epochs from one picture to the next; None takes the first, the last and at most ten between.

    Raises:
        UserError: another number.
    """

    def __init__(self, every: int | None = None) -> None:
        if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise UserError(f"logger.images_every={every}: must be a whole number, 1 or more, or null")
        self.every = every
        self._missing = False

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show an epoch, where it is its turn."""
        fitting = trainer.state.fn == TrainerFn.FITTING
        turn = not fitting or trainer.current_epoch in self._turns(trainer)
        if turn:
            self._show(trainer, pl_module)
        self._missing = not turn

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the last epoch, where a callback has ended the run."""
        if self._missing:
            self._show(trainer, pl_module)

    def _turns(self, trainer: Trainer) -> set[int]:
        assert trainer.max_epochs is not None
        return turns(trainer.max_epochs, trainer.check_val_every_n_epoch or 1, self.every)

    def _show(self, trainer: Trainer, module: Any) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        images = figures.first_of_each_class(data, module.net, module.corruption, "val")
        sheet = figures.sheet([one[:_SHOWN] for one in named(*images).values()])
        for logger in taking(trainer.loggers):
            logger.log_image(DURING, [sheet], step=trainer.global_step)


def turns(epochs: int, each: int, every: int | None) -> set[int]:
    """Epochs, counted from 0, at whose end pictures are taken.

    Args:
        epochs: of the run.
        each: validation follows every so many epochs.
        every: epochs from one picture to the next; None spreads at most ten between the first and the last.
    """
    validated = range(each - 1, epochs, each)
    if not validated:
        return set()
    if every is None:
        places = np.linspace(0, len(validated) - 1, min(len(validated), _BETWEEN + 2)).round()
        return {validated[int(place)] for place in places}
    return {validated[0], validated[-1]} | {one for one in validated if one // every > (one - each) // every}


def taking(loggers: Sequence[Logger]) -> list[Any]:
    """Loggers that take pictures: those with Lightning's ``log_image``."""
    return [logger for logger in loggers if hasattr(logger, "log_image")]


def named(originals: Tensor, given: Tensor, made: Tensor) -> dict[str, Tensor]:
    """Name images (N, C, H, W), and leave out what the network was given where that is the originals."""
    inputs = {} if torch.equal(given, originals) else {"corrupted": given}
    return {"originals": originals, **inputs, "reconstructions": made}


def show_tested(loggers: Sequence[Logger], picture: Path, images: dict[str, Tensor]) -> None:
    """Show loggers the test images of a run that is scored.

    Args:
        loggers: of the run.
        picture: of these images.
        images: as ``named`` names them.
    """
    takers = taking(loggers)
    if takers:
        pixels = np.asarray(Image.open(picture).convert("RGB"))
        columns, data = table(images)
    for logger in takers:
        logger.log_image(AFTER, [pixels])
        if hasattr(logger, "log_table"):
            logger.log_table(TABLE, columns, data)


def table(images: dict[str, Tensor]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of a table: each test image with its pictures, PSNR (dB) and SSIM."""
    x, x_hat = images["originals"], images["reconstructions"]
    figures_of = zip(psnr(mse(x_hat, x)).tolist(), ssim(x_hat, x).tolist(), strict=True)
    pixels = zip(*([_pixels(one) for one in batch] for batch in images.values()), strict=True)
    data = [
        [number, *pictures, *both]
        for number, (pictures, both) in enumerate(zip(pixels, figures_of, strict=True))
    ]
    return ["image", *images, "psnr", "ssim"], data


def _pixels(image: Tensor) -> NDArray[np.uint8]:
    return figures.sheet([image[None]], border=0)

"""The one LightningModule: network + loss + optimizer factory + metrics; it knows no variant."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from caelab.augmentations import Augmentation, Plain
from caelab.corruptions import TEST, VAL, Clean, Corruption
from caelab.data.datamodule import Batches
from caelab.data.scale import unit
from caelab.draws import keys
from caelab.errors import UserError
from caelab.metrics.image_quality import ImageQuality
from caelab.metrics.measures import Measure
from caelab.models.autoencoder import Autoencoder
from caelab.schedulers import Constant
from caelab.training.speed import Speed

_BOTTLENECK, _AUGMENTATION = 1, 2  # beside seed and epoch: their draws are other ones than the corruption's
_KEPT = "kept"  # key of a checkpoint
# Reading a loss makes the CPU wait for a GPU; there the losses are read in groups of this many steps.
_READ_EVERY_ON_GPU = 50


class AutoencoderModule(LightningModule):
    """Trains and measures an autoencoder on batches of images (N, C, H, W) of a split.

    Args:
        net: the network.
        loss: maps ``(x_hat, x)``, float32 in [0, 1], to one scalar.
        optimizer: maps parameters to an optimizer.
        seed: with the epoch, of everything random in a training step.
        corruption: of what the network is given; loss and figures compare with the clean images.
        scheduler: maps the optimizer and the number of steps to its schedule, or to None.
        flip: whether training images are mirrored, left to right, with a chance of one half.
        augmentation: of training images; the loss compares with what they have become.
        measures: name -> what is measured beside what always is.
    """

    def __init__(
        self,
        net: Autoencoder,
        loss: nn.Module,
        optimizer: Callable[..., Optimizer],
        seed: int = 0,
        corruption: Corruption | None = None,
        scheduler: Callable[[Optimizer, int], LRScheduler | None] | None = None,
        flip: bool = False,
        augmentation: Augmentation | None = None,
        measures: Mapping[str, Measure] | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self._train_net = self._through
        self.loss = loss
        self.optimizer = optimizer
        self.seed = seed
        self.corruption = corruption or Clean()
        self.scheduler = scheduler or Constant()
        self.flip = flip
        self.augmentation = augmentation or Plain()
        self.quality = ImageQuality(measures)
        self.mean_loss = MeanMetric(nan_strategy=math.nan)  # a NaN shows; by default it is left out
        self.val_penalties = MeanMetric(nan_strategy=math.nan)
        self.train_penalties = MeanMetric(nan_strategy=math.nan)
        self._sizes: list[int] = []
        self._unread: list[Tensor] = []
        self._read: list[float] = []
        self._told = False  # whether the epoch's figures are logged

    def train_at(self, speed: Speed) -> None:
        """Carry training steps out as ``speed`` says; checkpoints and evaluation know nothing of it."""
        if speed.channels_last:
            self.net.to(memory_format=torch.channels_last)
        if speed.fused:
            self.optimizer = partial(self.optimizer, fused=True)
        # a function, no module: a compiled module would rename every key of a checkpoint
        self._train_net = speed.compiled(self._through)

    def configure_optimizers(self) -> Any:
        """Return the optimizer, and where there is one its schedule by steps, as Lightning takes them."""
        optimizer = self.build_optimizer()
        if optimizer is None:
            return None
        schedule = self.scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def build_optimizer(self) -> Optimizer | None:
        """Build the optimizer over the trainable parameters; None for a network that has none."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        return self.optimizer(parameters) if parameters else None

    def forward(
        self,
        batch: Tensor,
        key: Tensor | None = None,
        draw: Tensor | None = None,
        given: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Turn a batch into ``(x_hat, x, penalty)``: (N, C, H, W) float32 in [0, 1] each, and (N,).

        Args:
            batch: clean images (N, C, H, W).
            key: of each image's corruption, (N,) int64, where that is random.
            draw: of what each image's bottleneck draws, likewise; only in training.
            given: what the network is given in their place, likewise (N, C, H, W); None: they themselves.
        """
        x = unit(batch)
        net = self._train_net if self.training else self._through
        y = self.corruption(x if given is None else unit(given), key)
        x_hat, penalty = net(y.to(self.dtype), draw)
        return x_hat, x, penalty

    def _through(self, x: Tensor, draw: Tensor | None) -> tuple[Tensor, Tensor | None]:
        code = self.net.encode(x) if draw is None else self.net.encode(x, draw)
        return self.net.decode(code), code.penalty

    def _keys(self, batches: Any, batch_idx: int, *seed: int) -> Tensor | None:
        return self._drawn(batches, batch_idx, *seed) if self.corruption.random else None

    def _drawn(self, batches: Any, batch_idx: int, *seed: int) -> Tensor:
        return keys(batches.rows(batch_idx).to(self.device), *seed)

    def _score(self, x_hat: Tensor, x: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            loss = self.loss(x_hat.float(), x)
        if not isinstance(loss, Tensor) or loss.ndim:
            what = (
                f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            )
            raise UserError(f"loss: it returns {what}; it must return one number, a tensor without axes")
        return loss

    def on_train_start(self) -> None:
        """Make room for what the network keeps of each training image, unless a checkpoint has brought it."""
        if self.net.by_place and self.net.kept is None:
            self.net.make_room(len(self._loader.split))
        if self.net.kept is not None:
            self.net.kept = self.net.kept.to(self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the network keeps of each training image."""
        if self.net.kept is not None:
            checkpoint[_KEPT] = self.net.kept

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what the network kept."""
        self.net.kept = checkpoint.get(_KEPT)

    def on_train_epoch_start(self) -> None:
        """Make the epoch's randomness a function of (seed, epoch), so that a resumed run repeats it."""
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch)
        self.net.bottleneck.start_epoch(self.current_epoch)
        self._sizes, self._unread, self._read = [], [], []
        self._told = False
        self.train_penalties.reset()

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the loss of one batch (N, C, H, W) of a split.

        Raises:
            UserError: a loss is NaN or infinite.
        """
        mirrored, given = None, self._loader.given(batch_idx)
        if self.flip:
            mirrored = torch.rand(len(batch), 1, 1, 1, device=batch.device) < 0.5
            batch = torch.where(mirrored, batch.flip(-1), batch)
            given = None if given is None else torch.where(mirrored, given.flip(-1), given)
        if self.augmentation.random:
            drawn = self._drawn(self._loader, batch_idx, self.seed, self.current_epoch, _AUGMENTATION)
            batch = self.augmentation(unit(batch), drawn)
        key = self._keys(self._loader, batch_idx, self.seed, self.current_epoch)
        draw = None
        if self.net.by_place:
            draw = self._loader.rows(batch_idx).to(self.device)
            if mirrored is not None:
                draw = draw + len(self._loader.split) * mirrored.flatten()
        elif self.net.bottleneck.random:
            draw = self._drawn(self._loader, batch_idx, self.seed, self.current_epoch, _BOTTLENECK)
        x_hat, x, penalty = self(batch, key, draw, given)
        loss = self._score(x_hat, x)
        self._sizes.append(len(batch))
        self._unread.append(loss.detach())
        if penalty is not None:
            price = penalty.mean() / x[0].numel()
            self.train_penalties.update(price.detach(), weight=len(batch))
            loss = loss + price
        if (
            processes := self.trainer.world_size
        ) > 1:  # their gradients are averaged, whatever each one's share
            loss = loss * (len(batch) * processes / self._loader.images(batch_idx))
        if self.device.type == "cpu" or len(self._unread) == _READ_EVERY_ON_GPU:
            self._read_losses()
        return loss

    @property
    def _loader(self) -> Batches:
        return cast(Batches, self.trainer.train_dataloader)

    def _read_losses(self) -> None:
        values = torch.stack(self._unread).tolist() if self._unread else []
        self._unread = []
        for value in values:
            if not math.isfinite(value):
                step = self.current_epoch * int(self.trainer.num_training_batches) + len(self._read)
                rate = self.trainer.optimizers[0].param_groups[0]["lr"]
                last = self._read[-1] if self._read else "none in this epoch"
                raise UserError(
                    f"the loss is {value} at step {step} (epoch {self.current_epoch + 1}), "
                    f"learning rate {rate:g}, last finite loss {last}; a smaller optimizer.lr may help"
                )
            self._read.append(value)

    def on_train_epoch_end(self) -> None:
        """Log what training alone tells where no validation was in the epoch."""
        if not self._told:
            self.log_dict(self.training_figures())

    def on_validation_epoch_start(self) -> None:
        """Start the epoch's figures anew."""
        for measured in (self.quality, self.mean_loss, self.val_penalties):
            measured.reset()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Add one batch (N, C, H, W) of a split to the epoch's figures."""
        self._measure(batch, self.trainer.val_dataloaders, batch_idx, VAL)

    def _measure(self, batch: Tensor, batches: Any, batch_idx: int, seed: int) -> None:
        key, given = self._keys(batches, batch_idx, seed), batches.given(batch_idx)
        x_hat, x, penalty = self(batch, key, given=given)
        self.quality.update(x_hat, x)
        if penalty is not None:
            self.val_penalties.update(penalty.mean() / x[0].numel(), weight=len(batch))
        self.mean_loss.update(self._score(x_hat.clamp(0, 1), x), weight=len(batch))

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's figures: ``val/...``, and those of its training.

        Raises:
            UserError: one of them is NaN or infinite.
        """
        self.log_dict(self._figures("val") | self.training_figures())
        self._told = True

    def training_figures(self) -> dict[str, Tensor]:
        """Figures of the epoch's training so far, over all processes; empty before its first batch.

        Returns:
            ``train/loss``, the mean over its images, ``train/lr``, and ``train/penalty`` where there is one.
        """
        self._read_losses()
        figures = {}
        if self._read:
            total = sum(value * size for value, size in zip(self._read, self._sizes, strict=True))
            both = torch.tensor([total, sum(self._sizes)], dtype=torch.float64)
            if self.trainer.world_size > 1:  # elsewhere it stays, since Apple's GPUs have no float64
                both = both.to(self.device)
            total, images = self.trainer.strategy.reduce(both, reduce_op="sum").tolist()
            figures["train/loss"] = torch.tensor(total / images, dtype=torch.float32)
            if self.train_penalties.update_called:
                figures["train/penalty"] = self.train_penalties.compute()
            for config in self.trainer.lr_scheduler_configs:
                figures["train/lr"] = torch.tensor(config.scheduler.get_last_lr()[0])
        return figures

    on_test_epoch_start = on_validation_epoch_start

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        """Add one batch (N, C, H, W) of a split to the figures."""
        self._measure(batch, self.trainer.test_dataloaders, batch_idx, TEST)

    def on_test_epoch_end(self) -> None:
        """Log ``test/...``.

        Raises:
            UserError: one of them is NaN or infinite.
        """
        self.log_dict(self._figures("test"))

    def _figures(self, split: str) -> dict[str, Tensor]:
        loss = self.mean_loss.compute()
        measured = {"loss": loss, **self.quality.compute()}
        if self.val_penalties.update_called:
            penalty = self.val_penalties.compute()
            measured |= {"penalty": penalty, "objective": loss + penalty}
            if (price := self.net.bottleneck.bit_price) is not None:
                measured["bits"] = penalty * math.prod(self.net.shape) / price
        figures = {f"{split}/{k}": torch.as_tensor(v, dtype=torch.float32) for k, v in measured.items()}
        for key, value in figures.items():
            if not math.isfinite(value):
                when = f" after epoch {self.current_epoch + 1}" if split == "val" else ""
                raise UserError(
                    f"{key} is {float(value)}{when}; "
                    "a smaller optimizer.lr or trainer.precision=32-true may help"
                )
        return figures

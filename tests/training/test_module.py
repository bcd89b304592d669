"""The Lightning module: figures of an epoch, the loss in float32, the stop at a loss that is not finite."""

from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from caelab.augmentations import CropShift
from caelab.corruptions import GaussianNoise
from caelab.data.datamodule import permutation
from caelab.data.shapes import Shapes
from caelab.draws import keys
from caelab.errors import UserError
from caelab.models.base import Base
from caelab.models.pca import PCA
from caelab.training.module import AutoencoderModule


def make(tmp_path, loss=None, **options):
    torch.manual_seed(0)
    data = Shapes(str(tmp_path), train_size=70, val_size=30, test_size=30, batch_size=32)
    net = Base(data.shape, latent=4, channels=[4], hidden=[])
    module = AutoencoderModule(net, loss or nn.MSELoss(), lambda p: torch.optim.SGD(p, lr=0.0))
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    options = {"max_epochs": 1, "accelerator": "cpu", "num_sanity_val_steps": 0, **quiet, **options}
    return Trainer(**options), module, data


def test_train_loss_is_the_mean_over_images_not_over_batches(tmp_path):
    trainer, module, data = make(tmp_path)
    trainer.fit(module, datamodule=data)
    module.net.train()  # at rate 0 only the running statistics of the norms have changed
    sums = 0.0
    for batch in data.train_dataloader():
        x = batch.float() / 255
        sums += nn.functional.mse_loss(module.net(x), x).item() * len(batch)
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(sums / 70, rel=1e-5)


def test_validation_loss_is_that_of_all_images(tmp_path):
    trainer, module, data = make(tmp_path, nn.L1Loss())
    trainer.fit(module, datamodule=data)
    images = data.splits["val"][:]
    expected = (module.net.reconstruct(images) - images.float() / 255).abs().mean()
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(trainer.callback_metrics["val/l1"]) == pytest.approx(float(expected), rel=1e-5)


class Watched(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x_hat, x):
        self.seen.append((x_hat.dtype, x.dtype, torch.is_autocast_enabled("cpu")))
        return (x_hat - x).square().mean()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_the_loss_sees_float32_outside_autocast(tmp_path, precision):
    loss = Watched()
    trainer, module, data = make(tmp_path, loss, precision=precision)
    trainer.fit(module, datamodule=data)
    assert set(loss.seen) == {(torch.float32, torch.float32, False)}


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "BCELoss"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_every_loss_stays_finite_in_bf16(tmp_path, name, precision):
    trainer, module, data = make(tmp_path, getattr(nn, name)(), precision=precision)
    module.optimizer = lambda p: torch.optim.Adam(p, lr=0.1)
    trainer.fit(module, datamodule=data)
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    assert torch.isfinite(trainer.callback_metrics["val/psnr"])


class Breaks(nn.Module):
    """MSE, and NaN at its third call."""

    calls = 0

    def forward(self, x_hat, x):
        self.calls += 1
        loss = (x_hat - x).square().mean()
        return loss * float("nan") if self.calls == 3 else loss


def test_a_loss_that_is_not_finite_is_named(tmp_path):
    trainer, module, data = make(tmp_path, Breaks())
    before = {key: value.clone() for key, value in module.net.named_parameters()}
    line = r"the loss is nan at step 2 \(epoch 1\), learning rate 0, last finite loss 0\.\d+"
    with pytest.raises(UserError, match=line):
        trainer.fit(module, datamodule=data)
    assert all(torch.equal(value, before[key]) for key, value in module.net.named_parameters())


@pytest.mark.parametrize(("returned", "what"), [(torch.ones(3), r"a tensor of shape \(3,\)"), (0.5, "float")])
def test_a_loss_that_is_not_one_number_is_told(tmp_path, returned, what):
    class Odd(nn.Module):
        def forward(self, x_hat, x):
            return returned

    trainer, module, data = make(tmp_path, Odd())
    with pytest.raises(UserError, match=rf"^loss: it returns {what}; it must return one number"):
        trainer.fit(module, datamodule=data)


def test_randomness_of_an_epoch_is_a_function_of_seed_and_epoch(tmp_path):
    class Draws(nn.Module):
        def __init__(self):
            super().__init__()
            self.drawn = []

        def forward(self, x_hat, x):
            self.drawn.append(float(torch.rand(())))
            return (x_hat - x).square().mean()

    loss = Draws()
    trainer, module, data = make(tmp_path, loss, max_epochs=2, limit_val_batches=0)
    trainer.fit(module, datamodule=data)
    again = Draws()
    trainer, module, data = make(tmp_path, again, max_epochs=2, limit_val_batches=0)
    torch.rand(100)
    trainer.fit(module, datamodule=data)
    assert loss.drawn == again.drawn
    assert loss.drawn[:3] != loss.drawn[3:]


def test_a_network_without_trainable_parameters_has_no_optimizer():
    module = AutoencoderModule(PCA((1, 11, 11), 2), nn.MSELoss(), torch.optim.Adam)
    assert module.configure_optimizers() is None


def test_half_of_the_training_images_are_mirrored_and_no_others(tmp_path):
    class Sees(nn.Module):
        def __init__(self):
            super().__init__()
            self.images = []

        def forward(self, x_hat, x):
            self.images.append(x)
            return (x_hat - x).square().mean()

    loss = Sees()
    trainer, module, data = make(tmp_path, loss, max_epochs=4)
    module.flip = True
    trainer.fit(module, datamodule=data)
    whole = {name: data.splits[name][:].float() / 255 for name in ("train", "val")}
    turned = 0
    for image in torch.cat([batch for batch in loss.images if len(batch) in (32, 6)]):
        turned += bool((image == whole["train"].flip(-1)).flatten(1).all(1).any())
        either = torch.cat([whole["train"], whole["train"].flip(-1)])
        assert (image == either).flatten(1).all(1).any()
    assert 110 <= turned <= 170  # of 280: within 3.5 standard deviations of a half
    checked = [batch for batch in loss.images if len(batch) == 30]
    assert all(torch.equal(batch, whole["val"]) for batch in checked)
    assert len(checked) == 4


def test_a_training_image_becomes_what_seed_epoch_and_its_place_say(tmp_path):
    class Sees(nn.Module):
        images: ClassVar = []

        def forward(self, x_hat, x):
            self.images.append(x)
            return (x_hat - x).square().mean()

    trainer, module, data = make(tmp_path, Sees(), max_epochs=2)
    module.augmentation = CropShift(3)
    trainer.fit(module, datamodule=data)
    train = data.splits["train"]
    seen = [batch for batch in Sees.images if len(batch) in (32, 6)]  # the others are of validation
    for epoch in range(2):
        order = permutation(len(train), 0, epoch)
        expected = CropShift(3)(train[order].float() / 255, keys(order, 0, epoch, 2))
        assert torch.equal(torch.cat(seen[3 * epoch : 3 * epoch + 3]), expected)
    assert torch.equal(next(b for b in Sees.images if len(b) == 30), data.splits["val"][:].float() / 255)


def test_the_noise_of_validation_is_not_that_of_the_test(tmp_path):
    trainer, module, data = make(tmp_path)
    module.corruption = GaussianNoise(0.2)
    given = []
    module.corruption.register_forward_hook(lambda corruption, arguments, images: given.append(images))
    data.setup()
    data.splits["test"] = data.splits["val"]
    trainer.validate(module, datamodule=data, verbose=False)
    trainer.test(module, datamodule=data, verbose=False)
    rows, x = torch.arange(30), data.splits["val"][:].float() / 255
    for seed, images in zip((1, 2), given, strict=True):  # figures on record rest upon these two seeds
        assert torch.equal(images, GaussianNoise(0.2)(x, keys(rows, seed)))
    assert not torch.equal(*given)


def test_the_noise_of_training_is_a_function_of_seed_epoch_and_image(tmp_path):
    trainer, module, data = make(tmp_path, max_epochs=2, limit_val_batches=0)
    module.corruption, module.seed = GaussianNoise(0.2), 3
    used = []
    module.corruption.register_forward_hook(lambda corruption, arguments, images: used.append(arguments[1]))
    trainer.fit(module, datamodule=data)
    expected = [keys(permutation(70, 0, epoch), 3, epoch) for epoch in (0, 1)]
    assert torch.equal(torch.cat(used), torch.cat(expected))


def test_the_training_loss_needs_no_float64_on_the_device(tmp_path, monkeypatch):
    _, module, _ = make(tmp_path)
    monkeypatch.setattr(
        AutoencoderModule, "device", torch.device("meta")
    )  # as Apple's GPUs: no numbers there
    strategy = SimpleNamespace(reduce=lambda both, reduce_op: both)
    module._trainer = SimpleNamespace(world_size=1, strategy=strategy, lr_scheduler_configs=[])
    module._read, module._sizes = [1.0, 4.0], [2, 1]
    assert module.training_figures() == {"train/loss": torch.tensor(2.0)}

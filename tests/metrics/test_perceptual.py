"""LPIPS and DISTS over a network of random weights, each against its sum made by hand."""

import numpy as np
import pytest
import torch
import torchmetrics.functional.image as peer
from omegaconf import OmegaConf
from torch import nn
from torchvision.models import vgg16

from caelab.config import CONF
from caelab.config.build import instantiate
from caelab.errors import UserError
from caelab.metrics import perceptual
from caelab.metrics.image_quality import ImageQuality
from caelab.metrics.measures import asked

LEARNT = f"{peer.__path__[0]}/"
ENDS = (4, 9, 16, 23, 30)
WIDTHS = (3, 64, 128, 256, 512, 512)


def pair(channels=3, height=32, width=28):
    generator = torch.Generator().manual_seed(0)
    x_hat, x = torch.rand(2, 2, channels, height, width, generator=generator)
    return 0.3 * x_hat + 0.7 * x, x


def layers(file):
    with torch.device("meta"):
        found = vgg16().features
    weights = torch.load(file, weights_only=True)
    found.load_state_dict({k.removeprefix("features."): v for k, v in weights.items()}, assign=True)
    return found.requires_grad_(False)


def by_hand_lpips(net, x_hat, x):
    heads = torch.load(f"{LEARNT}lpips_models/vgg.pth", "cpu", weights_only=True)
    shift, scale = torch.tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]])[..., None, None]
    values = []
    for one in zip(x_hat, x, strict=True):
        total = 0.0
        for number, end in enumerate(ENDS):
            unit = []
            for image in one:
                h = net[:end](((2 * image - 1 - shift) / scale)[None])[0].double().numpy()  # (C, h, w)
                unit.append(h / np.sqrt(np.square(h).sum(0) + 1e-8))
            weights = heads[f"lin{number}.model.1.weight"].double().numpy().reshape(-1, 1, 1)
            total += (weights * np.square(unit[0] - unit[1])).sum(0).mean()
        values.append(total)
    return values


class Blur(nn.Module):
    """DISTS' pooling as its authors wrote it: a convolution with a Hann window."""

    def forward(self, h):
        window = torch.from_numpy(np.hanning(5)[1:-1]).float()
        kernel = (window[:, None] * window).div(window.sum() ** 2).expand(h.shape[1], 1, 3, 3)
        return (nn.functional.conv2d(h**2, kernel, stride=2, padding=1, groups=h.shape[1]) + 1e-12).sqrt()


def by_hand_dists(net, x_hat, x):
    weights = torch.load(f"{LEARNT}dists_models/weights.pt", "cpu", weights_only=True)
    alpha, beta = (weights[name].detach().double().numpy().ravel() for name in ("alpha", "beta"))
    net = nn.Sequential(*(Blur() if isinstance(one, nn.MaxPool2d) else one for one in net))
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    values = []
    for one in zip(x_hat, x, strict=True):
        pairs = [one, *([net[:end](((image - mean) / deviation)[None])[0] for image in one] for end in ENDS)]
        channels = [
            np.stack([a, b]) for h in pairs for a, b in zip(*(i.double().numpy() for i in h), strict=True)
        ]
        total = 0.0
        for a, b, channel in zip(alpha, beta, channels, strict=True):
            (var, cov), (_, other) = np.cov(channel.reshape(2, -1), bias=True)
            m, n = channel.mean((1, 2))
            total += a * (2 * m * n + 1e-6) / (m * m + n * n + 1e-6) + b * (2 * cov + 1e-6) / (
                var + other + 1e-6
            )
        values.append(1 - total / (alpha.sum() + beta.sum()))
    return values


BY_HAND = {"lpips": by_hand_lpips, "dists": by_hand_dists}


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 28), (1, 28, 28), (3, 33, 47)])
@pytest.mark.parametrize("name", BY_HAND)
def test_it_is_its_sum_by_hand(random_vgg16, name, channels, height, width):
    x_hat, x = pair(channels, height, width)
    colours = [one.repeat(1, 3 // channels, 1, 1) for one in (x_hat, x)]
    expected = BY_HAND[name](layers(random_vgg16), *colours)
    assert getattr(perceptual, name)(x_hat, x).tolist() == pytest.approx(expected, rel=1e-4)
    assert min(expected) > 1e-3
    quality = ImageQuality(asked([name]))
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        quality.update(x_hat, x)
    assert quality.per_image()[name].tolist() == pytest.approx(expected, rel=1e-4)
    assert getattr(perceptual, name)(x, x).tolist() == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize("name", BY_HAND)
def test_as_a_loss_it_is_the_mean_and_has_a_gradient_for_the_images_alone(random_vgg16, name):
    x_hat, x = pair()
    with torch.inference_mode():  # as validation does, before any training
        expected = getattr(perceptual, name)(x_hat, x).mean().item()
    before = torch.get_rng_state()
    loss = instantiate(OmegaConf.load(f"{CONF}/loss/{name}.yaml"), "loss")
    assert torch.equal(before, torch.get_rng_state())
    assert list(loss.state_dict()) == list(loss.parameters()) == []
    x_hat.requires_grad_()
    value = loss(x_hat, x)
    value.backward()
    assert value.item() == pytest.approx(expected, rel=1e-5)
    step = 1e-2 * x_hat.grad / x_hat.grad.norm()
    less, more = (loss(x_hat.detach() + sign * step, x).item() for sign in (-1, 1))
    assert (more - less) / (2 * 1e-2) == pytest.approx(x_hat.grad.norm().item(), rel=0.05)


@pytest.mark.parametrize("name", BY_HAND)
def test_a_few_images_at_a_time_are_the_same(random_vgg16, monkeypatch, name):
    x_hat, x = pair()
    whole = getattr(perceptual, name)(x_hat, x)
    monkeypatch.setattr(perceptual, "_AT_ONCE", 1)
    torch.testing.assert_close(getattr(perceptual, name)(x_hat, x), whole, atol=1e-6, rtol=1e-5)


def test_images_that_vgg16_does_not_take_are_refused(random_vgg16):
    with pytest.raises(ValueError, match="grey or RGB images, got 2 channels"):
        perceptual.lpips(*pair(2))
    with pytest.raises(ValueError, match="^image_size must be at least 16 for VGG16, got 15$"):
        perceptual.dists(*pair(3, 15, 30))


def test_weights_that_are_missing_or_damaged_are_named(random_vgg16, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub/checkpoints/vgg16-397923af.pth"
    url = "https://download.pytorch.org/models/vgg16-397923af.pth"
    need = f"lpips and dists need the weights of VGG16; put {url} there"
    with pytest.raises(UserError) as missing:
        perceptual.lpips(*pair())
    assert str(missing.value) == f"{file} is missing: {need}"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights of something else")
    with pytest.raises(UserError) as damaged:
        perceptual.dists(*pair())
    assert str(damaged.value) == f"{file} is damaged, or another file: {need}"


@pytest.mark.parametrize("words", [["metrics=[lpips]"], ["loss=dists"]])
def test_a_run_without_weights_says_so_before_data_are_fetched(train, monkeypatch, tmp_path, words):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    perceptual.stages.cache_clear()
    answer = train(*words)
    assert answer.status == 1
    assert answer.err.startswith(
        f"caelab: {tmp_path}/hub/checkpoints/vgg16-397923af.pth is missing: lpips and"
    )
    assert not (tmp_path / "data").exists()


def test_a_run_is_trained_by_one_and_measured_by_both(random_vgg16, train):
    answer = train("trainer.max_epochs=1", "dataset.train_size=32", "loss=lpips", "metrics=[lpips,dists]")
    metrics = answer.record["metrics"]
    assert metrics["test/lpips"] == pytest.approx(metrics["test/loss"], rel=1e-5)
    assert 0 < metrics["val/dists"] < 1
    checkpoint = torch.load(answer.run_dir / "checkpoints/best.ckpt", weights_only=True)
    assert all(key.startswith("net.") for key in checkpoint["state_dict"])

"""The bypass audit on networks whose paths are known, with every figure computed again by NumPy."""

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from caelab.analysis.audit import paths
from caelab.bottlenecks.topk import TopK
from caelab.data.datamodule import Split
from caelab.errors import UserError
from caelab.metrics import reliance
from caelab.models import contract
from caelab.models.autoencoder import Autoencoder, Code
from caelab.models.improved import Improved
from caelab.models.improved_skip import ImprovedSkip
from caelab.models.pca import PCA
from caelab.training import scoring

SHAPE = (3, 16, 16)
NUMBERS = math.prod(SHAPE)


def split(count, seed, shape=SHAPE):
    """Smooth random pictures, as a split that does not begin at the array's first image."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count + 3, shape[0], 4, 4, generator=generator)
    images = (torch.nn.functional.interpolate(coarse, shape[1:], mode="bilinear") * 255).byte()
    return Split(images, torch.zeros(count + 3, dtype=torch.int64), torch.arange(3, count + 3))


TRAIN, TEST = split(40, 1), split(21, 2)


def floats(part):
    return part[:].numpy().astype(np.float64) / 255


def psnr(x_hat, x):
    """Mean over images of each image's PSNR in dB, by NumPy, capped at 100."""
    mse = np.square(x_hat - x).reshape(len(x), -1).mean(1)
    return float(np.mean(-10 * np.log10(np.maximum(mse, 1e-10))))


class Toy(Autoencoder):
    """Pixels in the latent and pixels in a skip; the decoder takes so much of the latent."""

    share = 0.5

    def __init__(self):
        super().__init__(SHAPE, NUMBERS)
        self.register_buffer("nothing", torch.zeros(1))

    def encode(self, x):
        return Code(x.flatten(1), (x,))

    def decode(self, code):
        return self.share * code.z.unflatten(1, SHAPE) + (1 - self.share) * code.skips[0]


class Around(Toy):
    share = 0.0


class Through(Toy):
    def encode(self, x):
        return Code(x.flatten(1))

    def decode(self, code):
        return code.z.unflatten(1, SHAPE)


def audited(net, train=TRAIN, test=TEST):
    return paths.audit(net, test, paths.averages(net, train))


def test_each_figure_of_a_network_that_takes_half_from_each_path():
    found = audited(Toy())
    x, mean = floats(TEST), floats(TRAIN).mean(0)
    other = x[(np.arange(21) + 10) % 21]
    expected = {
        "everything": 100.0,
        "other_latent": psnr((x + other) / 2, x),
        "mean_latent": psnr((x + mean) / 2, x),
        "other_skips": psnr((x + other) / 2, x),
        "mean_skips": psnr((x + mean) / 2, x),
        "other_skip_1": psnr((x + other) / 2, x),
        "mean_image": psnr(0 * x + mean, x),
    }
    assert found.psnr == pytest.approx(expected, abs=1e-3)
    share = (100 - expected["other_latent"]) / (100 - expected["mean_image"])
    assert 0.5 < share < 1
    assert found.reliance == pytest.approx(
        dict.fromkeys(("other_latent", "other_skips", "other_skip_1"), share), abs=1e-4
    )


def test_a_toy_that_copies_its_input_through_a_skip_scores_0():
    found = audited(Around())
    assert found.psnr["everything"] == found.psnr["other_latent"] == 100
    assert found.reliance["other_latent"] < 0.01
    assert found.reliance["other_skips"] == 1
    assert reliance.latent_reliance(Around(), TRAIN, TEST, 100.0) < 0.01


@pytest.mark.parametrize("kind", ["through", "pca", "improved"])
def test_a_model_without_skips_scores_1(kind):
    torch.manual_seed(0)
    if kind == "improved":  # trained for a moment, far from perfect
        net = Improved(SHAPE, 64, channels=(8, 16))
        optimizer, x = torch.optim.Adam(net.parameters(), 3e-3), TRAIN[:].float() / 255
        for _ in range(120):
            optimizer.zero_grad()
            (net(x) - x).square().mean().backward()
            optimizer.step()
        test = TRAIN
    else:
        net, test = (Through() if kind == "through" else PCA(SHAPE, 8)), TEST
        net.initialise(TRAIN)
    found = audited(net, test=test)
    assert found.psnr["everything"] > found.psnr["mean_image"]
    assert found.reliance == {"other_latent": pytest.approx(1.0, abs=0.01)}
    assert set(found.psnr) == {"everything", "other_latent", "mean_latent", "mean_image"}
    assert reliance.latent_reliance(net, TRAIN, test, found.psnr["everything"]) == 1


def test_what_is_no_better_than_the_mean_image_has_no_reliance():
    mean_image = audited(Through()).psnr["mean_image"]
    for psnr in (mean_image - 3, mean_image, mean_image + 0.009):
        assert reliance.latent_reliance(Through(), TRAIN, TEST, psnr) is None
        assert reliance.reliance(psnr, 5.0, mean_image) is None
    assert reliance.latent_reliance(Through(), TRAIN, TEST, mean_image + 0.011) == 1
    assert reliance.reliance(mean_image + 1, mean_image, mean_image) == pytest.approx(1)
    net = PCA(SHAPE, 0)
    net.initialise(TRAIN)
    assert audited(net).reliance == {"other_latent": None}


def test_the_training_measures_what_the_audit_measures():
    net = Toy()
    assert reliance.latent_reliance(net, TRAIN, TEST, 0.0) == pytest.approx(
        audited(net).reliance["other_latent"]
    )


def test_each_skip_is_replaced_alone():
    torch.manual_seed(0)
    net = ImprovedSkip(SHAPE, 8, skip_levels=[1, 3]).eval()
    found = audited(net)
    x = TEST[:].float() / 255
    with torch.no_grad():
        code, other = net.encode(x), net.encode(x.roll(11, 0))  # image i + 10 of 21 comes to place i
        mixed = net.decode(Code(code.z, (code.skips[0], other.skips[1]))).numpy()
    assert found.psnr["other_skip_2"] == pytest.approx(psnr(mixed, floats(TEST)), abs=1e-4)
    assert len({round(value, 6) for name, value in found.psnr.items() if "skip" in name}) == 4


def test_batches_make_no_difference(monkeypatch):
    whole = audited(Toy())
    for module in (reliance, paths):
        monkeypatch.setattr(module, "EVALUATION_BATCH", 4)
    parts = audited(Toy())
    assert parts.psnr == pytest.approx(whole.psnr, abs=1e-6)


def test_each_path_alone():
    means = paths.averages(Toy(), TRAIN)
    found = paths.alone(Toy(), TEST[:4], means)
    x, mean = floats(TEST)[:4], floats(TRAIN).mean(0)
    assert set(found) == {"everything", "latent", "skips"}
    np.testing.assert_allclose(found["everything"], x, atol=1e-6)
    for name in ("latent", "skips"):
        np.testing.assert_allclose(found[name], (x + mean) / 2, atol=1e-6)
    torch.manual_seed(0)
    net = ImprovedSkip(SHAPE, 8)
    several = paths.alone(net, TEST[:4], paths.averages(net, TRAIN))
    assert list(several) == ["everything", "latent", "skips", *(f"skip {n}" for n in (1, 2, 3, 4))]


def test_averages_are_those_of_the_training_images():
    torch.manual_seed(0)
    net = ImprovedSkip(SHAPE, 8)
    means = paths.averages(net, TRAIN)
    with torch.no_grad():
        code = net.eval().encode(TRAIN[:].float() / 255)
    torch.testing.assert_close(means.code.z[0], code.z.mean(0))
    for mean, skip in zip(means.code.skips, code.skips, strict=True):
        torch.testing.assert_close(mean[0], skip.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(means.image, floats(TRAIN).mean(0), atol=1e-6)
    assert means.code.numbers == code.numbers


def test_of_many_training_images_an_even_part_is_encoded(monkeypatch):
    monkeypatch.setattr(paths, "_CODED", 15)
    means = paths.averages(Toy(), TRAIN)
    mean = floats(TRAIN)[::3].mean(0)
    np.testing.assert_allclose(means.code.z[0].unflatten(0, SHAPE), mean, atol=1e-6)
    np.testing.assert_allclose(means.code.skips[0][0], mean, atol=1e-6)
    np.testing.assert_allclose(means.image, floats(TRAIN).mean(0), atol=1e-12)


def test_the_mode_of_the_network_is_left_alone():
    net = Toy().train()
    audited(net)
    assert net.training


def test_the_linear_floor_is_a_projection_on_the_first_axes():
    x, train = (floats(part).reshape(-1, NUMBERS) for part in (TEST, TRAIN))
    mean = train.mean(0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:5]
    x_hat = np.clip((x - mean) @ axes.T @ axes + mean, 0, 1)
    assert paths.linear_floor(TRAIN, TEST, 5) == pytest.approx(psnr(x_hat, x), abs=1e-3)


@pytest.mark.parametrize(
    ("figures", "expected"),
    [((30, 20, 10), 0.5), ((30, 5, 10), 1.0), ((30, 31, 10), 0.0), ((9, 8, 10), None), ((10, 8, 10), None)],
)
def test_reliance_is_a_clipped_share(figures, expected):
    assert reliance.reliance(*figures) == expected


class NoCode(Toy):
    def encode(self, x):
        return x.flatten(1)


class WrongLatent(Toy):
    def encode(self, x):
        return Code(x.flatten(1)[:, :5])


class WrongSkip(Toy):
    def encode(self, x):
        return Code(x.flatten(1), (x[0],))


class Hidden(Toy):
    def encode(self, x):
        self.seen = x
        return Code(x.flatten(1))

    def decode(self, code):
        return self.seen


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (NoCode, r"NoCode.encode must return a Code\(z, skips\), got Tensor"),
        (WrongLatent, r"WrongLatent.encode: z must be \(N, latent\), here \(1, 768\), got \(1, 5\)"),
        (WrongSkip, r"WrongSkip.encode: skip 1 must be \(1, ...\), got \(3, 16, 16\)"),
        (Hidden, "Hidden.decode depends on more than its code"),
    ],
)
def test_a_network_that_does_not_keep_the_contract_is_named(kind, line):
    with pytest.raises(UserError, match=line):
        contract.require_contract(kind(), TEST)


def test_networks_that_keep_the_contract_pass():
    torch.manual_seed(0)
    for net in (Toy(), Through(), ImprovedSkip(SHAPE, 8), PCA(SHAPE, 0)):
        contract.require_contract(net, TEST)
        assert contract.encoded(net, TEST[:3]).z.shape == (3, net.latent)


def _reliance(net, test):
    return reliance.latent_reliance(net, TRAIN, test, 9.0)


def test_one_image_has_no_other():
    one = Split(TEST.images, TEST.labels, TEST.index[:1])
    for call in (contract.require_contract, _reliance):
        with pytest.raises(UserError, match="the test split has 1 image; 2 or more are needed"):
            call(Around(), one)


def pairs():
    """Pictures of which a network is given 21, and is to make of each one of the others."""
    images = torch.cat([TEST[:], TRAIN[:21]])
    return Split(
        images, torch.zeros(42, dtype=torch.int64), torch.arange(21), clean=torch.arange(42) % 21 + 21
    )


def test_of_pairs_the_one_is_encoded_and_the_other_compared_with():
    found = reliance.score(Through(), pairs(), lambda *codes: dict(zip("ab", codes, strict=True)), iter)
    given, clean = floats(TEST), floats(TRAIN)[:21]
    assert found["a"] == pytest.approx(psnr(given, clean), abs=1e-3)
    assert found["b"] == pytest.approx(psnr(np.roll(given, -10, 0), clean), abs=1e-3)


def test_of_pairs_the_codes_are_those_of_what_is_given():
    torch.manual_seed(0)
    net = Improved(SHAPE, 8, channels=(8,), bottleneck=partial(TopK, k=4)).eval()
    net.bottleneck.measure = lambda codes: {"sum": float(codes.z.double().sum())}
    expected = contract.encoded(net, TEST[:]).z.detach().double().sum().item()
    data = SimpleNamespace(splits={"test": pairs()})
    assert scoring._of_codes(net, data)["sum"] == pytest.approx(expected, rel=1e-4)

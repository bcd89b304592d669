"""The probe of pixels: against scikit-learn, and its scores by hand."""

import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score
from torch.nn import functional as F

from caelab.analysis.segment import pixels as segmentation
from caelab.analysis.segment.pixels import Pixels, confusion, decoded, fit, images_as_maps, scores
from caelab.data.datamodule import Split
from caelab.models.base import Base
from caelab.models.improved_skip import ImprovedSkip
from caelab.models.pca import PCA


def pixels(seed, count=7, side=6):
    """Noise, whose pixels are of the class that a noisy sum of their colours says."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    told = images.float().movedim(1, -1) @ torch.tensor([1.0, -0.5, 0.25])
    told += 60 * torch.randn(told.shape, generator=generator)
    classes = (told > 60).byte() + (told > 160).byte()
    split = Split(images, torch.zeros(count, dtype=torch.int64), torch.arange(count))
    return Pixels(split, classes)


@pytest.fixture(autouse=True)
def _several_batches(monkeypatch):
    monkeypatch.setattr(segmentation, "BATCH", 3)


def test_the_probe_is_where_the_gradient_of_its_loss_vanishes(monkeypatch):
    monkeypatch.setattr(segmentation, "IMAGES", 5)
    monkeypatch.setattr(segmentation, "PLACES", 40)
    train, test = pixels(1), pixels(2)
    probe = fit(images_as_maps, train)
    x, y = segmentation._sample(images_as_maps, train)
    assert x.shape == (5 * 40, 3)
    torch.testing.assert_close(probe.mean, x.mean(0))
    x = ((x - x.mean(0)) / x.var(0, correction=0).sqrt()).double()
    weights, offsets = (
        torch.from_numpy(found).double().requires_grad_()
        for found in (probe.model.coef_.T, probe.model.intercept_)
    )
    loss = F.cross_entropy(x @ weights + offsets, y, reduction="sum") + weights.square().sum() / 2
    for gradient in torch.autograd.grad(loss, (weights, offsets)):
        assert gradient.abs().max() < 0.05  # of 200 pixels

    shown = (test.images[:].double().movedim(1, -1) / 255 - probe.mean) / probe.spread
    predicted = (shown @ weights + offsets).argmax(-1).flatten().numpy()
    truth = test.classes.numpy().ravel()
    counts = confusion(probe, images_as_maps, test, 3)
    assert counts.tolist() == confusion_matrix(truth, predicted).tolist()
    found = scores(counts)
    assert found["iou"] == pytest.approx(jaccard_score(truth, predicted, average="macro"))
    assert found["foreground"] == pytest.approx(jaccard_score(truth > 0, predicted > 0))
    assert found["accuracy"] == pytest.approx((truth == predicted).mean())
    assert found["accuracy"] > 0.5


def test_the_pixels_of_the_fit_are_of_the_first_images_and_the_same_for_all_features(monkeypatch):
    monkeypatch.setattr(segmentation, "IMAGES", 4)
    train = pixels(1)
    own, classes = segmentation._sample(images_as_maps, train)
    twice, same = segmentation._sample(lambda images: 2 * images_as_maps(images), train)
    torch.testing.assert_close(twice, 2 * own)
    assert torch.equal(same, classes)
    colours = {tuple(one) for one in (train.images[:4].movedim(1, -1).reshape(-1, 3) / 255).tolist()}
    assert {tuple(one) for one in own.tolist()} <= colours


def test_scores_by_hand():
    counts = torch.tensor([[6, 1, 0], [1, 2, 1], [0, 0, 0]])
    found = scores(counts)
    assert found["iou"] == pytest.approx((6 / 8 + 2 / 5 + 0) / 3)  # a class that is never there but is named
    assert found["foreground"] == pytest.approx(3 / 5)
    assert found["accuracy"] == pytest.approx(8 / 11)
    assert scores(torch.tensor([[6, 2, 0], [0, 2, 0], [0, 0, 0]]))["iou"] == pytest.approx(
        (6 / 8 + 2 / 4) / 2
    )


def test_decoder_features_are_the_outputs_of_its_last_stages_at_the_size_of_the_image():
    torch.manual_seed(0)
    net = Base((3, 16, 16), latent=5, channels=[4, 6, 8, 9]).eval()
    images = pixels(1, side=16).images[:]
    found = decoded(net)(images)
    x, expected = net.from_latent(net.encode(images / 255).z).unflatten(1, (9, 2, 2)), []
    for stage in net.decoder:
        x = stage(x)
        expected.append(F.interpolate(x, (16, 16), mode="bilinear"))
    torch.testing.assert_close(found, torch.cat(expected[1:], 1))
    assert found.shape == (7, 6 + 4 + 3, 16, 16)


def test_skips_are_part_of_what_the_decoder_is_given():
    torch.manual_seed(0)
    net = ImprovedSkip((3, 16, 16), latent=5, channels=[4, 6, 8, 9])
    images = pixels(1, side=16).images[:]
    last = decoded(net)(images)[:, -3:]
    torch.testing.assert_close(last.sigmoid(), net.reconstruct(images))


def test_a_decoder_without_stages_is_its_reconstruction():
    train = pixels(1)
    net = PCA((3, 6, 6), latent=4)
    net.initialise(train.images)
    torch.testing.assert_close(decoded(net)(train.images[:]), net.reconstruct(train.images[:]))


def test_features_that_do_not_vary_are_refused():
    train = pixels(1)
    with pytest.raises(ValueError, match="the same in every pixel"):
        fit(lambda images: torch.ones(len(images), 2, 6, 6), train)

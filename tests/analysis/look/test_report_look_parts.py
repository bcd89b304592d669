"""What each part of a look says, checked against numbers computed another way."""

import re

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from toys import Linear, images

from caelab.analysis.look.parts import PARTS, Sight
from caelab.analysis.look.portrait import Portrait
from caelab.models.base import Base

CLASSES = {0: "zero", 1: "one", 2: "two"}


def sight(net, n=24, shape=(3, 16, 16), method="pca", classes=CLASSES):
    labels = np.arange(n) % len(classes)
    portrait = Portrait(net, images(n, shape), labels, 0)
    return Sight(portrait, "run", classes, method, np.resize(portrait.z, (n, 2)))


@pytest.fixture(scope="module")
def base():
    torch.manual_seed(0)
    return sight(Base((3, 16, 16), latent=6, channels=(4, 8), hidden=()).eval())


@pytest.mark.parametrize("name", PARTS)
def test_each_part_has_a_picture_and_one_sentence_on_how_to_read_it(name, base):
    part = PARTS[name](base)
    assert isinstance(part.figure, Figure)
    assert re.fullmatch(r"[A-Z][^.]*\.", part.how)
    assert part.figure.get_suptitle().replace("\n", " ").startswith("run: ")


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 13, 17), (1, 64, 64)])
def test_images_of_any_size_stand_side_by_side_in_their_own_pixels(shape):
    torch.manual_seed(0)
    net = Base(shape, latent=1, channels=(2,), hidden=()).eval()
    one = sight(net, n=10, shape=shape, classes={0: "all"})
    counts = {
        "reconstructions": 3,
        "axes": 7,
        "coordinates": 7,
        "interpolations": 9,
        "neighbours": 8,
        "pixels": 8,
    }
    for name, count in counts.items():
        picture = np.asarray(PARTS[name](one).figure.axes[0].images[0].get_array())
        assert picture.shape[:2] == (shape[1], count * (shape[2] + 2) - 2), name


def test_reconstructions_say_mean_median_and_range(base):
    decibels = base.portrait.decibels
    found = [float(n) for n in re.findall(r"-?\d+\.\d+", PARTS["reconstructions"](base).found)]
    expected = [decibels.sum() / 24, np.sort(decibels)[11:13].mean(), decibels.min(), decibels.max()]
    assert found == pytest.approx(expected, abs=0.006)


def test_walks_start_from_the_typical_image(base):
    portrait = base.portrait
    figure = PARTS["axes"](base).figure
    middle = np.asarray(figure.axes[0].images[0].get_array())[:, 3 * 18 : 3 * 18 + 16]
    x_hat = portrait.net.reconstruct(portrait.images[portrait.typical][None])[0]
    np.testing.assert_allclose(middle, 255 * x_hat.permute(1, 2, 0), atol=0.51)


def test_walks_come_in_the_order_of_their_effects_and_name_them(base):
    labels = [axes.get_ylabel() for axes in PARTS["coordinates"](base).figure.axes]
    effects = [float(re.search(r"effect (.*) of 255", label)[1]) for label in labels]
    assert effects == sorted(effects, reverse=True)
    numbers = [int(re.search(r"z\[(\d+)\]", label)[1]) for label in labels]
    np.testing.assert_allclose(effects, 255 * base.portrait.coordinate_effects[numbers], rtol=0.006)


def test_neighbours_say_how_many_share_the_class(base):
    found = PARTS["neighbours"](base).found
    assert "30% by chance" in found  # 7 of the other 23 images
    table = np.linalg.norm(base.portrait.z[:, None] - base.portrait.z, axis=2)
    np.fill_diagonal(table, np.inf)
    labels = base.portrait.labels
    share = (labels[table.argsort(1)[:, :7]] == labels[:, None]).mean()
    assert f"{share:.0%} are of its own class in the code" in found


def test_neighbours_of_one_class_say_nothing_of_classes():
    one = sight(Linear((1, 4, 5), 5), shape=(1, 4, 5), classes={0: "all"})
    assert PARTS["neighbours"](one).found == ""


def test_interpolation_in_pixels_ends_at_the_images(base):
    portrait = base.portrait
    figure = PARTS["interpolations"](base).figure
    assert [axes.get_ylabel() for axes in figure.axes][:2] == ["1, in the code", "1, in pixels"]
    row = np.asarray(figure.axes[1].images[0].get_array())
    first, last = portrait.images[[0, 1]].permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(row[:, :16], first)
    np.testing.assert_array_equal(row[:, -16:], last)


def test_usage_says_what_the_portrait_measures(base):
    portrait = base.portrait
    covariance = np.cov(portrait.z, rowvar=False)
    dimension = np.trace(covariance) ** 2 / np.trace(covariance @ covariance)
    assert f"Effective dimension {dimension:.1f} of 6; 0 coordinates dead" in PARTS["usage"](base).found


def test_filters_are_symmetric_around_grey(base):
    part = PARTS["filters"](base)
    assert part.found == "4 filters of 3x3."
    picture = np.asarray(part.figure.axes[0].images[0].get_array())[:30, :30]
    weight = base.portrait.net.encoder[0][0].weight[0].detach().numpy()
    expected = 127.5 * (1 + weight / np.abs(weight).max())
    np.testing.assert_allclose(picture[5::10, 5::10], expected.transpose(1, 2, 0), atol=0.51)


def test_a_model_without_filters_says_so():
    part = PARTS["filters"](sight(Linear((1, 4, 5), 5), shape=(1, 4, 5)))
    assert part.figure is None
    assert part.found == "No convolution or linear layer of this model reads the image."


@pytest.mark.parametrize(("method", "name"), [("pca", "principal axes"), ("tsne", "t-SNE"), ("umap", "UMAP")])
def test_the_map_says_how_it_was_made(base, method, name):
    one = Sight(base.portrait, "run", CLASSES, method, base.places)
    assert name in PARTS["map"](one).how

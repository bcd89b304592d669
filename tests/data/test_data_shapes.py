"""Shapes: determinism, prefixes, and pixels that agree with the factors, found from the pictures alone."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from caelab.data.shapes import ASPECT, LENGTHS, LEVELS, NAMES, PLACES, Shapes, draw_factors, masks, render
from caelab.errors import UserError


def ready(**options) -> Shapes:
    sizes = {"train_size": 300, "val_size": 60, "test_size": 40, "batch_size": 16}
    module = Shapes("unused", **(sizes | options))
    module.setup()
    return module


def images(module, split="train"):
    return module.splits[split][:].numpy()


def test_shape_size_and_range():
    module = ready(image_size=40)
    assert module.shape == (3, 40, 40)
    assert images(module).shape == (300, 3, 40, 40)
    assert [len(module.splits[key]) for key in ("train", "val", "test")] == [300, 60, 40]
    assert images(module).dtype == np.uint8
    assert images(module).max() == 255


def test_the_same_seed_gives_the_same_pictures():
    from caelab.data.shapes import _make

    first = images(ready(seed=3)).copy()
    _make.cache_clear()
    assert np.array_equal(images(ready(seed=3)), first)
    assert not np.array_equal(images(ready(seed=4)), first)


def test_factors_are_those_written_down():
    # runs of today must be comparable with runs of next year
    digest = hashlib.sha256(draw_factors(1000, range(3), 0, 0).astype("<i8").tobytes()).hexdigest()
    assert digest == "0dc358f841fb8ef81eb8dcf0e630f7286e4793f7e261f970df3e04612be44f83"


def test_the_first_images_do_not_depend_on_how_many_are_made():
    small, large = ready(train_size=100), ready(train_size=250)
    assert np.array_equal(images(small), images(large)[:100])
    assert torch.equal(small.factors["train"], large.factors["train"][:100])
    assert small.sha256 != large.sha256
    assert np.array_equal(images(small, "val"), images(large, "val"))


def test_splits_are_independent():
    module = ready(train_size=60)
    assert not torch.equal(module.factors["train"], module.factors["val"])


def test_the_jobs_of_a_process_share_the_pictures():
    pointers = {ready(order_seed=seed).splits["train"].images.data_ptr() for seed in (0, 1)}
    assert len(pointers) == 1


def test_factors_cover_all_levels_evenly_and_independently():
    factors = draw_factors(24_000, range(3), 0, 0)
    for column, levels in enumerate(LEVELS):
        counts = np.bincount(factors[:, column], minlength=levels)
        assert counts.shape == (levels,)
        assert np.abs(counts / (24_000 / levels) - 1).max() < 0.1
    off_diagonal = np.corrcoef(factors.T) - np.eye(len(NAMES))
    assert np.abs(off_diagonal).max() < 0.03


def test_labels_are_the_shape():
    module = ready()
    assert torch.equal(module.splits["train"].targets, module.factors["train"][:, 0])
    assert module.factors["train"].shape == (300, 7)
    assert module.factors["train"].dtype == torch.int64
    assert len(module.factor_names) == len(module.factor_levels) == 7


def test_classes_keep_the_size_and_select_from_the_same_pictures():
    module = ready(classes=[0, 2], train_size=100)
    assert set(module.splits["train"].targets.tolist()) == {0, 2}
    assert len(module.splits["train"]) == 100
    everything = draw_factors(300, range(3), 0, 0)
    assert np.array_equal(module.factors["train"], everything[everything[:, 0] != 1][:100])


def coverage(image, background, colour):
    """The part of each pixel that is covered, from the channel in which the two colours differ most."""
    channel = np.argmax(np.abs(colour - background))
    return (image[channel] - background[channel]) / (colour[channel] - background[channel])


@pytest.mark.parametrize("label", [0, 1, 2])
@pytest.mark.parametrize("rotation", [0, 3, 5, 11])
def test_pixels_agree_with_the_factors(label, rotation):
    """Area, centroid and main axis, from moments of the covered pixels, against their closed forms."""
    size, length, x, y = 128, 2, 5, 1
    image = render(np.array([[label, 4, length, x, y, rotation, 1]]), size)[0].astype(float)
    covered = coverage(image, image[:, 0, 0], image[:, round(PLACES[y] * size), round(PLACES[x] * size)])
    a = float(LENGTHS[length]) * size
    b = ASPECT * a
    area = covered.sum()
    assert area == pytest.approx([np.pi * a * b, 4 * a * b, 2 * a * b][label], rel=0.02)
    rows, columns = np.mgrid[:size, :size] + 0.5
    centre = np.array([(covered * columns).sum(), (covered * rows).sum()]) / area
    angle = np.pi * rotation / LEVELS[5]
    axis = np.array([np.cos(angle), np.sin(angle)])
    offset = -a / 3 if label == 2 else 0  # a triangle's centroid is a third of its height from the base
    assert centre == pytest.approx(np.array([PLACES[x], PLACES[y]]) * size + offset * axis, abs=0.3)
    moments = np.cov(np.stack([columns.ravel(), rows.ravel()]), aweights=covered.ravel().clip(0, 1))
    main = np.linalg.eigh(moments)[1][:, 1]
    assert abs(main @ axis) == pytest.approx(1, abs=1e-3)


def test_every_rotation_of_every_shape_looks_different():
    for label in range(3):
        factors = np.array([[label, 0, 1, 3, 3, rotation, 0] for rotation in range(LEVELS[5])])
        pictures = render(factors, 32).astype(int)
        distance = np.abs(pictures[:, None] - pictures[None]).sum((2, 3, 4))
        assert distance[~np.eye(len(factors), dtype=bool)].min() > 1000


def test_every_shape_lies_within_its_image():
    factors = draw_factors(2_000, range(3), 1, 0)
    factors[:, 2], factors[:, 3] = LEVELS[2] - 1, np.where(factors[:, 3] < 4, 0, LEVELS[3] - 1)
    pictures = render(factors, 32)
    edge = np.concatenate(
        [pictures[:, :, [0, -1]].reshape(2000, 3, -1), pictures[:, :, :, [0, -1]].reshape(2000, 3, -1)], 2
    )
    assert (edge == edge[:, :, :1]).all()


def test_edges_are_smooth():
    image = render(np.array([[0, 0, 3, 4, 4, 1, 3]]), 32)[0]
    assert len(np.unique(image[0])) > 10


def test_importing_shapes_imports_no_files_of_other_datasets():
    code = (
        "import sys, lightning; before = set(sys.modules); import caelab.data.shapes; "
        "new = set(sys.modules) - before; "
        "print([name for name in new if name.startswith(('torchvision', 'PIL', 'caelab.data.'))])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(eval(out.stdout))
    assert "caelab.data.shapes" in loaded
    others = {f"caelab.data.{name}" for name in ("mnist", "cifar10", "cinic10", "folder", "pngs", "download")}
    assert not {name for name in loaded if name in others or not name.startswith("caelab")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_size": None}, r"^dataset\.train_size=None: must be a whole number"),
        ({"val_size": 0}, r"^dataset\.val_size=0"),
        ({"image_size": 4}, r"^dataset\.image_size=4: must be a whole number, 8 or more"),
        ({"seed": -1}, r"^dataset\.seed=-1"),
        ({"classes": [3]}, r"^dataset\.classes=\[3\]"),
    ],
)
def test_a_users_mistake_is_one_line_that_names_the_key(options, message):
    with pytest.raises(UserError, match=message):
        ready(**options)


def test_a_mask_is_where_the_picture_is_more_shape_than_background():
    factors = draw_factors(60, range(3), 5)
    pictures = render(factors, 32).astype(float)
    corner = pictures[:, :, :1, :1]  # every shape lies within the image
    colour = np.array([picture.reshape(3, -1)[:, picture.sum(0).argmax()] for picture in pictures])
    over = colour[:, :, None, None] - corner
    share = ((pictures - corner) * over).sum(1) / (over**2).sum(1)  # along the line between both colours
    found = masks(factors, 32)
    assert found.dtype == np.bool_
    clear = np.abs(share - 0.5) > 0.02  # the pictures are rounded
    assert np.array_equal(found[clear], (share >= 0.5)[clear])
    assert clear.mean() > 0.99


def test_pixels_have_the_class_of_their_shape():
    module = ready(classes=[1, 2])
    index = module.splits["test"].index[5:9]
    found = module.pixel_classes("test", index)
    factors = module.factors["test"][index].numpy()
    assert found.dtype == torch.uint8
    expected = masks(factors, 32) * (factors[:, 0] + 1)[:, None, None]
    assert found.tolist() == expected.tolist()
    assert set(found.unique().tolist()) <= {0, 2, 3}

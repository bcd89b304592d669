"""Sentences of the model card that follow from a record."""

import pytest
import torch
import toys

from caelab.data.datamodule import ImageDataModule
from caelab.data.mnist import MNIST
from caelab.export.floors import Floor
from caelab.export.uses import corrupted, limits, reliance, uses

NOISE = {"_target_": "caelab.corruptions.GaussianNoise", "std": 0.1}


def record(latent=256, code=256, best=3, **config):
    return toys.exact(
        size={"latent": latent, "effective_code": code, "input_numbers": 784},
        metrics={"test/psnr": 25.0},
        config={"dataset": {}, **config},
        time={"epochs": 4},
        data={"shape": [1, 28, 28]},
        best_epoch=best,
        seed=7,
    )


@pytest.fixture
def data(tmp_path):
    return MNIST(str(tmp_path))


@pytest.mark.parametrize(
    ("code", "value", "words", "bold"),
    [
        (256, 1.0, "1.00: nothing goes around the latent", False),
        (256, None, "None: the reconstructions are no better than the mean image", False),
        (300, 0.5, "0.50: with another image's latent", False),
        (300, 0.04, "**This model bypasses its latent** (below 0.5). 0.04: ", True),
        (
            300,
            0.04,
            "4% of what the model gains over the mean image (in dB) is lost. 44 numbers go around",
            True,
        ),
        (300, None, "Unknown. Beside the latent 44 numbers reach the decoder", False),
    ],
)
def test_latent_reliance_is_told_with_what_it_means(code, value, words, bold):
    said = reliance(record(code=code), value)
    assert words in said
    assert ("**" in said) == bold


def test_the_task_follows_from_the_corruption(data):
    assert corrupted(record()) == corrupted(record(corruption={"_target_": "caelab.corruptions.Clean"})) == ""
    assert corrupted(record(corruption=NOISE)) == "GaussianNoise (std=0.1)"
    (use,) = uses(record(corruption=NOISE), data)
    assert "restoring images" in use
    assert "(handwritten digits, " in use
    assert "1x28x28) from GaussianNoise (std=0.1)" in use
    assert len(uses(record(), data)) == 2
    assert len(uses(record(code=300), data)) == 1  # its z alone is no code


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Only 1x28x28 images"),
        ({}, "one training (seed 7)"),
        ({"code": 800}, "It does not compress: the decoder gets 800 numbers for an image of 784."),
        ({"best": 4}, "Its best epoch was its last"),
        ({"corruption": NOISE}, "It was trained to undo GaussianNoise (std=0.1)"),
        ({"dataset": {"classes": [0, 3]}}, "It was trained on the classes [0, 3] only."),
    ],
)
def test_limits_that_hold_are_told(data, given, words):
    said = limits(record(**given), data, [])
    assert sum(words in line for line in said) == 1
    if given:
        assert not any(words in line for line in limits(record(), data, []))


def test_floors_that_are_not_beaten_are_told(data):
    better, worse = {"test/psnr": 26.5}, {"test/psnr": 24.0}
    (line,) = limits(record(), data, [Floor(256, better, ""), Floor(0, worse, ""), Floor(300, {}, "")])[4:]
    assert line.startswith(
        "A linear projection on 256 numbers is closer to the images (26.50 dB, this model 25.00"
    )
    (line,) = limits(record(), data, [Floor(256, worse, ""), Floor(0, better, "")])[4:]
    assert line.startswith(
        "It is no better than nothing: the mean training image is at least as close (26.50 dB"
    )


def test_a_dataset_that_says_nothing_of_itself_is_named(tmp_path):
    class Own(ImageDataModule):
        name = "own"

        def load(self):
            return torch.zeros(1)

    assert "(own, 1x28x28)" in uses(record(), Own(str(tmp_path)))[0]

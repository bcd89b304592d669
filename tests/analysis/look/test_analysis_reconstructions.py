"""PSNR of single images, and the choice by it."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio
from toys import Linear, images

from caelab.analysis.look import reconstructions


@pytest.mark.parametrize("batch", [3, 100])
def test_decibels_are_those_of_scikit_image(batch, monkeypatch):
    monkeypatch.setattr(reconstructions, "BATCH", batch)
    net, x = Linear(), images(7)
    x_hat = net.reconstruct(x).numpy().clip(0, 1).astype(np.float64)
    expected = [
        peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(x.numpy() / 255, x_hat, strict=True)
    ]
    np.testing.assert_allclose(reconstructions.decibels(net, x), expected, rtol=1e-5)


def test_a_perfect_image_is_capped():
    assert reconstructions.decibels(Linear(latent=24), images(2)) == pytest.approx([100, 100])


def test_extremes_of_known_figures():
    figures = np.array([5.0, 1, 9, 3, 7, 2, 8, 4, 6])
    chosen = {name: figures[rows].tolist() for name, rows in reconstructions.extremes(figures, 3).items()}
    assert chosen == {"best": [9, 8, 7], "median": [4, 5, 6], "worst": [1, 2, 3]}

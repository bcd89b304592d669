"""Walks through the code of a linear model go where its components say."""

import numpy as np
import pytest
import torch
from toys import SHAPE, Linear, Skipping, images

from caelab.analysis.look import codes, traversals
from caelab.analysis.look.codes import Directions
from caelab.models.improved_skip import ImprovedSkip

STEPS = np.array([-2.0, 0.0, 1.0])
DIRECTIONS = Directions(np.array([[0, 0, 1, 0, 0], [0.6, 0, 0, 0.8, 0]]), np.array([0.1, 0.3]))


@pytest.mark.parametrize("batch", [2, 250])
def test_a_linear_model_moves_along_its_component(batch, monkeypatch):
    monkeypatch.setattr(traversals, "BATCH", batch)
    net, x = Linear(), images(1)
    walked = traversals.traverse(net, codes.encode(net, x), DIRECTIONS, STEPS)
    assert walked.shape == (2, 3, *SHAPE)
    moves = np.stack([0.1 * net.matrix[2].numpy(), 0.3 * (0.6 * net.matrix[0] + 0.8 * net.matrix[3]).numpy()])
    expected = net.reconstruct(x).numpy().ravel() + STEPS[:, None] * moves[:, None]
    np.testing.assert_allclose(walked.numpy().reshape(2, 3, -1), expected, atol=1e-6)


def test_skips_stay_those_of_the_image():
    net, x = Skipping(), images(1)
    walked = traversals.traverse(net, codes.encode(net, x), DIRECTIONS, STEPS)
    plain = traversals.traverse(Linear(), codes.encode(Linear(), x), DIRECTIONS, STEPS)
    np.testing.assert_allclose(walked - plain, (x / 255 / 4).expand_as(walked), atol=1e-6)


@pytest.mark.parametrize("kind", [Linear, Skipping])
@pytest.mark.parametrize("batch", [2, 250])
def test_effects_of_a_linear_model_are_its_deviations(kind, batch, monkeypatch):
    """A step of length d along orthonormal rows changes the image by d, whatever the image."""
    monkeypatch.setattr(traversals, "BATCH", batch)
    net = kind()
    found = traversals.effects(net, codes.encode(net, images(3)), DIRECTIONS)
    np.testing.assert_allclose(found, DIRECTIONS.deviations / np.sqrt(24), rtol=1e-4)


def test_effects_average_squares_over_images():
    """A decoder that squares z: from z the step d changes it by 2 z d on either side."""

    class Squaring(Linear):
        def decode(self, code):
            return (code.z**2)[:, :, None, None].expand(-1, -1, 3, 4)

    net = Squaring((2, 3, 4), latent=2)
    z = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    found = traversals.effects(net, codes.Code(z), Directions(np.eye(2), np.array([0.5, 0.5])))
    # one of two channels changes, by 1 and by 3
    np.testing.assert_allclose(found, [np.sqrt((1 + 9) / 2 / 2), 0], atol=1e-6)


def test_between_codes_of_a_linear_model_is_the_fade_of_its_reconstructions():
    net, a, b = Skipping(), images(3), images(3, seed=5)
    steps = np.array([0.0, 0.25, 1.0])
    found = traversals.between_codes(net, codes.encode(net, a), codes.encode(net, b), steps)
    expected = traversals.between_pixels(net.reconstruct(a), net.reconstruct(b), steps)
    torch.testing.assert_close(found, expected)


def test_between_codes_starts_and_ends_at_the_reconstructions():
    torch.manual_seed(0)
    net = ImprovedSkip((3, 13, 17), latent=4).eval()
    a, b = images(2, (3, 13, 17)), images(2, (3, 13, 17), seed=9)
    found = traversals.between_codes(net, codes.encode(net, a), codes.encode(net, b), np.array([0.0, 1.0]))
    torch.testing.assert_close(found[:, 0], net.reconstruct(a))
    torch.testing.assert_close(found[:, 1], net.reconstruct(b))


def test_between_pixels_is_a_weighted_mean():
    a, b = images(2) / 255, images(2, seed=5) / 255
    found = traversals.between_pixels(a, b, np.array([0.25]))
    np.testing.assert_allclose(found[:, 0], 0.75 * a + 0.25 * b, atol=1e-6)

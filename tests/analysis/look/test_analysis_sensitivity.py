"""What an encoder looks at, where the derivative is known."""

import numpy as np
import pytest
import torch
from toys import Linear, images

from caelab.analysis.look import sensitivity
from caelab.models.autoencoder import Code
from caelab.models.base import Base
from caelab.models.pca import PCA
from caelab.models.residual import Residual


def test_a_linear_model_looks_at_its_components():
    net = Linear()
    found = sensitivity.looks_at(net, images(4), [3, 0])
    assert found.shape == (2, 3, 4)
    expected = np.linalg.norm(net.matrix.reshape(5, 2, 3, 4).numpy(), axis=1)[[3, 0]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_derivatives_are_squared_before_the_mean():
    """z = sum of x^2 / 2: the derivative is the image."""

    class Squaring(Linear):
        def encode(self, x):
            return Code(x.square().sum((1, 2, 3))[:, None] / 2)

    x = images(6)
    found = sensitivity.looks_at(Squaring(latent=1), x, [0])
    expected = np.sqrt(np.square(x.numpy() / 255).sum(1).mean(0))
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 21, 19)])
def test_the_map_of_a_network_agrees_with_a_difference(shape):
    torch.manual_seed(0)
    net = Base(shape, latent=3, channels=(4, 8), hidden=(), activation="Tanh").double().eval()
    x = images(1, shape)
    found = sensitivity.looks_at(net, x, [1])[0, 5, 7].item()
    start, squares = x.double() / 255, 0.0
    for channel in range(shape[0]):
        step = torch.zeros_like(start)
        step[0, channel, 5, 7] = 1e-5
        with torch.no_grad():
            change = (net.encode(start + step).z - net.encode(start - step).z)[0, 1].item() / 2e-5
        squares += change**2
    assert found == pytest.approx(np.sqrt(squares), rel=1e-3)


def test_first_filters_are_those_of_the_layer_that_is_called_first():
    net = Base((3, 16, 16), latent=2, channels=(4, 8), hidden=())
    encoder = net.encoder
    del net.encoder
    net.encoder = encoder  # now the last that the network lists
    torch.testing.assert_close(sensitivity.first_filters(net), encoder[0][0].weight)


def test_first_filters_of_a_linear_layer_are_as_large_as_the_image():
    class Dense(Linear):
        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Conv2d(2, 3, 1)
            self.layer = torch.nn.Linear(24, 5)

        def encode(self, x):
            return Code(self.layer(x.flatten(1)))

    net = Dense()
    found = sensitivity.first_filters(net)
    assert found.shape == (5, 2, 3, 4)
    torch.testing.assert_close(found.flatten(1), net.layer.weight)


def test_a_model_without_layers_has_no_filters():
    assert sensitivity.first_filters(PCA((1, 4, 4), latent=2)) is None


def test_a_layer_that_reads_shuffled_pixels_has_no_filters_to_show():
    assert sensitivity.first_filters(Residual((3, 8, 8), latent=4, encoder_channels=4, channels=4)) is None

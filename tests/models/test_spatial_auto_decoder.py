"""The auto-decoder of patches: the same steps at any size, from one set of weights."""

import torch
from test_auto_decoder import pull
from test_patch_pca import pictures

from caelab.models.autoencoder import Code
from caelab.models.spatial_auto_decoder import SpatialAutoDecoder


def started():
    torch.manual_seed(0)
    net = SpatialAutoDecoder((3, 8, 12), latent_channels=4, factor=4, channels=8, blocks=1, steps=2)
    net.initialise(pictures())
    return net


def test_in_training_an_image_keeps_the_codes_of_its_patches():
    net, x = started().train(), pictures()[:3] / 255
    net.make_room(10)
    places = torch.tensor([4, 14, 0])
    code = net.encode(x, places)
    first = code.z.detach()
    (net.decode(code) - x).square().mean().backward()
    assert net.kept.shape == (2, 10, 4 * 2 * 3)
    moved = net.kept.view(20, -1)[places]
    torch.testing.assert_close(moved, first + pull(net, first, x), rtol=1e-3, atol=1e-5)


def test_one_set_of_weights_steps_at_any_size():
    net = started().eval()
    other, images = net.at((3, 16, 10)), pictures(2, (3, 16, 10), seed=1) / 255
    with torch.no_grad():
        z = other.encode(images).z
        assert z.shape == (2, 4 * 4 * 3)
        error = (other.decode(Code(z)) - images).square().mean()
        other.steps = 0
        assert error < (other(images) - images).square().mean()
    assert net.steps == 2

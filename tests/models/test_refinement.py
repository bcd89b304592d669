"""Fitting latents: the exact answer where there is one, and never a worse code."""

import numpy as np
import pytest
import torch
from test_models import NAMES, build

from caelab.bottlenecks.topk import TopK
from caelab.errors import UserError
from caelab.models.autoencoder import Autoencoder, Code
from caelab.models.classical import Classical
from caelab.models.improved_skip import ImprovedSkip
from caelab.models.pca import PCA
from caelab.models.refinement import fit

SHAPE = (1, 3, 4)


class Linear(Autoencoder):
    """A linear decoder, after an encoder that knows nothing."""

    def __init__(self, latent=4):
        super().__init__(SHAPE, latent)
        self.matrix = torch.nn.Parameter(torch.randn(12, latent, generator=torch.Generator().manual_seed(0)))

    def encode(self, x):
        return Code(torch.ones(len(x), self.latent))

    def decode(self, code):
        return (code.z @ self.matrix.T).unflatten(1, SHAPE)


def pictures(count=5, shape=SHAPE):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))


def test_a_linear_decoder_gets_the_least_squares_solution_in_as_many_steps_as_numbers():
    net, x = Linear(), pictures()
    found = fit(net, x, net.encode(x), 4)
    matrix = net.matrix.detach().numpy().astype(np.float64)
    expected, residues, *_ = np.linalg.lstsq(matrix, x.flatten(1).numpy().T.astype(np.float64), rcond=None)
    np.testing.assert_allclose(found.code.z.numpy(), expected.T, atol=1e-4)
    np.testing.assert_allclose(found.errors[-1].numpy(), residues, rtol=1e-4)


def test_the_first_step_is_the_best_along_the_gradient():
    net, x = Linear(), pictures()
    found = fit(net, x, net.encode(x), 1)
    matrix = net.matrix.detach().numpy().astype(np.float64)
    missing = x.flatten(1).numpy() - np.ones((5, 4)) @ matrix.T
    np.testing.assert_allclose(found.errors[0].numpy(), np.square(missing).sum(1), rtol=1e-5)
    lengths = np.linspace(0, 0.2, 20001)
    for one, gradient, error in zip(missing, missing @ matrix, found.errors[1].numpy(), strict=True):
        left = np.square(one - lengths[:, None] * (matrix @ gradient)).sum(1).min()
        assert error == pytest.approx(left, rel=1e-4)


def test_nothing_is_gained_on_principal_components():
    images = (100 + 50 * pictures(40)).round().byte()
    net = PCA(SHAPE, 3)
    net.initialise(images)
    x = images / 255
    found = fit(net, x, net.encode(x), 5)
    assert found.errors[0].min() > 0
    torch.testing.assert_close(found.errors[-1], found.errors[0], rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_no_image_of_any_model_ends_worse_than_it_began(name):
    net = build(name, (3, 32, 32), latent=8).eval()
    x = pictures(3, (3, 32, 32))
    with torch.inference_mode():
        code = net.encode(x)
        found = fit(net, x, code, 3)
        errors = [(net.decode(one) - x).square().sum((1, 2, 3)) for one in (code, found.code)]
    assert found.errors.shape == (4, 3)
    assert (found.errors.diff(dim=0) <= 0).all()
    torch.testing.assert_close(found.errors[[0, -1]], torch.stack(errors), rtol=1e-4, atol=0)
    assert name == "pca" or (errors[1] < errors[0]).any()  # pca has the best codes from the start


def test_skips_and_weights_stay_as_they_are():
    torch.manual_seed(0)
    net = ImprovedSkip((3, 16, 16), latent=8, channels=(4, 8), skip_levels=(1, 2)).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x = pictures(3, (3, 16, 16))
    code = net.encode(x)
    found = fit(net, x, code, 2).code
    assert not torch.equal(found.z, code.z)
    assert all(torch.equal(a, b) for a, b in zip(found.skips, code.skips, strict=True))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(value.grad is None for value in net.parameters())
    assert not any(part.requires_grad for part in (found.z, *found.skips))


def test_an_image_does_not_depend_on_the_others():
    net, x = Linear(), pictures()
    together = fit(net, x, net.encode(x), 2).code.z
    alone = [fit(net, one[None], net.encode(one[None]), 2).code.z for one in x]
    torch.testing.assert_close(together, torch.cat(alone))


class Kinked(Linear):
    """Its curvature at 0 says nothing of what comes behind the kink: the first step goes far too far."""

    def encode(self, x):
        return Code(torch.zeros(len(x), 1))

    def decode(self, code):
        z = code.z
        return torch.where(z < 0.5, z, 0.5 - 40 * (z - 0.5)).repeat(1, 12).unflatten(1, SHAPE)


def test_a_step_that_does_not_help_is_taken_back_and_halved():
    net = Kinked(latent=1)
    x = torch.full((1, *SHAPE), 0.9)
    found = fit(net, x, net.encode(x), 3)
    z = [0.0, 0.0, 0.45, 0.45]  # 0.9 lies behind the kink, 0.45 before it; then 0.9 again
    expected = [12 * (0.9 - one) ** 2 for one in z]
    np.testing.assert_allclose(found.errors[:, 0].numpy(), expected, rtol=1e-5)
    assert found.code.z.item() == pytest.approx(0.45)


def test_only_numbers_that_crossed_are_fitted():
    net, x = Linear(latent=4), pictures()
    net.bottleneck = TopK(4, k=2)
    code = Code(torch.tensor([[1.0, 0, 0, 1]]).repeat(5, 1))
    found = fit(net, x, code, 2).code.z
    matrix = net.matrix.detach().numpy().astype(np.float64)[:, [0, 3]]
    expected = np.linalg.lstsq(matrix, x.flatten(1).numpy().T.astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(found[:, [0, 3]].numpy(), expected.T, atol=1e-4)
    assert not found[:, [1, 2]].any()


class Deaf(Linear):
    def decode(self, code):
        return torch.zeros(len(code.z), *SHAPE)


@pytest.mark.parametrize(("net", "name"), [(Classical(SHAPE, "median"), "Classical"), (Deaf(), "Deaf")])
def test_a_decoder_without_a_gradient_is_named(net, name):
    x = pictures()
    with pytest.raises(UserError, match=f"^model {name}: no latent can be fitted through its decoder"):
        fit(net, x, net.encode(x), 1)

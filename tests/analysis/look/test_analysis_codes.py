"""What a code is held to, how its use is measured, and the axes along which it varies."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from sklearn.decomposition import PCA
from toys import SHAPE, Linear, Skipping, images

from caelab.analysis.look import codes
from caelab.errors import UserError
from caelab.models.autoencoder import Code
from caelab.models.contract import pixels, require_contract


class Unnamed(Linear):
    def encode(self, x):
        return super().encode(x).z


class Wide(Linear):
    def encode(self, x):
        return Code(x.flatten(1))


class Remembering(Linear):
    def encode(self, x):
        self.seen = x
        return super().encode(x)

    def decode(self, code):
        return super().decode(code) + self.seen


class Improving(Linear):
    def forward(self, x):
        return 0.9 * x


class Cropping(Linear):
    def decode(self, code):
        return super().decode(code)[..., 1:]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (Unnamed, r"Unnamed.encode must return a Code\(z, skips\), got Tensor"),
        (Wide, r"z must be \(N, latent\), here \(1, 5\), got \(1, 24\)"),
        (Remembering, "Remembering.decode depends on more than its code"),
        (Improving, "or Improving on more than encode and decode"),
        (Cropping, r"decode returns \(1, 2, 3, 3\) for an image of \(1, 2, 3, 4\)"),
    ],
)
def test_a_model_that_does_not_keep_the_contract_is_refused(kind, line):
    with pytest.raises(UserError, match=line) as raised:
        require_contract(kind(), images(2))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", [Linear, Skipping])
def test_a_model_that_keeps_it_is_not(kind):
    net = kind()
    require_contract(net, images(2))
    assert codes.encode(net, images(2)).numbers == {Linear: 5, Skipping: 5 + 24}[kind]


def test_latents_do_not_depend_on_the_batches(monkeypatch):
    net, x = Linear(), images(9)
    expected = (x.numpy().reshape(9, -1) / 255 - 0.5) @ net.matrix.numpy().T
    for batch in (1, 4, 100):
        monkeypatch.setattr(codes, "BATCH", batch)
        np.testing.assert_allclose(codes.latents(net, x), expected, atol=1e-6)


def test_a_constant_code_is_refused():
    net = Linear()
    net.matrix.zero_()
    with pytest.raises(UserError, match="its code is the same for all 9 images"):
        codes.latents(net, images(9))


def test_a_code_that_is_not_finite_is_refused():
    net = Linear()
    net.matrix[2, 3] = torch.inf
    with pytest.raises(UserError, match="NaN or infinity"):
        codes.latents(net, images(9))


@pytest.mark.parametrize(("variances", "dimension"), [([3, 3, 3, 3], 4), ([5, 0, 0], 1), ([4, 1], 25 / 17)])
def test_effective_dimension_in_closed_form(variances, dimension):
    assert codes.effective_dimension(np.array(variances, float)) == pytest.approx(dimension)


def test_effective_dimension_of_a_rotated_covariance():
    """Rotation changes coordinates, but no axis: tr(C)^2 / tr(C^2) needs no eigenvalue."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 6)) * [5, 4, 3, 1, 0.5, 0.1] @ ortho_group.rvs(6, random_state=0)
    covariance = np.cov(z, rowvar=False)
    expected = np.trace(covariance) ** 2 / np.trace(covariance @ covariance)
    assert codes.effective_dimension(codes.principal_axes(z).deviations ** 2) == pytest.approx(expected)


def test_principal_axes_are_those_of_pca():
    z = np.random.default_rng(1).normal(size=(50, 5)) * [1, 2, 3, 4, 5] + 7
    axes, pca = codes.principal_axes(z), PCA().fit(z)
    np.testing.assert_allclose(axes.deviations**2, pca.explained_variance_ * 49 / 50)
    np.testing.assert_allclose(np.abs((axes.vectors * pca.components_).sum(1)), 1)
    assert all(vector[np.abs(vector).argmax()] > 0 for vector in axes.vectors)


def test_directions_of_a_wide_latent_take_no_square_of_it():
    z = np.random.default_rng(1).normal(size=(10, 2_000))
    tracemalloc.start()
    axes, one = codes.principal_axes(z), codes.coordinates(z, np.array([7]))
    assert tracemalloc.get_traced_memory()[1] < 2_000**2
    tracemalloc.stop()
    values, vectors = np.linalg.eigh((z - z.mean(0)) @ (z - z.mean(0)).T / 10)  # the first is of no variance
    np.testing.assert_allclose(axes.deviations, np.sqrt(values[:0:-1]))
    wanted = vectors[:, :0:-1].T @ (z - z.mean(0)) / np.sqrt(10 * values[:0:-1, None])
    np.testing.assert_allclose(np.abs((axes.vectors * wanted).sum(1)), 1)
    assert one.vectors.nonzero() == (0, 7)
    assert one.vectors[0, 7] == 1
    assert one.deviations == z[:, 7].std()


def test_axes_without_variance_are_left_out():
    z = np.random.default_rng(2).normal(size=(30, 2)) @ np.array([[1, 0, 1, 0], [0, 1, 0, 0.0]])
    assert codes.principal_axes(z).vectors.shape == (2, 4)


def test_a_latent_of_one_number_has_one_axis():
    z = np.array([[1.0], [3.0]])
    axes = codes.principal_axes(z)
    assert axes.vectors.tolist() == [[1]]
    assert axes.deviations.tolist() == [1]


def test_coordinates_are_the_unit_vectors():
    z = np.array([[0.0, 5], [2, 5]])
    directions = codes.coordinates(z, np.array([1, 0]))
    assert directions.vectors.tolist() == [[0, 1], [1, 0]]
    assert directions.deviations.tolist() == [0, 1]


def test_dead_coordinates_are_found():
    alternating = np.tile([1.0, -1.0], 20)
    z = np.outer(alternating, [1, 0.011, 0.009, 0]) + 3
    assert codes.dead(z).tolist() == [False, False, True, True]


def test_pixels_take_the_type_of_the_weights():
    net = Linear().double()
    x = pixels(net, torch.full((1, *SHAPE), 51, dtype=torch.uint8))
    assert x.dtype == torch.float64
    assert x.mean().item() == pytest.approx(0.2)

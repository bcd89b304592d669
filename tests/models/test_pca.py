"""The linear floor against scikit-learn and against its closed form."""

import numpy as np
import pytest
import torch
from sklearn import decomposition

from caelab.models import pca
from caelab.models.pca import PCA
from caelab.models.refinement import fit

SHAPE = (2, 5, 4)


def smooth_pictures(count, seed=0):
    """Pictures of grey levels far from 0 and 255, so that no reconstruction is clamped."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(count, 40)) * np.linspace(8, 0.5, 40)
    mixing = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    return torch.from_numpy((127 + factors @ mixing).round().astype(np.uint8)).view(count, *SHAPE)


@pytest.mark.parametrize("count", [25, 40, 300])  # fewer images than numbers in one, as many, more
def test_reconstruction_is_that_of_scikit_learn(count):
    images = smooth_pictures(count)
    model = PCA(SHAPE, latent=7)
    model.initialise(images)
    flat = images.flatten(1).numpy() / 255
    reference = decomposition.PCA(7, svd_solver="full").fit(flat)
    expected = reference.inverse_transform(reference.transform(flat)).reshape(-1, *SHAPE)
    np.testing.assert_allclose(model.reconstruct(images).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("latent", [0, 1, 7, 39])
def test_error_is_what_the_discarded_eigenvalues_say(latent):
    images = smooth_pictures(300)
    model = PCA(SHAPE, latent)
    model.initialise(images)
    error = (model.reconstruct(images).double() - images.double() / 255).square().mean().item()
    covariance = np.cov(images.flatten(1).numpy() / 255, rowvar=False, bias=True)
    discarded = np.linalg.eigvalsh(covariance)[: 40 - latent]
    assert error == pytest.approx(discarded.sum() / 40, rel=1e-4)


def test_it_is_fitted_by_initialise_alone_and_counts_what_it_learnt():
    model = PCA(SHAPE, latent=7)
    assert list(model.parameters()) == []
    assert model.size == 7 * 40 + 40
    assert model.reconstruct(smooth_pictures(3)).abs().max() == 0
    model.initialise(smooth_pictures(50))
    assert {key: value.dtype for key, value in model.state_dict().items()} == {
        "mean": torch.float32,
        "components": torch.float32,
    }
    torch.testing.assert_close(model.components @ model.components.T, torch.eye(7), rtol=0, atol=1e-5)


def test_bfloat16_training_does_not_lower_the_floor():
    images = smooth_pictures(50)
    model = PCA(SHAPE, latent=7)
    model.initialise(images)
    x = images / 255
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model(x), model.reconstruct(images), rtol=0, atol=0)


def test_output_is_clamped():
    model = PCA((1, 1, 2), latent=1)
    model.components.copy_(torch.tensor([[0.8, -0.6]]))
    x_hat = model.decode(model.encode(torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)))
    torch.testing.assert_close(x_hat, torch.tensor([0.64, 0.0]).view(1, 1, 1, 2))


def test_a_latent_above_what_there_is_is_named():
    with pytest.raises(ValueError, match="^latent must be at most 40, the numbers in one image, got 41$"):
        PCA(SHAPE, latent=41)


def test_of_few_images_there_are_as_many_numbers():
    images = smooth_pictures(10)
    few, same = PCA(SHAPE, latent=11), PCA(SHAPE, latent=10)
    few.initialise(images)
    same.initialise(images)
    assert few.latent == 10
    assert few.size == same.size == 11 * 40
    assert few.encode(images / 255).z.shape == (10, 10)
    assert torch.equal(few.components, same.components)
    # ten images differ from their mean in nine directions at most, so ten numbers keep all of them
    assert torch.allclose(few(images / 255), images / 255, atol=1e-4)


class Streamed:
    """Images that count how many are asked for at a time."""

    def __init__(self, images):
        self.images, self.most = images, 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        self.most = max(self.most, len(self.images[rows]))
        return self.images[rows]


def decaying_pictures(count):
    """Pictures whose components have ever less variance, as those of photographs have."""
    rng = np.random.default_rng(2)
    factors = rng.normal(size=(count, 40)) * 100 / np.arange(1, 41)
    mixing = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    return torch.from_numpy((127 + factors @ mixing).round().clip(0, 255).astype(np.uint8)).view(
        count, *SHAPE
    )


@pytest.fixture(params=["eigenvectors", "iteration on the covariance", "iteration on the images"])
def too_large(request, monkeypatch):
    monkeypatch.setattr(pca, "IN_MEMORY", 0)
    monkeypatch.setattr(pca, "COVARIANCE", 40 if request.param == "eigenvectors" else 0)
    monkeypatch.setattr(pca, "SCATTER", 0 if request.param == "iteration on the images" else 40)
    monkeypatch.setattr(pca, "_ROWS", 16)  # 40 numbers are two blocks and a half
    monkeypatch.setattr(pca, "_BATCH", 8)


@pytest.mark.parametrize(("count", "latent"), [(300, 7), (300, 40), (300, 0), (25, 7), (25, 25)])
def test_what_is_too_large_for_memory_is_read_in_batches(too_large, count, latent):
    images = Streamed(decaying_pictures(count))
    model = PCA(SHAPE, latent)
    model.initialise(images)
    assert images.most == 8
    x = images.images.flatten(1).numpy() / 255
    np.testing.assert_allclose(model.mean.numpy(), x.mean(0), atol=1e-7)
    left = (np.linalg.svd(x - x.mean(0), compute_uv=False)[latent:] ** 2).sum()
    z = model._project(images.images / 255).double()
    error = (z @ model.components.double() + model.mean.double() - torch.from_numpy(x)).square().sum()
    assert float(error) == pytest.approx(left, rel=10**1e-5 - 1, abs=1e-8)  # 1e-4 dB
    identity = torch.eye(latent)
    torch.testing.assert_close(model.components @ model.components.T, identity, rtol=0, atol=1e-5)


def test_components_come_in_the_order_of_their_variance(too_large):
    images = decaying_pictures(300)
    model = PCA(SHAPE, 7)
    model.initialise(images)
    x = images.flatten(1).numpy() / 255
    whole = torch.from_numpy(np.linalg.svd(x - x.mean(0))[2][:7]).float()
    cosines = (model.components * whole).sum(1).abs()
    torch.testing.assert_close(cosines, torch.ones(7), rtol=0, atol=1e-4)


def noisy_pairs(count=400):
    """Pictures, and the same with noise that is clamped."""
    images = smooth_pictures(count)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    return images, (images / 255 + 0.3 * noise).clamp(0, 1)


def shrunk(images, corrupted, latent=7):
    model = PCA(SHAPE, latent, shrinkage="auto")
    model.initialise_from(images, corrupted)
    return model


def test_shrinkage_is_the_regression_of_each_number_of_the_clean_code_on_that_of_the_corrupted_one():
    images, corrupted = noisy_pairs()
    plain = PCA(SHAPE, 7)
    plain.initialise(images)
    clean, given = (plain.encode(x).z.double().numpy() for x in (images / 255, corrupted))
    lines = [np.polyfit(b, a, 1) for a, b in zip(clean.T, given.T, strict=True)]
    expected = np.stack([np.polyval(line, b) for line, b in zip(lines, given.T, strict=True)], 1)
    model = shrunk(images, corrupted)
    np.testing.assert_allclose(model.encode(corrupted).z.numpy(), expected, atol=1e-6)
    assert model.size == plain.size + 2 * 7


def test_shrinkage_of_independent_noise_is_that_of_wiener():
    images = smooth_pictures(20_000)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    model = shrunk(images, images / 255 + 0.1 * noise, latent=5)  # nothing is clamped
    variance = np.sort(np.linalg.eigvalsh(np.cov(images.flatten(1).numpy() / 255, rowvar=False)))[::-1][:5]
    np.testing.assert_allclose(model.shrinkage.gain.numpy(), variance / (variance + 0.01), rtol=0.1)
    np.testing.assert_allclose(model.shrinkage.offset.numpy(), 0, atol=1e-3)


def test_nothing_is_shrunk_where_nothing_is_corrupted():
    images = smooth_pictures(60)
    plain, model = PCA(SHAPE, 7), PCA(SHAPE, 7, shrinkage="auto")
    plain.initialise(images)
    model.initialise(images)
    assert torch.equal(model.reconstruct(images), plain.reconstruct(images))
    torch.testing.assert_close(
        shrunk(images, images / 255).encode(images / 255).z, plain.encode(images / 255).z
    )


def test_of_few_images_as_many_numbers_are_shrunk():
    images, corrupted = noisy_pairs(10)
    assert shrunk(images, corrupted, latent=11).encode(corrupted).z.shape == (10, 10)


def test_another_shrinkage_is_named():
    with pytest.raises(ValueError, match=r"^shrinkage must be none or auto, got 'half'$"):
        PCA(SHAPE, 7, shrinkage="half")


def test_fitted_codes_are_those_that_the_decoder_draws_best():
    dark = (20 * (smooth_pictures(40).float() - 127)).clamp(0, 255).byte()  # half of it is black
    x = dark / 255
    plain, fitted = PCA(SHAPE, 7), PCA(SHAPE, 7, refine=30)
    for model in (plain, fitted):
        model.initialise(dark)
    errors = [(model.reconstruct(dark) - x).square().flatten(1).sum(1) for model in (plain, fitted)]
    assert (errors[1] < errors[0]).all()
    code = fitted.encode(x)
    torch.testing.assert_close(code.z, fit(plain, x, plain.encode(x), 30).code.z, rtol=0, atol=0)
    alone = torch.cat([fitted.encode(one[None]).z for one in x[:5]])
    torch.testing.assert_close(alone, code.z[:5], rtol=1e-3, atol=1e-3)  # whatever stands beside an image
    assert not code.z.requires_grad


def test_fitting_would_undo_a_shrinkage():
    with pytest.raises(ValueError, match=r"^refine must be 0 with shrinkage, which it would undo, got 20$"):
        PCA(SHAPE, 7, shrinkage="auto", refine=20)


@pytest.mark.parametrize(
    ("options", "floor"), [({}, "PCA"), ({"refine": 3}, ""), ({"shrinkage": "auto"}, "")]
)
def test_a_projection_and_nothing_more_is_the_floor(options, floor):
    assert PCA(SHAPE, 7, **options).floor == floor


@pytest.mark.parametrize(
    ("images", "numbers", "expected"),
    [
        (45_000, 3072, 2 * 45_000 * 3072**2 + 10 * 3072**3),  # exact, by a covariance
        (500, 12_288, 2 * 12_288 * 500**2 + 10 * 500**3),  # exact, of few images
        (5_000, 12_288, 10 * 2 * 5_000 * 12_288 * 512),  # in memory, but all eigenvectors would take longer
        (50_000, 12_288, 50_000 * 12_288**2 / 2 + 10 * 12_288**2 * 512),  # covariance, then ten passes of it
        (50_000, 49_152, 2 * 10 * 50_000 * 49_152 * 512),  # ten passes of the images
    ],
)
def test_what_it_costs_grows_no_faster_than_what_is_done(images, numbers, expected):
    assert pca.operations(images, numbers, 256) == expected

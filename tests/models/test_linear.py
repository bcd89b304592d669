"""The linear floor of a corruption against scikit-learn's ridge regression."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from toys import images

from caelab.corruptions import Blur, Clean, Corrupted, GaussianNoise
from caelab.data import prefetch
from caelab.errors import UserError
from caelab.models.linear import Linear

SHAPE = (2, 5, 5)


def pairs(corruption, count=200):
    clean = images(count, SHAPE)
    return clean, Corrupted(clean, corruption, seed=3)


def fitted(clean, corrupted):
    net = Linear(SHAPE)
    net.initialise_from(clean, corrupted)
    return net


@pytest.mark.parametrize(
    ("corruption", "ridged"),
    [(GaussianNoise(0.3), True), (Blur(0.5), False), (Clean(), False)],
    ids=("noise", "blur", "clean"),
)
def test_it_is_the_ridge_regression_of_the_least_generalized_error(corruption, ridged):
    clean, corrupted = pairs(corruption)
    given, target = corrupted[:].flatten(1).double().numpy(), clean.flatten(1).double().numpy() / 255
    found = {}
    for ridge in np.logspace(-7, 0, 29):
        predicted = Ridge(200 * ridge).fit(given, target).predict(given)
        centred = given - given.mean(0)
        hat = 1 / 200 + centred @ np.linalg.solve(centred.T @ centred + 200 * ridge * np.eye(50), centred.T)
        found[np.square(target - predicted).sum() / (1 - np.trace(hat) / 200) ** 2] = (ridge, predicted)
    ridge, expected = found[min(found)]
    assert (ridge > 1e-4) == ridged  # noise asks for a ridge, what can be undone for none
    reconstructed = fitted(clean, corrupted).reconstruct(corrupted[:])
    np.testing.assert_allclose(reconstructed.flatten(1).numpy(), expected.clip(0, 1), atol=1e-4)


def test_what_is_not_corrupted_stays_as_it_is():
    clean, corrupted = pairs(Clean())
    torch.testing.assert_close(fitted(clean, corrupted).reconstruct(clean), clean / 255, atol=1e-4, rtol=0)
    net = Linear(SHAPE)
    net.initialise(clean)
    assert torch.equal(net.reconstruct(clean), clean / 255)


def test_a_pixel_that_is_always_black_is_no_reason_to_fail():
    clean = images(60, SHAPE)
    clean[:, :, 0] = 0
    net = fitted(clean, Corrupted(clean, Clean(), 0))
    torch.testing.assert_close(net.reconstruct(clean), clean / 255, atol=1e-4, rtol=0)


def test_the_code_is_the_image_and_nothing_is_trained_by_gradient():
    net = Linear(SHAPE)
    x = images(3, SHAPE) / 255
    assert torch.equal(net.encode(x).z, x.flatten(1))
    assert (net.latent, net.size) == (50, 50 * 50 + 50)
    assert list(net.parameters()) == []
    assert net.reconstruct(x).abs().max() == 0


def test_a_run_fits_it_to_what_its_networks_see(train):
    data = ("dataset=shapes", "dataset.train_size=400", "dataset.val_size=20", "dataset.test_size=20")
    noise = ("corruption=gaussian_noise", "corruption.std=0.3", "dataset.image_size=12")
    answer = train("-m", "model=linear,classical", *data, *noise, tiny=False)
    linear, nothing = (
        next(r["metrics"]["test/psnr"] for r in answer.records if r["choices"]["model"] == name)
        for name in ("linear", "classical")
    )
    assert linear > nothing + 3


def test_what_memory_cannot_hold_is_refused_before_it_is_tried(monkeypatch):
    monkeypatch.setattr(prefetch, "memory", lambda: 24_000_000_000)
    net = Linear((5, 64, 78))
    line = r"model=linear: a regression of 24,960 x 24,960 numbers takes 34\.9 GB, more than half of the 24"
    with pytest.raises(UserError, match=line):
        net.initialise_from(torch.zeros(1, 5, 64, 78), torch.zeros(1, 5, 64, 78))

"""Draws: numbers that follow from a key, and are what they are said to be."""

import numpy as np
import pytest
import scipy.stats
import torch

from caelab import draws
from caelab.draws import keys, normal, uniform


def test_normal_numbers_are_finite_at_both_ends_of_the_uniform_ones(monkeypatch):
    ends = torch.tensor([[0.0, 2.0**-24, 0.5, 1 - 2.0**-23, 1 - 2.0**-24]])
    monkeypatch.setattr(draws, "uniform", lambda key, numbers: ends)
    found = normal(torch.zeros(1, dtype=torch.int64), 5)[0]
    assert found.isfinite().all()
    assert found[[0, -1]].tolist() == pytest.approx([-5.42, 5.29], abs=0.01)
    assert (found.diff() >= 0).all()


class OnApple(torch.Tensor):
    """A tensor that says that it is on an Apple GPU, which has no quantiles."""

    device = torch.device("mps")

    def cpu(self):
        return self.as_subclass(torch.Tensor)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        assert function is not torch.special.ndtri
        return super().__torch_function__(function, types, args, kwargs or {})


def test_normal_numbers_on_an_apple_gpu_are_those_of_the_cpu(monkeypatch):
    key = keys(torch.arange(3), 1)
    expected, shares = normal(key, 4), uniform(key, 4)
    sent = []
    monkeypatch.setattr(draws, "uniform", lambda key, numbers: shares.as_subclass(OnApple))
    monkeypatch.setattr(torch.Tensor, "to", lambda found, device: sent.append(device) or found)
    assert torch.equal(normal(key, 4), expected)
    assert sent == [torch.device("mps")]


def test_normal_numbers_are_the_quantiles_of_the_uniform_ones():
    key = keys(torch.arange(200), 3, 1)
    expected = scipy.stats.norm.ppf(uniform(key, 50).double().numpy() + 2.0**-25)
    np.testing.assert_allclose(normal(key, 50).numpy(), expected, atol=1e-3)

"""Normalising flows as priors: they draw what they are fitted to."""

import math

import pytest
import torch

from caelab.analysis.sample import flow, priors
from caelab.bottlenecks.none import Plain
from caelab.errors import UserError


def ring(n=500):
    """Codes near a circle of radius 3 around (5, 5), and a number that is always 2."""
    generator = torch.Generator().manual_seed(0)
    angle = 2 * math.pi * torch.rand(n, generator=generator)
    circle = torch.stack([angle.cos(), angle.sin()], 1) * (3 + 0.1 * torch.randn(n, 1, generator=generator))
    return torch.cat([5 + circle, torch.full((n, 1), 2.0)], 1)


def radii(z):
    return (z[:, :2] - 5).norm(dim=1)


def test_it_draws_what_no_normal_distribution_does(monkeypatch):
    monkeypatch.setattr(flow, "STEPS", 150)
    x = ring()
    prior = priors.flow(x, Plain(3), 0)
    assert prior.about == "a neural spline flow, fitted to the training codes in 150 steps"
    z = prior.draw(1000, 0)
    assert (z.shape, z.dtype, z.requires_grad) == ((1000, 3), torch.float32, False)
    near = (radii(z) - 3).abs() < 1
    normal = (radii(priors.standard_or_fitted(x, Plain(3), 0).draw(1000, 0)) - 3).abs() < 1
    assert near.float().mean() > 0.85 > 0.6 > normal.float().mean()
    torch.testing.assert_close(z[:, 2], torch.full((1000,), 2.0))


def test_fit_and_draws_follow_from_the_seed(monkeypatch):
    monkeypatch.setattr(flow, "STEPS", 3)
    x = ring(60)
    state = torch.get_rng_state()
    once, again, other = (flow.fit(x, seed) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(once.draw(20, 4), again.draw(20, 4))
    assert not torch.equal(once.draw(20, 4), once.draw(20, 5))
    assert not torch.equal(once.draw(20, 4), other.draw(20, 4))


def test_before_it_learns_its_moments_are_near_those_of_the_codes(monkeypatch):
    monkeypatch.setattr(flow, "STEPS", 0)
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10, 0.1, 3]) + 7
    z = flow.fit(x, 0).draw(2000, 0)
    assert ((z.mean(0) - x.mean(0)).abs() < 0.5 * x.std(0)).all()
    torch.testing.assert_close(z.std(0), x.std(0), atol=0, rtol=0.5)


def test_codes_of_one_number(monkeypatch):
    monkeypatch.setattr(flow, "STEPS", 2)
    assert flow.fit(ring(50)[:, :1], 0).draw(5, 0).shape == (5, 1)


def test_codes_that_are_all_the_same_are_refused():
    with pytest.raises(UserError, match="all training images have the same code, so no flow can be fitted"):
        priors.flow(torch.ones(50, 3), Plain(3), 0)

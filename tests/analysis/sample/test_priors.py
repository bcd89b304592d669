"""Priors: what they are fitted to is what they draw."""

import pytest
import torch

from caelab.analysis.sample import PRIORS, priors
from caelab.analysis.sample.priors import FITS, Mixture, mixture, save, saved, standard_or_fitted
from caelab.bottlenecks.mmd import MMD
from caelab.bottlenecks.none import Plain
from caelab.bottlenecks.tc import TotalCorrelation
from caelab.bottlenecks.variational import Variational
from caelab.errors import UserError


def codes(n=400, seed=0):
    """Two heaps of correlated numbers, a quarter and the rest; the third number is constant."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=generator) @ torch.tensor([[1.0, 0.8], [0.0, 0.5]])
    x[: n // 4] += torch.tensor([20.0, -10.0])
    return torch.cat([x, torch.full((n, 1), 3.0)], 1)


def test_each_prior_that_is_declared_can_be_fitted():
    assert FITS.keys() == PRIORS.keys()


@pytest.mark.parametrize("kind", [Variational, TotalCorrelation, MMD])
def test_where_training_holds_codes_near_it_the_prior_is_the_standard_normal(kind):
    prior = standard_or_fitted(codes(), kind(3), 0)
    assert "standard normal" in prior.about
    z = prior.draw(20_000, 0)
    assert (z.shape, z.dtype) == ((20_000, 3), torch.float32)
    torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=0.03, rtol=0)
    torch.testing.assert_close(torch.cov(z.T), torch.eye(3), atol=0.05, rtol=0)


def test_mixtures_are_kept_and_draw_the_same(tmp_path):
    path = tmp_path / "sample.npz"
    kept = {"normal": standard_or_fitted(codes(), Plain(3), 0), "gmm": mixture(codes(), Plain(3), 0)}
    save(kept, path)
    again = saved(path, ["gmm", "normal"])
    assert [*again] == ["gmm", "normal"]
    for name, one in again.items():
        torch.testing.assert_close(one.draw(50, 3), kept[name].draw(50, 3), rtol=1e-3, atol=1e-3)
    assert saved(path, ["flow"]) == {}
    with pytest.raises(UserError, match=r"none.npz cannot be read \(.*\); caelab sample writes it"):
        saved(tmp_path / "none.npz", ["flow"])


@pytest.mark.parametrize(("latent", "kept"), [(3, 256), (1 << 16, 4), (1 << 19, 1)])
def test_of_another_prior_draws_are_kept_fewer_where_they_are_long(tmp_path, latent, kept):
    class Lines:
        about = "lines"

        def draw(self, number, seed):
            return torch.arange(number)[:, None].expand(number, latent).float() + seed

    save({"flow": Lines()}, tmp_path / "sample.npz", 5)
    draws = saved(tmp_path / "sample.npz", ["flow"])["flow"]
    assert draws.shape == (kept, latent)
    assert draws[:, 0].tolist() == draws[:, -1].tolist() == list(range(5, 5 + kept))


def test_elsewhere_it_has_the_moments_of_the_codes():
    x = codes()
    prior = standard_or_fitted(x, Plain(3), 0)
    assert prior.about.startswith("one normal distribution")
    z = prior.draw(20_000, 0)
    torch.testing.assert_close(z.mean(0), x.mean(0), atol=0.2, rtol=0)
    torch.testing.assert_close(torch.cov(z.T), torch.cov(x.T), atol=1.5, rtol=0.02)
    assert z[:, 2].sub(3).abs().max() < 1e-5  # its covariance is singular


def test_a_mixture_draws_no_code_between_the_heaps():
    x = codes()
    prior = mixture(x, Plain(3), 0)
    assert prior.shares.sum().item() == pytest.approx(1)
    assert "10 normal distributions" in prior.about
    z = prior.draw(20_000, 0)
    between = (z[:, 0] > 6) & (z[:, 0] < 14)
    assert between.float().mean() < 0.001
    assert (z[:, 0] > 10).float().mean() == pytest.approx(0.25, abs=0.01)
    single = standard_or_fitted(x, Plain(3), 0).draw(20_000, 0)
    assert ((single[:, 0] > 6) & (single[:, 0] < 14)).float().mean() > 0.2


def test_each_component_has_its_share_mean_and_covariance():
    root = torch.tensor([[2.0, 0.0], [1.0, 0.5]]).double()
    means = torch.tensor([[-50.0, 0.0], [50.0, 0.0], [0.0, 99.0]]).double()
    covariances = torch.stack([torch.eye(2).double(), root @ root.T, torch.zeros(2, 2).double()])
    z = Mixture("", torch.tensor([0.2, 0.5, 0.3]).double(), means, covariances).draw(30_000, 5).double()
    for share, mean, covariance in zip((0.2, 0.5, 0.3), means, covariances, strict=True):
        mine = z[(z - mean).norm(dim=1) < 25]
        assert len(mine) / len(z) == pytest.approx(share, abs=0.01)
        torch.testing.assert_close(mine.mean(0), mean, atol=0.05, rtol=0)
        torch.testing.assert_close(torch.cov(mine.T), covariance, atol=0.06, rtol=0.05)


@pytest.mark.parametrize("fit", [standard_or_fitted, mixture])
def test_draws_follow_from_the_seed(fit):
    x = codes(60)
    once, again, other = (fit(x, Plain(3), 0).draw(50, seed) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_a_fit_that_is_cut_short_says_so(monkeypatch):
    monkeypatch.setattr(priors, "_STEPS", 1)
    assert mixture(codes(), Plain(3), 0).about.endswith("not converged after 1 steps")


def test_a_single_code_has_no_normal_distribution_but_the_standard_one():
    with pytest.raises(UserError, match="its single training image is too few for a normal distribution"):
        standard_or_fitted(codes(1), Plain(3), 0)
    assert standard_or_fitted(codes(1), Variational(3), 0).means.tolist() == [[0, 0, 0]]


def test_codes_that_no_mixture_describes_are_refused():
    with pytest.raises(UserError, match="it has 9 training images, fewer than the 10 components of"):
        mixture(codes(9), Plain(3), 0)
    with pytest.raises(UserError, match="all training images have the same code"):
        mixture(torch.ones(50, 3), Plain(3), 0)

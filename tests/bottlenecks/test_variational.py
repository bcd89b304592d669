import pytest
import torch
from scipy import stats
from torch.distributions import Normal, kl_divergence

from caelab.bottlenecks.bottleneck import Crossing
from caelab.bottlenecks.tc import TotalCorrelation
from caelab.bottlenecks.variational import Variational, divergence, log_density
from caelab.draws import keys


def parameters(n=6, latent=5, seed=0):
    return torch.randn(n, 2 * latent, generator=torch.Generator().manual_seed(seed))


def distributions(h):
    mean, log_variance = h.double().chunk(2, 1)
    return Normal(mean, (log_variance / 2).exp())


def test_penalty_is_the_divergence_in_nats():
    h = parameters()
    expected = kl_divergence(distributions(h), Normal(0, 1)).sum(1)
    assert Variational(5, beta=3)(h).penalty.tolist() == pytest.approx((3 * expected).tolist(), rel=1e-5)


def test_free_bits_of_each_number():
    h = parameters()
    each = divergence(*h.chunk(2, 1))
    expected = [sum(max(0.5, one) for one in image) for image in each.tolist()]
    assert Variational(5, free_bits=0.5)(h).penalty.tolist() == pytest.approx(expected, rel=1e-5)


def test_warm_up_raises_the_weight():
    bottleneck, h, penalties = Variational(5, beta=2, warm_up=4), parameters(), []
    for epoch in range(6):
        bottleneck.start_epoch(epoch)
        penalties.append(float(bottleneck(h).penalty[0]))
    full = float(Variational(5, beta=2)(h).penalty[0])
    assert penalties == pytest.approx([full * share for share in (0, 0.25, 0.5, 0.75, 1, 1)])


def test_draws_are_of_the_distribution():
    h = torch.tensor([[2.0, -1.0, 0.0, 1.0]]).expand(4000, -1)  # means, log-variances
    z = Variational(2)(h, keys(torch.arange(4000), 0)).z.double().numpy()
    assert stats.kstest(z[:, 0], stats.norm(2, 1).cdf).pvalue > 1e-3
    assert stats.kstest(z[:, 1], stats.norm(-1, 2.718281828**0.5).cdf).pvalue > 1e-3


def test_outside_training_the_mean_crosses():
    h = parameters()
    assert torch.equal(Variational(5).eval()(h, keys(torch.arange(6), 0)).z, h[:, :5])


def test_log_density():
    h, z = parameters(), parameters(seed=1)[:, :5]
    torch.testing.assert_close(log_density(z, *h.chunk(2, 1)), distributions(h).log_prob(z).float())


def test_active_numbers_vary_over_images():
    z = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 0.05, 0.2, 0])
    assert Variational(4).measure(Crossing(z)) == {"active_numbers": 2.0}  # variances 1, 0.0025, 0.04, 0


@pytest.mark.parametrize("kind", [Variational, TotalCorrelation])
def test_outside_training_the_penalty_is_whole_from_the_start(kind):
    bottleneck, h = kind(5, beta=2, warm_up=4), parameters()
    bottleneck.start_epoch(1)
    assert torch.equal(bottleneck.eval()(h).penalty, kind(5, beta=2).eval()(h).penalty)
    assert not torch.equal(bottleneck.train()(h).penalty, kind(5, beta=2).train()(h).penalty)

"""Rounding, prices and learnt densities: against closed forms, sums, and SciPy's distributions."""

import math

import pytest
import torch
from scipy import stats

from caelab.bottlenecks.density import Density
from caelab.bottlenecks.entropy import Entropy
from caelab.bottlenecks.hyperprior import Hyperprior
from caelab.draws import keys, uniform


def normal(n, scales, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, len(scales), generator=generator) * torch.tensor(scales)


def test_a_density_starts_as_a_logistic_distribution_around_its_median():
    torch.manual_seed(0)
    density = Density(3)
    density.spread.copy_(torch.tensor([0.5, 3.0, 40.0]))
    whole = torch.arange(-5.0, 6.0)[:, None].expand(-1, 3)
    for number, spread in enumerate(density.spread.tolist()):
        logistic = stats.logistic(scale=spread * math.sqrt(3) / math.pi)
        share = logistic.cdf(whole[:, number] + 0.5) - logistic.cdf(whole[:, number] - 0.5)
        found = density.bits(whole)[:, number].detach()
        torch.testing.assert_close(found, -torch.tensor(share).log2().float(), rtol=1e-3, atol=1e-3)


def test_shares_of_all_steps_add_up_to_one_and_half_lies_on_each_side():
    torch.manual_seed(1)
    density = Density(4).double()
    for one in density.parameters():
        one.data += 0.7 * torch.randn_like(one)
    whole = torch.arange(-400.0, 401.0, dtype=torch.float64)[:, None].expand(-1, 4)
    shares = 2 ** -density.bits(whole).detach()
    torch.testing.assert_close(shares.sum(0), torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-3)
    zero = density.logits(torch.zeros(4, 1, dtype=torch.float64))
    torch.testing.assert_close(zero, torch.zeros_like(zero))


def test_far_numbers_have_finite_bits_and_a_gradient():
    density = Density(1)
    whole = torch.tensor([[-500.0], [500.0]], requires_grad=True)
    density.bits(whole).sum().backward()
    assert density.bits(whole).min() > 100
    assert whole.grad.tolist()[0][0] < 0 < whole.grad.tolist()[1][0]


def test_slopes_are_the_derivatives_of_bits():
    torch.manual_seed(2)
    density = Density(3).double()
    density.spread.copy_(torch.tensor([0.1, 1.0, 20.0]))
    for one in density.parameters():
        one.data += 0.5 * torch.randn_like(one)
    y = (normal(40, [0.3, 2.0, 60.0]).double()).requires_grad_()
    expected = torch.autograd.grad(density.bits(y).sum(), y)[0]
    torch.testing.assert_close(density.slopes(y.detach()).detach(), expected, rtol=1e-6, atol=1e-9)
    far = density.slopes(torch.full((1, 3), 1e4, dtype=torch.float64))
    assert far.isfinite().all()
    assert (far >= 0).all()


def test_the_pull_is_minus_half_the_gradient_of_the_price():
    torch.manual_seed(3)
    bottleneck = Entropy(3, price=0.2, step=0.5)
    with torch.no_grad():
        bottleneck.median.copy_(torch.tensor([0.0, 0.3, -1.25]))
        bottleneck.gain.copy_(torch.tensor([0.0, 1.0, -0.5]))
    h = normal(7, [1.0, 5.0, 0.2]).requires_grad_()
    steps = h / (0.5 * torch.exp(-bottleneck.gain)) - bottleneck.median
    expected = -torch.autograd.grad(0.2 * bottleneck.density.bits(steps).sum(), h)[0] / 2
    torch.testing.assert_close(bottleneck.pull(h).detach(), expected, rtol=1e-4, atol=1e-6)


def test_training_adds_noise_of_a_step_and_the_rest_rounds_to_steps_from_the_median():
    bottleneck = Entropy(3, step=0.5)
    with torch.no_grad():
        bottleneck.median.copy_(torch.tensor([0.0, 0.3, -1.25]))
        bottleneck.gain.copy_(torch.tensor([0.0, math.log(2), 0.0]))
    step, median = torch.tensor([0.5, 0.25, 0.5]), torch.tensor([0.0, 0.3, -1.25])
    h, key = normal(50, [1.0, 5.0, 0.2]), keys(torch.arange(50), 0)
    torch.testing.assert_close(bottleneck(h, key).z, h + step * (uniform(key, 3) - 0.5))
    z = bottleneck.eval()(h).z
    torch.testing.assert_close(z, ((h / step - median).round() + median) * step)
    assert (z - h).abs().max() <= 0.25001
    assert torch.equal(bottleneck.value(bottleneck.whole(z)), z)
    assert torch.equal(bottleneck(z).z, z)


@pytest.mark.parametrize(
    ("noisy", "epoch", "rounds"), [(None, 9, False), (2, 1, False), (2, 2, True), (0, 0, True)]
)
def test_training_rounds_once_its_noisy_epochs_are_over(noisy, epoch, rounds):
    bottleneck = Entropy(3, price=0.1, step=0.5, noisy=noisy)
    h, key = normal(4, [3.0, 1.0, 0.2]).requires_grad_(), keys(torch.arange(4), 0)
    plain = bottleneck.eval()(h)
    bottleneck.train().start_epoch(epoch)
    found = bottleneck(h, key)
    assert torch.equal(found.z, plain.z) == torch.equal(found.penalty, plain.penalty) == rounds
    found.z.sum().backward()  # the encoder's gradient passes straight through
    torch.testing.assert_close(h.grad, torch.ones_like(h))


def test_the_penalty_is_the_price_of_the_bits():
    bottleneck = Entropy(2, price=0.3, step=1.0).eval()
    h = normal(20, [1.0, 4.0])
    with torch.no_grad():
        crossing = bottleneck(h)
        bits = bottleneck.density.bits(crossing.z.round()).sum(1)
    torch.testing.assert_close(crossing.penalty, 0.3 * bits)
    torch.testing.assert_close(bottleneck.bits_of(crossing.z), bits)


def test_the_first_step_is_the_best_of_fine_rounding():
    """More of ``D + price * R`` a little to both sides, of a normal number with the ideal code."""
    price = 0.01
    step = Entropy(1, price=price).step

    def cost(step):
        whole = torch.arange(-2000, 2001, dtype=torch.float64)
        ends = torch.special.ndtr((torch.stack([whole - 0.5, whole + 0.5]) * step).double())
        share = (ends[1] - ends[0]).clamp(min=1e-300)
        return step**2 / 12 - price * float((share * share.log2()).sum())

    assert cost(step) < min(cost(0.9 * step), cost(1.1 * step))


def test_densities_start_from_what_they_are_shown():
    bottleneck = Entropy(3, step=0.1)
    h = normal(4000, [1.0, 0.001, 7.0]) + torch.tensor([2.0, 0.0, -3.0])
    bottleneck.start_from(h)
    assert bottleneck.median.tolist() == pytest.approx([20, 0, -30], abs=3)
    assert bottleneck.density.spread.tolist() == pytest.approx([10, 0.05, 70], rel=0.05)
    bits = bottleneck.eval()(h).penalty.mean().item() / bottleneck.bit_price
    entropy = sum(math.log2(std * math.sqrt(2 * math.pi * math.e)) for std in (10, 70))
    assert entropy < bits < entropy + 0.2


@pytest.mark.parametrize("kind", [Entropy, Hyperprior])
def test_a_start_from_one_image_is_finite(kind):
    bottleneck = kind(3)
    h = torch.tensor([[0.5, -1.0, 2.0]])
    bottleneck.start_from(h)
    assert bottleneck(h).penalty.isfinite().all()


def test_places_share_their_densities():
    torch.manual_seed(0)
    placed, flat = Entropy(6, step=0.2), Entropy(2, step=0.2)
    placed.at_places(2)
    flat.load_state_dict(placed.state_dict())
    h, key = normal(9, [1.0] * 6), keys(torch.arange(9), 1)
    whole = placed.eval()(h)
    single = flat.eval()(h.reshape(27, 2))
    torch.testing.assert_close(whole.z, single.z.reshape(9, 6))
    torch.testing.assert_close(whole.penalty, single.penalty.reshape(9, 3).sum(1))
    placed.start_from(h)
    assert placed.median.shape == placed.density.spread.shape == (2,)
    assert placed.train()(h, key).z.shape == (9, 6)


def test_training_finds_the_density():
    """Bits come near the entropy of a distribution with two humps, which no logistic one has."""
    torch.manual_seed(0)
    bottleneck = Entropy(1, price=1.0, step=1.0)
    bottleneck.gain.requires_grad_(False)
    sign = torch.where(torch.rand(4000, 1) < 0.5, -1.0, 1.0)
    h = 8 * sign + torch.randn(4000, 1)
    bottleneck.start_from(h)
    before = bottleneck(h, keys(torch.arange(4000), 0)).penalty.mean().item()
    optimizer = torch.optim.Adam(bottleneck.density.parameters(), lr=0.02)
    for seed in range(300):
        loss = bottleneck(h, keys(torch.arange(4000), seed)).penalty.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    entropy = 1 + math.log2(math.sqrt(2 * math.pi * math.e))
    assert before > entropy + 1
    assert entropy - 0.05 < loss.item() < entropy + 0.25


def test_steps_start_smaller_where_nothing_would_cross():
    h = normal(4000, [0.01, 0.001])
    chosen, given = Entropy(2), Entropy(2, step=0.2)
    for bottleneck in (chosen, given):
        bottleneck.start_from(h)
        bottleneck.eval()
    with torch.no_grad():
        width = float(h[:, 0].std()) / 4
        assert len(chosen(h).z[:, 0].unique()) > 10
        torch.testing.assert_close(
            chosen.value(torch.ones(1, 2)) - chosen.value(torch.zeros(1, 2)), torch.full((1, 2), width)
        )
        assert len(given(h).z.unique(dim=0)) == 1

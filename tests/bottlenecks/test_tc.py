import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from caelab.bottlenecks.tc import TotalCorrelation

N, LATENT = 7, 3
H = torch.randn(N, 2 * LATENT, generator=torch.Generator().manual_seed(0))


def test_penalty_is_that_of_loops():
    mean, deviation = H[:, :LATENT].double(), (H[:, LATENT:].double() / 2).exp()
    expected = []
    for image in range(N):  # outside training its mean stands for a draw
        z = mean[image]
        each = torch.stack([Normal(mean[j], deviation[j]).log_prob(z) for j in range(N)])  # (N, latent)
        joint = math.log(sum(math.exp(float(row.sum())) for row in each) / N)
        product = sum(math.log(float(each[:, k].exp().sum()) / N) for k in range(LATENT))
        whole = kl_divergence(Normal(mean[image], deviation[image]), Normal(0, 1)).sum()
        expected.append(float(whole) + 5 * (joint - product))
    assert TotalCorrelation(LATENT, beta=6).eval()(H).penalty.tolist() == pytest.approx(expected, rel=1e-4)


def test_with_a_weight_of_one_it_is_the_divergence():
    mean, deviation = H[:, :LATENT], (H[:, LATENT:] / 2).exp()
    expected = kl_divergence(Normal(mean, deviation), Normal(0, 1)).sum(1)
    torch.testing.assert_close(TotalCorrelation(LATENT, beta=1)(H).penalty, expected)


def test_outside_training_images_are_compared_within_groups_of_fifty():
    h = torch.randn(120, 2 * LATENT, generator=torch.Generator().manual_seed(1))
    found = TotalCorrelation(LATENT, beta=6).eval()(h).penalty
    alone = [TotalCorrelation(LATENT, beta=6)(part).penalty for part in (h[:50], h[50:100], h[100:])]
    torch.testing.assert_close(found, torch.cat(alone))

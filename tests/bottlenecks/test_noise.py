import pytest
import torch

from caelab.bottlenecks.noise import Noise, spread
from caelab.draws import keys


def test_noise_is_as_large_as_the_code_of_each_number():
    scales = torch.tensor([0.1, 1.0, 30.0, 0.0])
    h = torch.randn(20_000, 4, generator=torch.Generator().manual_seed(0)) * scales + 5
    noise = Noise(4, std=0.3)(h, keys(torch.arange(20_000), 0)).z - h
    assert (noise.std(0) / scales)[:3].tolist() == pytest.approx([0.3] * 3, rel=0.02)
    assert noise.mean(0).abs().max() < 0.3
    assert noise[:, 3].abs().max() == 0


def test_spread_is_the_standard_deviation():
    h = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)) + 10
    torch.testing.assert_close(spread(h), h.std(0, unbiased=False), rtol=1e-3, atol=1e-4)

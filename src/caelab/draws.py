"""Random numbers that are a function of an image's key, never of a generator's state.

A resumed run, another batch size or several processes therefore draw the same numbers for an image.
"""

import torch
from torch import Tensor

_GOLDEN, _FIRST, _SECOND = (
    n - (1 << 64) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_WORD = (1 << 64) - 1


def keys(rows: Tensor, *seed: int) -> Tensor:
    """One key for each image, (N,) int64.

    Args:
        rows: (N,) int64, the images' places in their split.
        seed: whole numbers of 0 or more, such as the run's seed and the epoch.
    """
    state = 0
    for part in seed:
        state = int(_mixed(torch.tensor(_signed(state + part + 1)))) & _WORD
    return _mixed(rows + _signed(state))


def uniform(key: Tensor, numbers: int) -> Tensor:
    """Random numbers in [0, 1) with 24 bits, (N, numbers) float32, from keys (N,).

    The generator is SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
    OOPSLA 2014), whose n-th number needs none of those before it.
    """
    steps = torch.arange(1, numbers + 1, device=key.device) * _GOLDEN
    return _shifted(_mixed(key[:, None] + steps), 40).float() / (1 << 24)


def normal(key: Tensor, numbers: int) -> Tensor:
    """Standard normal numbers, (N, numbers) float32, from keys (N,): ``uniform`` through the quantiles."""
    half = (
        2.0**-25
    )  # so that 0 is never reached; the largest, with it, is rounded to 1, whose quantile is inf
    shares = (uniform(key, numbers) + half).clamp(max=1 - 2.0**-24)
    # Apple's GPUs have no quantiles
    found: Tensor = torch.special.ndtri(shares.cpu() if shares.device.type == "mps" else shares)
    return found.to(shares.device)


def _mixed(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # torch keeps the sign


def _signed(number: int) -> int:
    number &= _WORD
    return number - (1 << 64) if number >> 63 else number

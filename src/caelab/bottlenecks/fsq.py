"""A latent of tokens whose numbers are rounded to a few levels each."""

import math
from collections.abc import Sequence

from torch import Tensor
from vector_quantize_pytorch import FSQ as Rounding  # noqa: N811 - ours has that name

from caelab.bottlenecks.bottleneck import Discrete

_MOST = (1 << 31) - 1  # indices are 32 bits in the library


class FSQ(Discrete):
    """Finite scalar quantisation: squashed numbers are rounded; the codebook is all combinations of levels.

    Mentzer et al., "Finite Scalar Quantization: VQ-VAE Made Simple" (2023), carried by
    ``vector_quantize_pytorch``. A token has as many numbers as there are ``levels``. There is no codebook to
    learn and no penalty; gradients pass straight through the rounding.

    Args:
        latent: numbers in ``z`` per image; the number of ``levels`` must divide it.
        levels: of each number of a token, 3 or more.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    learnt = False

    def __init__(self, latent: int, levels: Sequence[int] = (8, 5, 5, 5)) -> None:
        for level in levels:
            if isinstance(level, bool) or not isinstance(level, int) or level < 3:
                raise ValueError(f"levels must be whole numbers, each at least 3, got {[*levels]}")
        if not levels or latent % len(levels):
            raise ValueError(f"the number of levels must divide {latent}, the latent, got {len(levels)}")
        if math.prod(levels) > _MOST:
            raise ValueError(f"levels must multiply to at most {_MOST:,}, got {math.prod(levels):,}")
        super().__init__(latent, len(levels), math.prod(levels))
        self.rounding = Rounding([*levels], return_indices=False)  # else it lists all entries

    def quantise(self, tokens: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Round tokens (N, tokens, dim); every number then lies in [-1, 1]."""
        quantised, _ = self.rounding(tokens)
        digits = self.rounding._scale_and_shift(quantised).round().long()
        # by whole numbers, since the library's sum in float32 is exact to 2^24 only
        return quantised, None, (digits * self.rounding._basis).sum(-1, keepdim=True)

    def nearest(self, tokens: Tensor) -> Tensor:
        """Return the indices of the rounded tokens, (N, tokens, 1)."""
        return self.quantise(tokens)[2]

    def lookup(self, indices: Tensor) -> Tensor:
        """Return ``z`` (N, latent) of indices (N, tokens, 1)."""
        codes: Tensor = self.rounding.indices_to_codes(indices[..., 0])
        return codes.flatten(1)

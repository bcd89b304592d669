"""A latent of tokens, each replaced by the nearest entry of a codebook."""

import torch
from torch import Tensor, distributed
from vector_quantize_pytorch import VectorQuantize

from caelab.bottlenecks.bottleneck import Discrete, above, nearest_entry


class VQ(Discrete):
    """Vector quantisation with a codebook of moving averages.

    Van den Oord et al., "Neural Discrete Representation Learning" (2017), appendix A.1, carried by
    ``vector_quantize_pytorch``. An entry moves towards the mean of the tokens nearest to it; gradients pass
    straight through. The penalty of an image is ``commitment * |h - z|^2``.

    Args:
        latent: numbers in ``z`` per image; ``dim`` must divide it.
        dim: numbers of a token.
        entries: of the codebook.
        decay: of the moving averages, in [0, 1).
        commitment: weight of the penalty, 0 or more.
        revive: an entry whose average count of tokens in a step falls below this is replaced by a token of
            that step; 0 leaves it.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(
        self,
        latent: int,
        dim: int = 8,
        entries: int = 512,
        decay: float = 0.99,
        commitment: float = 1.0,
        revive: float = 0.0,
    ) -> None:
        super().__init__(latent, dim, entries)
        self.commitment = above("commitment", commitment, 0)
        if above("decay", decay, 0) >= 1:
            raise ValueError(f"decay must be below 1, got {decay}")
        self.codebook = VectorQuantize(
            dim=dim,
            codebook_size=entries,
            decay=decay,
            threshold_ema_dead_code=above("revive", revive, 0),
            rotation_trick=False,
        )
        self.codebook._codebook.all_reduce_fn = summed

    def quantise(self, tokens: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Replace tokens (N, tokens, dim) by the nearest entries."""
        quantised, indices, _ = self.codebook(tokens)
        self.codebook.zero.requires_grad_(False)  # the library turns it on, and counting FLOPs fails of it
        penalty = (tokens - quantised.detach()).square().sum((1, 2))
        return quantised, self.commitment * penalty, indices[..., None]

    def nearest(self, tokens: Tensor) -> Tensor:
        """Return the index of the nearest entry, (N, tokens, 1)."""
        return nearest_entry(tokens, self.codebook.codebook)[..., None]

    def price(self, tokens: Tensor, quantised: Tensor) -> Tensor:
        """Commitment times the squared distance, (N,)."""
        return self.commitment * (tokens - quantised).square().sum((1, 2))

    def lookup(self, indices: Tensor) -> Tensor:
        """Return ``z`` (N, latent) of indices (N, tokens, 1)."""
        entries: Tensor = self.codebook.codebook
        return torch.nn.functional.embedding(indices[..., 0], entries).flatten(1)


def summed(statistics: Tensor) -> None:
    """Add up, in place, what each device has counted of a codebook.

    The library decides whether there are several devices when it is built, which here is before they start.
    """
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(statistics)

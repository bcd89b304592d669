"""A latent of tokens, each the sum of entries of several codebooks."""

import torch
from torch import Tensor
from vector_quantize_pytorch import ResidualVQ

from caelab.bottlenecks.bottleneck import Discrete, above, nearest_entry
from caelab.bottlenecks.vq import summed


class RVQ(Discrete):
    """Residual vector quantisation: each codebook quantises what those before it have left.

    Zeghidour et al., "SoundStream" (2021), algorithm 1, carried by ``vector_quantize_pytorch``.

    Args:
        latent: numbers in ``z`` per image; ``dim`` must divide it.
        dim: numbers of a token.
        entries: of each codebook.
        codebooks: that add up to a token, 2 or more.
        decay: of the moving averages, in [0, 1).
        commitment: weight of the penalty, 0 or more; see ``VQ``.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(
        self,
        latent: int,
        dim: int = 16,
        entries: int = 512,
        codebooks: int = 2,
        decay: float = 0.99,
        commitment: float = 1.0,
    ) -> None:
        super().__init__(latent, dim, entries, codebooks)
        if codebooks < 2:
            raise ValueError(f"codebooks must be at least 2, got {codebooks}; bottleneck=vq has one")
        self.commitment = above("commitment", commitment, 0)
        if above("decay", decay, 0) >= 1:
            raise ValueError(f"decay must be below 1, got {decay}")
        self.codebook = ResidualVQ(
            dim=dim,
            codebook_size=entries,
            num_quantizers=codebooks,
            decay=decay,
            threshold_ema_dead_code=0,
            rotation_trick=False,
        )
        for layer in self.codebook.layers:
            layer._codebook.all_reduce_fn = summed

    def quantise(self, tokens: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Replace tokens (N, tokens, dim) by sums of entries."""
        quantised, indices, _ = self.codebook(tokens)
        for layer in self.codebook.layers:
            layer.zero.requires_grad_(False)  # as in ``VQ``
        quantised = tokens + (quantised - tokens).detach()  # once; each layer has passed its own rest through
        penalty = (tokens - quantised.detach()).square().sum((1, 2))
        return quantised, self.commitment * penalty, indices

    def nearest(self, tokens: Tensor) -> Tensor:
        """Return the indices of the nearest entry to what is left each time, (N, tokens, codebooks)."""
        indices = []
        for entries in self.codebook.codebooks:
            indices.append(nearest_entry(tokens, entries))
            tokens = tokens - torch.nn.functional.embedding(indices[-1], entries)
        return torch.stack(indices, -1)

    def price(self, tokens: Tensor, quantised: Tensor) -> Tensor:
        """Commitment times the squared distance, (N,)."""
        return self.commitment * (tokens - quantised).square().sum((1, 2))

    def lookup(self, indices: Tensor) -> Tensor:
        """Return ``z`` (N, latent) of indices (N, tokens, codebooks)."""
        books = zip(indices.unbind(-1), self.codebook.codebooks, strict=True)
        parts = [torch.nn.functional.embedding(index, entries) for index, entries in books]
        return torch.stack(parts).sum(0).flatten(1)

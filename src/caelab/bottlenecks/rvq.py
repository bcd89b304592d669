"""A latent of tokens, each the sum of entries of several codebooks."""

from torch import Tensor
from vector_quantize_pytorch import ResidualVQ

from caelab.bottlenecks.bottleneck import Discrete, above
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
        penalty = (tokens - quantised.detach()).square().sum((1, 2))
        return quantised, self.commitment * penalty, indices

    def lookup(self, indices: Tensor) -> Tensor:
        """Return ``z`` (N, latent) of indices (N, tokens, codebooks)."""
        codes: Tensor = self.codebook.get_output_from_indices(indices)
        return codes.flatten(1)

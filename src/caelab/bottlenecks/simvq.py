"""A latent of tokens, with a codebook that is one linear layer of fixed random entries."""

import torch
from torch import Tensor
from vector_quantize_pytorch import SimVQ as Quantiser

from caelab.bottlenecks.bottleneck import Discrete, above, nearest_entry


class SimVQ(Discrete):
    """Vector quantisation whose whole codebook moves with every step, so that no entry is left behind.

    Zhu et al., "Addressing Representation Collapse in Vector Quantized Models with One Linear Layer" (2024),
    carried by ``vector_quantize_pytorch``. The penalty of an image is ``|h - z|^2`` with the gradient to the
    codebook, and ``commitment`` times the same with the gradient to the encoder.

    Args:
        latent: numbers in ``z`` per image; ``dim`` must divide it.
        dim: numbers of a token.
        entries: of the codebook.
        commitment: weight of the encoder's part, 0 or more.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(self, latent: int, dim: int = 8, entries: int = 512, commitment: float = 0.25) -> None:
        super().__init__(latent, dim, entries)
        self.commitment = above("commitment", commitment, 0)
        self.codebook = Quantiser(dim=dim, codebook_size=entries, rotation_trick=False)

    def quantise(self, tokens: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Replace tokens (N, tokens, dim) by the nearest entries."""
        quantised, indices, _ = self.codebook(tokens)
        entries = self.codebook.indices_to_codes(indices)  # with their gradient, unlike ``quantised``
        learnt = (tokens.detach() - entries).square().sum((1, 2))
        committed = (tokens - entries.detach()).square().sum((1, 2))
        return quantised, learnt + self.commitment * committed, indices[..., None]

    def nearest(self, tokens: Tensor) -> Tensor:
        """Return the index of the nearest entry, (N, tokens, 1)."""
        return nearest_entry(tokens, self.codebook.codebook)[..., None]

    def price(self, tokens: Tensor, quantised: Tensor) -> Tensor:
        """Squared distance, for the codebook and with ``commitment`` for the encoder, (N,)."""
        return (1 + self.commitment) * (tokens - quantised).square().sum((1, 2))

    def lookup(self, indices: Tensor) -> Tensor:
        """Return ``z`` (N, latent) of indices (N, tokens, 1)."""
        entries: Tensor = self.codebook.codebook
        return torch.nn.functional.embedding(indices[..., 0], entries).flatten(1)

"""What every bottleneck of the lab is."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn


class Crossing(NamedTuple):
    """What comes out of a bottleneck.

    Attributes:
        z: what reaches the decoder, (N, latent) float32.
        penalty: of each image, (N,), on the scale of squared errors summed over an image; None is no penalty.
        indices: of a discrete code, (N, tokens, codebooks) int64; None for any other.
    """

    z: Tensor
    penalty: Tensor | None = None
    indices: Tensor | None = None


class Bottleneck(nn.Module, ABC):
    """Base of all bottlenecks.

    Args:
        latent: numbers in ``z`` per image.

    Attributes:
        asks: numbers that the encoder gives for each of ``latent``.
        random: whether training draws, and so needs keys. Outside training nothing is drawn.
        near_normal: whether training holds codes near the standard normal, which can then be drawn from.
        bit_price: what a bit adds to the penalty, where that counts nothing but bits; None of any other.
        needs_places: whether it works only on codes that keep their place.
        grid: rows and columns of the places of a code that keeps its place; None of any other.
    """

    asks: ClassVar[int] = 1
    random: ClassVar[bool] = False
    near_normal: ClassVar[bool] = False
    bit_price: float | None = None
    needs_places: ClassVar[bool] = False
    grid: tuple[int, int] | None = None

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent

    @abstractmethod
    def forward(self, h: Tensor, key: Tensor | None = None) -> Crossing:
        """Let a latent cross.

        Args:
            h: what the encoder gives, (N, asks * latent).
            key: of each image, (N,) int64; only in training, and only where ``random``.
        """

    @property
    def bits(self) -> float | None:
        """Bits of a discrete code per image: tokens times log2 of the entries; None for any other."""
        return None

    def at_places(self, numbers: int) -> None:  # noqa: B027 - most kinds treat all numbers alike
        """Be told that ``latent`` numbers are ``numbers`` of different meaning, again at every place."""

    def start_from(self, h: Tensor) -> None:  # noqa: B027 - most kinds start the same for all data
        """Be shown latents (M, asks * latent) of training images before the first step."""

    def start_epoch(self, epoch: int) -> None:  # noqa: B027 - most kinds are the same in every epoch
        """Be told which epoch of training begins, counted from 0."""

    def pull(self, h: Tensor) -> Tensor | float:
        """Minus half the gradient of the penalty at a latent (N, latent), for an encoder that takes steps.

        Such an encoder refuses a kind that has no such method.
        """
        raise NotImplementedError

    def movable(self, z: Tensor) -> Tensor:
        """Which numbers of a ``z`` (N, latent) a fit to the image may change: all, (N, latent) bool."""
        return torch.ones_like(z, dtype=torch.bool)

    def measure(self, codes: Crossing) -> dict[str, float]:
        """Figures of the codes of a whole split: name -> number."""
        return {}


_AT_ONCE = 256  # tokens


class Discrete(Bottleneck):
    """Base of the kinds whose code is indices: the latent is cut into tokens that share one codebook.

    Args:
        latent: numbers in ``z`` per image; ``dim`` must divide it.
        dim: numbers of a token.
        entries: of the codebook; of each, where there are several.
        codebooks: that add up to a token.

    Attributes:
        learnt: whether the entries are learnt from tokens, of which there must then be as many.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    learnt: ClassVar[bool] = True

    def __init__(self, latent: int, dim: int, entries: int, codebooks: int = 1) -> None:
        super().__init__(latent)
        for name, value, least in (("dim", dim, 1), ("entries", entries, 2), ("codebooks", codebooks, 1)):
            whole_number(name, value, least)
        if latent % dim:
            near = ", ".join(str(n) for n in range(max(1, dim - 3), dim + 4) if latent % n == 0)
            hint = f"; {near} would" if near else ""
            raise ValueError(f"dim must divide the {latent} numbers of the latent, got {dim}{hint}")
        self.dim, self.entries, self.codebooks = dim, entries, codebooks

    @property
    def tokens(self) -> int:
        """Tokens of an image."""
        return self.latent // self.dim

    @property
    def bits(self) -> float:
        """Tokens times codebooks times log2 of the entries."""
        return self.tokens * self.codebooks * math.log2(self.entries)

    def forward(self, h: Tensor, key: Tensor | None = None) -> Crossing:
        """Let a latent (N, latent) cross, in float32."""
        tokens = h.float().reshape(-1, self.tokens, self.dim)
        with torch.autocast(h.device.type, enabled=False):
            if self.training:
                quantised, penalty, indices = self.quantise(tokens)
            else:
                indices = self.nearest(tokens.detach()).long()
                quantised = self.lookup(indices).detach().reshape(tokens.shape)
                penalty = self.price(tokens, quantised)
                if torch.is_grad_enabled():  # of the encoder, straight through: 0 is added
                    quantised = quantised + (tokens - tokens.detach())
        return Crossing(quantised.flatten(1), penalty, indices.long())

    @abstractmethod
    def quantise(self, tokens: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Replace tokens in training: by what, (N, tokens, dim); penalty (N,); indices.

        Args:
            tokens: (N, tokens, dim).
        """

    @abstractmethod
    def nearest(self, tokens: Tensor) -> Tensor:
        """Return the indices (N, tokens, codebooks) of tokens (N, tokens, dim), outside training.

        Without a branch on what the codebook holds, so that it can be exported.
        """

    def price(self, tokens: Tensor, quantised: Tensor) -> Tensor | None:
        """Penalty (N,) of tokens that were replaced, (N, tokens, dim) each, outside training."""
        return None

    @abstractmethod
    def lookup(self, indices: Tensor) -> Tensor:
        """Return ``z`` (N, latent) of indices (N, tokens, codebooks)."""

    def measure(self, codes: Crossing) -> dict[str, float]:
        """``usage``: share of the entries that occur; ``perplexity``: 2 to the entropy of their frequencies.

        Each is the mean over the codebooks, and at most 1 and ``entries``.
        """
        assert codes.indices is not None
        usage, perplexity = [], []
        for book in codes.indices.flatten(0, 1).T:  # (N * tokens,)
            counts = book.unique(return_counts=True)[1].double()
            shares = counts / counts.sum()
            usage.append(len(shares) / self.entries)
            perplexity.append(float((-(shares * shares.log()).sum()).exp()))
        return {
            "usage": sum(usage) / self.codebooks,
            "perplexity": sum(perplexity) / self.codebooks,
        }


def nearest_entry(tokens: Tensor, entries: Tensor) -> Tensor:
    """Index of the entry (entries, dim) nearest to each token (..., dim), (...).

    A few tokens at a time, since those of a batch times all entries fit no processor's cache.
    """
    lengths, flat = entries.square().sum(1), tokens.reshape(-1, entries.shape[1])
    parts = [flat] if torch.compiler.is_exporting() else torch.split(flat, _AT_ONCE)
    nearest = torch.cat([torch.addmm(lengths, part, entries.T, alpha=-2).argmin(1) for part in parts])
    return nearest.reshape(tokens.shape[:-1])


def whole_number(name: str, value: object, least: int) -> int:
    """Return ``value`` if it is a whole number of ``least`` or more.

    Raises:
        ValueError: it is not; the message starts with ``name``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r}")
    return value


def above(name: str, value: object, least: float, *, equal: bool = True) -> float:
    """Return ``value`` if it is a number of ``least`` or more; where not ``equal``, above it.

    Raises:
        ValueError: it is not; the message starts with ``name``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number, got {value!r}")
    if value < least or (value == least and not equal):
        raise ValueError(f"{name} must be {'at least' if equal else 'above'} {least:g}, got {value}")
    return float(value)

"""What every network of the lab is: an encoder, a decoder, and the code between them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from caelab.bottlenecks.bottleneck import Bottleneck
from caelab.bottlenecks.none import Plain
from caelab.data.scale import unit

_SHOWN = 1000  # training images that a bottleneck is shown


class Code(NamedTuple):
    """What the encoder hands the decoder, and nothing else may reach it.

    Attributes:
        z: the latent, (N, latent).
        skips: the tensors that go around the latent, each (N, ...); empty for an honest bottleneck.
        penalty: of the bottleneck, (N,), on the scale of squared errors summed over an image; None is none.
        indices: of a discrete latent, (N, tokens, codebooks) int64; None of any other.
    """

    z: Tensor
    skips: tuple[Tensor, ...] = ()
    penalty: Tensor | None = None
    indices: Tensor | None = None

    @property
    def numbers(self) -> int:
        """Numbers per image that reach the decoder: the effective code size."""
        return sum(t[0].numel() for t in (self.z, *self.skips))


class Images(Protocol):
    """Images (N, C, H, W), not always in memory in one piece: a tensor, or a split of a dataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Tensor: ...


class Autoencoder(nn.Module, ABC):
    """Base of all networks.

    Args:
        shape: (C, H, W) of one image; given by the dataset, never by the user.
        latent: numbers in ``z`` per image, at least ``least_latent``.
        bottleneck: builds what the latent passes, from ``latent``; None lets it pass as it is.
        grid: rows and columns of the places of a code that keeps its place; None of any other.

    Attributes:
        floor: its name in figures, such as ``PCA``, where it is a floor: fitted without a gradient, and what
            any network must beat with as many numbers. Empty for all others. Runs have it on their record.
        by_place: whether ``encode`` is told in training which image it is given, by its place among the
            training images, so that it can keep something of it.
        kept: what it keeps of M training images, (2, M, ...), or None; part of a checkpoint to go on from.
        steps: of its encoder towards the code of an image, which may be changed in a trained network; None
            where it takes none.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    least_latent: ClassVar[int] = 1
    floor: str = ""
    by_place: ClassVar[bool] = False
    kept: Tensor | None = None
    steps: int | None = None

    def __init__(
        self,
        shape: Sequence[int],
        latent: int,
        bottleneck: Callable[[int], Bottleneck] | None = None,
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        self.latent = at_least(self.least_latent, "latent", latent)
        self.bottleneck = bottleneck_of(bottleneck or Plain, self.latent)
        if self.bottleneck.needs_places and grid is None:
            kind = type(self.bottleneck).__name__.lower()
            raise ValueError(
                f"bottleneck={kind} codes a patch by those around it, and this model's code has no patches; "
                "use model=spatial or spatial_auto_decoder"
            )
        self.bottleneck.grid = grid

    @property
    def size(self) -> int:
        """Numbers learnt from data: what a fair comparison counts as the size of the network."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    @property
    def weight(self) -> Tensor:
        """One of its floating-point tensors, which tells the device and the precision of all."""
        floating = (one for one in self.state_dict().values() if one.is_floating_point())
        return next(floating, torch.zeros(()))

    @abstractmethod
    def encode(self, x: Tensor, key: Tensor | None = None) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to their code.

        Args:
            x: the images.
            key: of each, (N,) int64, for a bottleneck that draws; of a network that goes ``by_place`` its
                place, M more if it is mirrored; only in training.
        """

    @abstractmethod
    def decode(self, code: Code) -> Tensor:
        """Map a code to ``x_hat`` (N, C, H, W), float32 in [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct ``x`` (N, C, H, W) in [0, 1] as ``x_hat`` of the same shape, float32 in [0, 1]."""
        return self.decode(self.encode(x))

    def make_room(self, images: int) -> None:  # noqa: B027 - most networks keep nothing of an image
        """Be ready to keep something of each of so many training images, where it goes ``by_place``."""

    def initialise(self, images: Images) -> None:
        """Set weights from the training images, as a split gives them, once, before the first gradient step.

        Most networks start from random weights, and show their bottleneck what these make of some images. A
        network without a trainable parameter is fitted by this alone.
        """
        self.start_bottleneck(images)

    @torch.no_grad()
    def start_bottleneck(self, images: Images) -> None:
        """Show the bottleneck latents of some training images (N, C, H, W), if it wants to see any."""
        if type(self.bottleneck).start_from is Bottleneck.start_from:
            return
        rows = range(0, len(images), -(-len(images) // _SHOWN))
        # in one piece: small tensors that stay would break up the memory that large ones leave
        shown = torch.empty(len(rows), self.bottleneck.asks * self.latent, device=self.weight.device)
        seen: list[Tensor] = []
        hook = self.bottleneck.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        training = self.training
        self.eval()
        for place, row in enumerate(rows):
            self.encode(unit(images[row : row + 1].to(self.weight.device)).to(self.weight.dtype))
            shown[place] = seen.pop()[0]
        hook.remove()
        self.train(training)
        self.bottleneck.start_from(shown)

    def initialise_from(self, images: Images, corrupted: Images) -> None:
        """As ``initialise``, for a network that also wants to know what it will be given.

        Args:
            images: clean training images (N, C, H, W) of a split.
            corrupted: the same images as the network is given them, float32 in [0, 1].
        """
        self.initialise(images)

    @torch.inference_mode()
    def reconstruct(self, images: Tensor) -> Tensor:
        """Reconstruct images outside training: eval mode, no gradient.

        Args:
            images: (N, C, H, W), uint8 in [0, 255] or floating point in [0, 1].

        Returns:
            (N, C, H, W) float32 in [0, 1].
        """
        x = unit(images.to(self.weight.device)).to(self.weight.dtype)
        training = self.training
        try:
            return self.eval()(x)  # type: ignore[no-any-return]
        finally:
            self.train(training)


def bottleneck_of(kind: Callable[[int], Bottleneck], latent: int) -> Bottleneck:
    """Build a bottleneck for a latent.

    Raises:
        ValueError: it refuses a value; the message starts with the key.
    """
    try:
        return kind(latent)
    except ValueError as error:
        raise ValueError(f"bottleneck.{error}") from None


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return ``shape`` if it is (C, H, W) of an image.

    Raises:
        ValueError: it is not.
    """
    if len(shape) != 3:
        raise ValueError(f"shape must be (channels, height, width), got {tuple(shape)}")
    channels, height, width = (at_least(1, "shape", n) for n in shape)
    return channels, height, width


def at_least(least: int, name: str, value: object) -> int:
    """Return ``value`` if it is a whole number of ``least`` or more.

    Raises:
        ValueError: it is not; the message starts with ``name``.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return value


def each_at_least(least: int, name: str, values: object) -> tuple[int, ...]:
    """Return ``values`` as a tuple if it is a list of whole numbers, each of ``least`` or more.

    Raises:
        ValueError: it is not; the message starts with ``name``.
    """
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ValueError(f"{name} must be a list of whole numbers, got {values!r}")
    return tuple(at_least(least, name, value) for value in values)

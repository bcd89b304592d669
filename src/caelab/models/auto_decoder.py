"""A decoder that is trained at codes of its own, one for each image; the encoder is steps towards them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from caelab.bottlenecks.bottleneck import Bottleneck, above
from caelab.draws import keys
from caelab.models.autoencoder import Code, Images, at_least
from caelab.models.residual import Corrected, Residual


class Stepped(Corrected):
    """A network of ``residual``'s kind whose codes are fitted to their images, in training too.

    The encoder starts from the projection on the principal components, ``z_0``, with ``v_0 = 0``::

        v_k = momentum * v_(k-1) + rate * J^T (x - decode(z_(k-1)))
        z_k = z_(k-1) + v_k

    with ``J`` the Jacobian of the decoder: gradient descent with momentum on the squared error of this image
    alone. Nothing of it is learnt. Under ``Entropy``, whose bits have a price, the steps descend the squared
    error and the price of the code's bits together, before it is rounded: Campos et al., "Content Adaptive
    Optimization for Neural Image Compression" (2019). Where a code fits its image, the error does not
    change with it, so the decoder has the same gradient without one through the encoder (the envelope
    theorem).

    In training each image has a stored code, which moves by one step of that gradient at every visit: the
    pass that trains the decoder gives it as well. The first visit starts from the projection. A mirrored
    image has a code of its own. Nothing stored is used outside training, where a code hangs on its image
    alone. Bojanowski et al., "Optimizing the Latent Space of Generative Networks" (2018); Park et al.,
    "DeepSDF: Learning Continuous Signed Distance Functions" (2019).

    Attributes:
        kept: codes (2, M, latent) float32 of M training images and their mirror images; NaN before the first
            visit.
    """

    by_place = True
    steps: int

    def fit_by(self, steps: int, rate: float, momentum: float, stored_rate: float) -> None:
        """Encode by so many steps; to be called once the layers are built.

        Args:
            steps: of the encoder, each of which costs two passes of the decoder; 0 leaves the projection.
            rate: of these steps, above 0.
            momentum: of these steps, in [0, 1).
            stored_rate: of the step of a stored code, above 0.

        Raises:
            ValueError: a value that cannot be; the message starts with the parameter's name.
        """
        if type(self.bottleneck).pull is Bottleneck.pull:
            kind = type(self.bottleneck).__name__
            known = (
                "entropy or hyperprior" if self.bottleneck.grid is None else "entropy, hyperprior or context"
            )
            raise ValueError(
                f"bottleneck: the steps of this model's encoder cannot follow {kind}; use none, {known}"
            )
        for parameter in self.to_latent.parameters():  # no gradient leads there
            parameter.requires_grad_(False)
        self.steps = at_least(0, "steps", steps)
        self.rate = above("rate", rate, 0, equal=False)
        self.stored_rate = above("stored_rate", stored_rate, 0, equal=False)
        if isinstance(momentum, bool) or not isinstance(momentum, int | float) or not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {momentum!r}")
        self.momentum = momentum

    @property
    def size(self) -> int:
        """Numbers learnt from data: those of the projection, too, which no gradient moves."""
        return sum(parameter.numel() for parameter in self.parameters())

    def make_room(self, images: int) -> None:
        """Be ready for the codes of so many training images."""
        shape, device = (2, images, self.latent), self.weight.device
        self.kept = torch.full(shape, torch.nan, dtype=torch.float32, device=device)

    def start_bottleneck(self, images: Images) -> None:
        """Show the bottleneck projections of some training images: steps have no price to follow yet."""
        steps, self.steps = self.steps, 0
        super().start_bottleneck(images)
        self.steps = steps

    def encode(self, x: Tensor, key: Tensor | None = None) -> Code:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``Code(z)``, z (N, latent) float32.

        Args:
            x: the images.
            key: in training, the place of each among the training images, (N,) int64; M more if mirrored.
        """
        if self.training and key is not None:
            # the generator starts anew with each epoch, so a resumed run draws the same
            drawn = keys(key, int(torch.randint(1 << 31, ()))) if self.bottleneck.random else None
            return self._crossed(self._stored(x, key), drawn)
        z, v = self._project(x), torch.zeros((), device=x.device)
        for _ in range(self.steps):
            v = self.momentum * v + self.rate * (self._pull(z, x) + self.bottleneck.pull(z))
            z = z + v
        return self._crossed(z, None)

    def _stored(self, x: Tensor, places: Tensor) -> Tensor:
        """Stored codes (N, latent), which move with the gradient that reaches them."""
        assert self.kept is not None
        codes = self.kept.view(-1, self.latent)
        with torch.no_grad():
            z = torch.where(codes[places].isnan(), self._project(x), codes[places])
        scale = self.stored_rate * x.numel() / 2  # J^T (x - x_hat) is of half the sum; the loss is a mean

        def move(gradient: Tensor) -> None:
            codes[places] = z - scale * gradient

        leaf = z.clone().requires_grad_()
        leaf.register_hook(move)  # type: ignore[no-untyped-call]
        return leaf


class AutoDecoder(Stepped, Residual):
    """The decoder of ``Residual``; its encoder is steps towards the code of an image: see ``Stepped``.

    Args:
        shape: (C, H, W) of one image.
        latent: numbers in ``z``, at most C*H*W and the number of training images.
        channels: of the decoder's blocks.
        blocks: of the decoder.
        steps: of the encoder; this and the rest as of ``Stepped.fit_by``.
        rate: see there.
        momentum: see there.
        stored_rate: see there.
        bottleneck: see ``Autoencoder``; one whose cost the steps can follow.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 256,
        channels: int = 48,
        blocks: int = 3,
        steps: int = 8,
        rate: float = 0.7,
        momentum: float = 0.5,
        stored_rate: float = 1.0,
        bottleneck: Callable[[int], Bottleneck] | None = None,
    ) -> None:
        super().__init__(shape, latent, channels, blocks, encoder_blocks=0, steps=0, bottleneck=bottleneck)
        self.fit_by(steps, rate, momentum, stored_rate)

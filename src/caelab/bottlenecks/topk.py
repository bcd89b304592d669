"""A latent of which few numbers differ from 0."""

from torch import Tensor

from caelab.bottlenecks.bottleneck import Bottleneck, Crossing


class TopK(Bottleneck):
    """Of each image the ``k`` numbers of largest size cross; the others are 0.

    Makhzani and Frey, "k-Sparse Autoencoders" (2014), by size instead of value, in training as outside it.

    Args:
        latent: numbers in ``z`` per image.
        k: of them, from 1 to ``latent``; of an image of another size, see ``Spatial.at``, the same share.

    Raises:
        ValueError: a value that cannot be; the message starts with the parameter's name.
    """

    def __init__(self, latent: int, k: int = 32) -> None:
        super().__init__(latent)
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= latent:
            raise ValueError(f"k must be a whole number from 1 to {latent}, the latent, got {k!r}")
        self._share = k / latent

    @property
    def k(self) -> int:
        """Numbers of an image that cross, 1 or more."""
        return max(1, round(self._share * self.latent))

    def forward(self, h: Tensor, key: Tensor | None = None) -> Crossing:
        """Let a latent (N, latent) cross."""
        places = h.abs().topk(self.k, dim=1).indices
        return Crossing(h.new_zeros(h.shape).scatter(1, places, h.gather(1, places)))

    def movable(self, z: Tensor) -> Tensor:
        """Those that have crossed, (N, latent) bool."""
        return z != 0

    def measure(self, codes: Crossing) -> dict[str, float]:
        """``active_numbers``: how many numbers are not 0 in at least one image."""
        return {"active_numbers": float((codes.z != 0).any(0).sum())}

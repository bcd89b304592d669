"""No bottleneck but the size of the latent."""

from torch import Tensor

from caelab.bottlenecks.bottleneck import Bottleneck, Crossing


class Plain(Bottleneck):
    """The latent crosses as it is."""

    def forward(self, h: Tensor, key: Tensor | None = None) -> Crossing:
        """Return ``h`` (N, latent)."""
        return Crossing(h)

    def pull(self, h: Tensor) -> float:
        """Return 0: a latent costs nothing."""
        return 0.0

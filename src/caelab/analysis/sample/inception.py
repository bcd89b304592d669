"""FID: the Fréchet distance on what Inception makes of images, with the weights of torch-fidelity."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance

from caelab.errors import UserError, installed
from caelab.inference.images import to_bytes
from caelab.metrics.pretrained import checkpoint

SHA256 = "6726825d"
"""First digits of the checksum of Inception's weights, which the name of their file has, too."""

_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
_AT_ONCE = 50  # images, each of which Inception sees at 299x299


def metric() -> FrechetInceptionDistance:
    """Return FID: Heusel et al. (2017), eq. 6, on the 2,048 features of Inception's last pooling.

    Raises:
        UserError: torch-fidelity or the weights are not there, or these are others.
    """
    if not installed("torch-fidelity"):
        raise UserError("--fid: torch-fidelity is not installed; pip install 'caelab[fid]'")
    file = checkpoint(_URL, SHA256, "--fid needs the weights of Inception")
    with torch.random.fork_rng(devices=[]):  # it draws weights before it reads them
        return FrechetInceptionDistance(reset_real_features=False, feature_extractor_weights_path=str(file))


class Fid:
    """Holds sets of images against real ones.

    Images come in batches (n, C, H, W) of a split, grey or RGB; Inception sees them as bytes, a grey one as
    three equal channels.

    Args:
        metric: see there.
        real: the real images, 2 or more.
        device: that Inception runs on.
    """

    def __init__(self, metric: FrechetInceptionDistance, real: Iterable[Tensor], device: torch.device):
        # What it sums is float64, which only these two have.
        self._metric = metric.to(device if device.type == "cuda" else "cpu")
        self._see(real, real=True)

    def __call__(self, images: Iterable[Tensor]) -> float:
        """FID of a set of 2 images or more, 0 or more."""
        self._metric.reset()
        self._see(images, real=False)
        return max(0.0, float(self._metric.compute()))

    @torch.inference_mode()
    def _see(self, batches: Iterable[Tensor], real: bool) -> None:
        for part in (part for batch in batches for part in torch.split(batch, _AT_ONCE)):
            self._metric.update(to_bytes(part).expand(-1, 3, -1, -1).to(self._metric.device), real=real)

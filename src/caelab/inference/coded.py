"""Codes that a bottleneck has rounded and priced (``bottleneck=entropy``), as one stream of a file."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caelab.bottlenecks.entropy import Entropy
from caelab.bottlenecks.entropy_coder import Stream
from caelab.errors import UserError

ARRAYS = ("words", "far", "check", "tables")
"""What a file holds of it: a ``Stream``, and the digest of the tables that it was coded by."""


def pack(bottleneck: Entropy, latents: Sequence[Tensor]) -> tuple[dict[str, Any], list[float]]:
    """Code latents (N, latent), batch by batch of as many images, as one stream.

    Returns:
        The arrays of a file, and bytes of each image: its part of the stream by the bits that the densities
        expect of it.

    Raises:
        UserError: constriction is not installed.
    """
    coder = bottleneck.coder()
    with torch.inference_mode():
        placed = [z.to(bottleneck.gain.device) for z in latents]
        whole = [bottleneck.whole(z).cpu().numpy().astype(np.int32) for z in placed]
        bits = torch.cat([bottleneck.bits_of(z).cpu() for z in placed]).double()
    stream = coder.encode(np.concatenate(whole))
    parts = (stream.nbytes * bits / bits.sum()).tolist()
    return dict(zip(ARRAYS, (*stream, coder.digest), strict=True)), parts


def unpack(bottleneck: Entropy, found: dict[str, NDArray[Any]], latents: int) -> Tensor:
    """Read so many numbers ``z`` again, (latents,) float32: those of ``pack``, one image behind the other.

    Raises:
        UserError: other tables follow from these weights on this machine, or constriction is not installed.
        ValueError: the stream is damaged.
    """
    coder = bottleneck.coder()
    if (theirs := str(found["tables"])) != coder.digest:
        raise UserError(
            f"coded by tables {theirs[:16]}; of the same weights this machine computes {coder.digest[:16]}: "
            "decode on the kind of machine that encoded"
        )
    stream = Stream(found["words"], found["far"], int(found["check"]))
    whole = coder.decode(stream, latents // len(bottleneck.gain))
    with torch.inference_mode():
        z = bottleneck.value(torch.from_numpy(whole).to(bottleneck.gain.device).float())
        return z.flatten().cpu()

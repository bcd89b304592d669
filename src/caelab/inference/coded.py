"""Codes that a bottleneck has rounded and priced (``bottleneck=entropy``), as one stream of a file."""

from collections.abc import Sequence
from itertools import accumulate
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


def pack(bottlenecks: Sequence[Entropy], latents: Sequence[Tensor]) -> tuple[dict[str, Any], list[float]]:
    """Code latents (N, latent), batch by batch of as many images, as one stream.

    Args:
        bottlenecks: of each image: the same, but that pictures of another size have other places.
        latents: of each batch, whose images are of one size.

    Returns:
        The arrays of a file, and bytes of each image: its part of the stream by the bits that the densities
        expect of it.

    Raises:
        UserError: constriction is not installed.
    """
    coder = bottlenecks[0].coder()
    with torch.inference_mode():
        places = accumulate(map(len, latents), initial=0)
        batches = [(bottlenecks[at], z) for at, z in zip(places, latents, strict=False)]
        placed = [(one, z.to(one.gain.device)) for one, z in batches]
        whole = [one.whole(z).cpu().numpy().astype(np.int32) for one, z in placed]
        bits = torch.cat([one.bits_of(z).cpu() for one, z in placed]).double()
    stream = coder.encode(np.concatenate(whole), [one.grid for one in bottlenecks])
    parts = (stream.nbytes * bits / bits.sum()).tolist()
    return dict(zip(ARRAYS, (*stream, coder.digest), strict=True)), parts


def unpack(bottlenecks: Sequence[Entropy], found: dict[str, NDArray[Any]]) -> Tensor:
    """Read the latents of ``pack`` again, one behind the other, (n,) float32.

    Args:
        bottlenecks: of each image.
        found: the arrays of a file.

    Raises:
        UserError: other tables follow from these weights on this machine, or constriction is not installed.
        ValueError: the stream is damaged.
    """
    bottleneck = bottlenecks[0]
    coder = bottleneck.coder()
    if (theirs := str(found["tables"])) != coder.digest:
        raise UserError(
            f"coded with tables {theirs[:16]}; this machine computes {coder.digest[:16]} from the same "
            "weights: decode on the kind of machine that encoded it"
        )
    stream = Stream(found["words"], found["far"], int(found["check"]))
    count = sum(one.latent for one in bottlenecks) // len(bottleneck.gain)
    whole = coder.decode(stream, count, [one.grid for one in bottlenecks])
    with torch.inference_mode():
        z = bottleneck.value(torch.from_numpy(whole).to(bottleneck.gain.device).float())
        return z.flatten().cpu()

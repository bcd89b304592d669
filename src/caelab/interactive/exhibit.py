"""What a page holds of one run: its networks, and the directions along which its code is moved."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from caelab import terminal
from caelab.analysis.look import codes, traversals
from caelab.analysis.look.codes import Directions
from caelab.analysis.runner import Subject
from caelab.analysis.sample import PRIORS
from caelab.analysis.sample.priors import Mixture, saved
from caelab.bottlenecks.bottleneck import Discrete
from caelab.inference import restore
from caelab.interactive.networks import networks
from caelab.models.autoencoder import Autoencoder, Code
from caelab.models.contract import require_contract
from caelab.models.spatial import Spatial
from caelab.runs import results
from caelab.runs.labels import display

AXES = 64
"""Principal axes that have a slider, at most: the longest."""

NUMBERS = 1_024
"""Single numbers that have a slider, at most: the widest."""

BASES = 2
"""Images from which the effect of a direction is measured: the first ones."""

_COMPARED = 8


@dataclass(frozen=True)
class Exhibit:
    """A run in a page.

    Attributes:
        about: what is small, as JSON has it.
        blobs: name -> what is large: ONNX files, and arrays of float32 in little-endian order.
    """

    about: dict[str, Any]
    blobs: dict[str, bytes]


def exhibit(subject: Subject, images: Tensor, shown: Tensor) -> Exhibit:
    """Make of a run what a page needs.

    Args:
        subject: the run.
        images: (N, C, H, W) of a split, from whose codes the directions are found.
        shown: (M, C, H, W) of a split; on the first of them the exported network is compared with the run's.

    Raises:
        UserError: a network whose code cannot be moved, or that has no export to ONNX.
    """
    record, net = subject.record, subject.network.float()
    require_contract(net, images)
    corruption = restore.corruption(record)
    if corruption.random and "." in (kind := _corruption(record.corruption)["kind"]):
        terminal.say(f"{terminal.shown(subject.run)}: a page cannot draw {kind}; its images are clean")
    blobs = networks(net, corruption, shown[:_COMPARED])
    z = codes.latents(net, images)
    priors = _priors(subject)
    first = codes.encode(net, images[:BASES])
    about = {
        "name": f"{record.choices['model']} on {display(record.choices['dataset'])}",
        "run": terminal.shown(subject.run),
        "psnr": record.metrics["test/psnr"],
        "shape": net.shape,
        "latent": net.latent,
        "skips": [tuple(skip.shape[1:]) for skip in first.skips],
        "corruption": _corruption(record.corruption),
        "tokens": _tokens(net),
        "places": _places(net),
        "priors": {
            name: {"title": PRIORS[name], "draws": len(prior) if isinstance(prior, Tensor) else 0}
            for name, prior in priors.items()
        },
    }
    for name, prior in priors.items():
        if isinstance(prior, Tensor):
            parts = {"draws": prior}
        else:
            parts = {"shares": prior.shares, "means": prior.means, "roots": prior.roots}
        blobs |= {f"{name}-{part}": _bytes(values.numpy()) for part, values in parts.items()}
    blobs["mean"] = _bytes(z.mean(0))
    if not isinstance(net.bottleneck, Discrete):
        directions, arrays = _directions(net, z, first)
        about |= directions
        blobs |= arrays
    return Exhibit(about, blobs)


def _priors(subject: Subject) -> dict[str, Mixture | Tensor]:
    """The priors that ``caelab sample`` has fitted to this very training."""
    path, result = subject.run / "sample.npz", results.analysis(subject.run, "sample", subject.record)
    if result is None or not path.is_file():
        return {}
    kept = saved(path, result["priors"])
    for name in result["priors"].keys() - kept.keys():
        terminal.say(
            f"{terminal.shown(subject.run)}: no draws of its {name} are kept, so the page has none; "
            "caelab sample has kept them since 0.10"
        )
    return kept


def _corruption(config: dict[str, Any]) -> dict[str, Any]:
    """Name of a corruption's class, with its module where it is not the lab's, and its arguments."""
    kind = config["_target_"].removeprefix("caelab.corruptions.")
    return {"kind": kind} | {key: value for key, value in config.items() if key != "_target_"}


def _tokens(net: Autoencoder) -> dict[str, int] | None:
    kind = net.bottleneck
    if not isinstance(kind, Discrete):
        return None
    return {"count": kind.tokens, "codebooks": kind.codebooks, "entries": kind.entries}


def _places(net: Autoencoder) -> dict[str, int] | None:
    """How ``z`` lies over the image, in squares of ``side`` pixels; None where a token can be of two."""
    if not isinstance(net, Spatial):
        return None
    if isinstance(net.bottleneck, Discrete) and net.latent_channels % net.bottleneck.dim:
        return None
    _, height, width = net.shape
    rows, columns = -(-height // net.factor), -(-width // net.factor)
    return {"rows": rows, "columns": columns, "side": net.factor}


def _directions(net: Autoencoder, z: codes.Floats, first: Code) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Principal axes and single numbers, each in the order of their effects on the picture."""
    axes = codes.principal_axes(z)
    axes = Directions(axes.vectors[:AXES], axes.deviations[:AXES])
    widest = np.argsort(-z.std(0), kind="stable")[:NUMBERS]
    numbers = codes.coordinates(z, widest)
    order, places = (
        np.argsort(-traversals.effects(net, first, kind), kind="stable") for kind in (axes, numbers)
    )
    about = {
        "axes": {"names": (order + 1).tolist()},
        "numbers": {"names": widest[places].tolist(), "deviations": numbers.deviations[places].tolist()},
    }
    moves = (axes.vectors * axes.deviations[:, None])[order]
    return about, {"moves": _bytes(moves)}


def _bytes(values: NDArray[Any]) -> bytes:
    return values.astype("<f4").tobytes()

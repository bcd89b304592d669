"""Draw each model of conf/model as its built network has it, for the table in README.md: ``make figures``.

Boxes are outputs of stages: as high as the image at that stage, as wide as its channels ask. Blue encodes,
green decodes, orange is what crosses the bottleneck, and grey arrows are skips inside one half.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from caelab.config import CONF
from caelab.models.taps import tapped

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "models"
SHAPE = (3, 32, 32)
HEIGHT, MIDDLE, GAP = 90, 48, 7
INK, BLUE, GREEN, ORANGE, GREY = "#7a7f87", "#4c78a8", "#54a24b", "#e4791c", "#9aa0a6"

Box = tuple[float, float, float]  # left, width, height


def drawing(net: nn.Module) -> str:
    """Return the SVG of a network for images of SHAPE."""
    encoder, decoder = (stages(getattr(net, half, None)) for half in ("encoder", "decoder"))
    with torch.no_grad(), tapped([*encoder, *decoder]) as outputs:
        code = net.eval().encode(torch.rand(1, *SHAPE))
        net.decode(code)
    shapes = [tuple(picture(outputs[place]).shape[1:]) for place in sorted(outputs)]
    inner, outer = shapes[: len(encoder)], shapes[len(encoder) : -1] if decoder else []
    boxes, parts, left = [], [], 2.0
    for colour, shape in [
        (INK, SHAPE),
        *((BLUE, shape) for shape in inner),
        (ORANGE, (code.z.shape[1],)),
        *((GREEN, shape) for shape in [start(net), *outer][: len(decoder)]),
        (INK, SHAPE),
    ]:
        box = (left, *extent(shape))
        boxes.append(box)
        parts.append(rectangle(box, colour))
        left += box[1] + GAP
    z = len(inner) + 1
    width = 0.6 if getattr(net, "narrow", None) else 1.6
    parts += [arc(boxes[level], boxes[-1 - level], ORANGE, 4 * level, width) for level in levels(net)]
    if inner and not hasattr(net, "deepest"):  # a correction beside a straight path
        parts += [arc(boxes[0], boxes[z], GREY, 12), arc(boxes[z], boxes[-1], GREY, 12)]
    for half, first in (("encoder_skips", 0), ("decoder_skips", z + 1)):
        for source, target in getattr(net, half, ()):
            parts.append(arc(boxes[first + source], boxes[first + target], GREY, 12))
    parts.append(text(boxes[z], f"{code.z.shape[1]}"))
    size = f'width="{left:.0f}" height="{HEIGHT}" viewBox="0 0 {left:.0f} {HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n' + "\n".join(parts) + "\n</svg>\n"


def stages(half: object) -> Sequence[nn.Module]:
    """Return the stages of an encoder or a decoder; one that is no list is a stage."""
    if half is None:
        return ()
    return tuple(half) if isinstance(half, nn.ModuleList | nn.Sequential) else (half,)


def picture(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return the picture of a stage that puts out more than one."""
    return output[0] if isinstance(output, tuple) else output


def start(net: nn.Module) -> tuple[int, ...]:
    """Return the shape that a decoder begins with."""
    return getattr(net, "deepest", SHAPE)


def levels(net: nn.Module) -> Sequence[int]:
    """Return the encoder's stages whose output goes around the latent."""
    return getattr(net, "skip_levels", ())


def extent(shape: Sequence[int]) -> tuple[float, float]:
    """Return the width and the height of a box, in pixels."""
    if len(shape) == 1:
        return 6, 6 + shape[0] ** 0.5
    return 4 + shape[0] / 8, 6 + 1.2 * shape[1]


def rectangle(box: Box, colour: str) -> str:
    """Return a box, centred in height."""
    left, width, height = box
    return (
        f'<rect x="{left:.1f}" y="{MIDDLE - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="1" fill="{colour}"/>'
    )


def arc(source: Box, target: Box, colour: str, drop: float, width: float = 1.6) -> str:
    """Return a curve over the boxes from one to another."""
    (a, aw, ah), (b, bw, bh) = source, target
    top = 2 + drop / 2
    ends = f"{a + aw / 2:.1f} {MIDDLE - ah / 2:.1f}", f"{b + bw / 2:.1f} {MIDDLE - bh / 2:.1f}"
    points = f"M{ends[0]} C{a + aw / 2:.1f} {top:.1f} {b + bw / 2:.1f} {top:.1f} {ends[1]}"
    return f'<path d="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def text(box: Box, words: str) -> str:
    """Return the numbers of the latent, below it."""
    style = f'font-family="sans-serif" font-size="9" text-anchor="middle" fill="{INK}"'
    return f'<text x="{box[0] + box[1] / 2:.1f}" y="{HEIGHT - 2}" {style}>{words}</text>'


def drawings() -> Iterator[tuple[str, str]]:
    """Yield the name and the drawing of each of the lab's own models."""
    for path in sorted(Path(CONF, "model").glob("*.yaml")):
        node = OmegaConf.load(path)
        if node._target_.startswith("caelab.models."):
            yield path.stem, drawing(instantiate(node, shape=SHAPE))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, svg in drawings():
        (FOLDER / f"{name}.svg").write_text(svg)

"""The parts of a look: what each computes, how to read it, and what it found."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from caelab.analysis.look import codes, figures, neighbours, sensitivity, traversals
from caelab.analysis.look.codes import Directions, Floats
from caelab.analysis.look.portrait import BASES, Portrait
from caelab.analysis.look.reconstructions import extremes
from caelab.data.scale import unit
from caelab.models.contract import pixels

MAPPED = 2_000
"""Most images on the map: more take t-SNE minutes and the page megabytes."""

_WALKS = 8  # directions
_LARGEST = "those with the largest effect on the picture, largest first"
_STEPS = np.arange(-3.0, 4.0)
_FADE = np.linspace(0, 1, 9)
_PAIRS = 4
_QUERIES = 6
_NEIGHBOURS = 7
_LOOKED_AT = 16  # coordinates
_DERIVATIVES = 64  # images
_FILTERS = 32
_FILTER_SIDE = 30  # pixels, so that the gaps between the pictures are none of theirs


@dataclass(frozen=True)
class Part:
    """A picture and what to make of it.

    Attributes:
        title: what it shows.
        how: one sentence that says how to read it.
        found: what was measured, a sentence; may be empty.
        figure: the picture; None where the model has nothing to show here, and ``found`` says why.
    """

    title: str
    how: str
    found: str
    figure: Figure | None


@dataclass(frozen=True)
class Sight:
    """What the parts are made from.

    Attributes:
        portrait: the model and its images.
        heading: names the run in each picture's title.
        classes: display name of each label that occurs.
        method: of the map, a key of ``maps.METHODS``.
        places: (M, 2), where the map puts the first M images.
    """

    portrait: Portrait
    heading: str
    classes: dict[int, str]
    method: str
    places: Floats

    def title(self, text: str) -> str:
        """Title of a picture that is also found without its page."""
        return f"{self.heading}: {text}"


def reconstructions(sight: Sight) -> Part:
    """Images that come back best, about the median, and worst."""
    portrait = sight.portrait
    decibels = portrait.decibels
    groups = {}
    for name, rows in extremes(decibels, min(figures.COLUMNS, len(decibels) // 3)).items():
        x = portrait.images[rows]
        x_hat = portrait.net.reconstruct(x).numpy()
        groups[name] = (unit(x, torch.float64).numpy(), x_hat, decibels[rows])
    low, middle, high = np.quantile(decibels, [0, 0.5, 1])
    return Part(
        "Reconstructions",
        "Each column is a test image above its reconstruction, its PSNR, and the absolute error "
        "averaged over the channels; white is no error, black the largest error shown.",
        f"PSNR is {decibels.mean():.2f} dB on average: median {middle:.2f}, from {low:.2f} to {high:.2f} dB.",
        figures.reconstructions(sight.title("best, median and worst by PSNR"), groups),
    )


def axes(sight: Sight) -> Part:
    """Walk along the principal axes that change the picture most."""
    portrait = sight.portrait
    shares = 100 * portrait.axes.deviations**2 / np.square(portrait.axes.deviations).sum()
    names = [f"axis {k + 1}\n{share:.1f} % of variance" for k, share in enumerate(shares)]
    return Part(
        "Walks along the principal axes of the codes",
        "The middle column is the reconstruction of the image whose code is nearest to the mean; to its "
        "left and right the code moves along one principal axis, by the standard deviations given below; "
        "what changes along a row is what that axis means to the decoder.",
        f"Shown are {min(_WALKS, len(names))} of {_count(len(names), 'axis', 'axes')}, {_LARGEST}.",
        _walks(sight, "principal axes", portrait.axes, portrait.axis_effects, names),
    )


def coordinates(sight: Sight) -> Part:
    """Walk along the coordinates that change the picture most."""
    portrait = sight.portrait
    latent = portrait.net.latent
    names = [f"z[{k}]" for k in range(latent)]
    return Part(
        "Walks along single coordinates",
        "As above, along one number of the code; if a row shows a mixture of changes, that coordinate "
        "means nothing by itself.",
        f"Shown are {min(_WALKS, latent)} of {_count(latent, 'coordinate')}, {_LARGEST}.",
        _walks(sight, "coordinates", portrait.coordinates, portrait.coordinate_effects, names),
    )


def _walks(sight: Sight, text: str, directions: Directions, effects: Floats, names: list[str]) -> Figure:
    portrait = sight.portrait
    ranked = np.argsort(-effects, kind="stable")[:_WALKS]
    chosen = Directions(directions.vectors[ranked], directions.deviations[ranked])
    base = codes.encode(portrait.net, portrait.images[portrait.typical :][:1])
    images = traversals.traverse(portrait.net, base, chosen, _STEPS).numpy()
    labels = [f"{names[k]}\neffect {255 * effects[k]:.3g} of 255" for k in ranked]
    steps = [f"{step:+.0f} sd" if step else "0" for step in _STEPS]
    return figures.walks(sight.title(text), labels, images, steps)


def interpolations(sight: Sight) -> Part:
    """Go from one image to another, in the code and in pixels."""
    portrait = sight.portrait
    rows = portrait.varied(2 * _PAIRS)
    pairs = len(rows) // 2
    x = pixels(portrait.net, portrait.images[rows])
    start, end = (codes.encode(portrait.net, portrait.images[rows[i::2]]) for i in (0, 1))
    both = (
        traversals.between_codes(portrait.net, start, end, _FADE).numpy(),
        traversals.between_pixels(x[0::2], x[1::2], _FADE).float().numpy(),
    )
    names = [f"{k + 1}, {where}" for k in range(pairs) for where in ("in the code", "in pixels")]
    images = np.stack(both, 1).reshape(2 * pairs, *both[0].shape[1:])
    return Part(
        "From one image to another",
        "The upper row of each pair decodes the straight line between two codes; the lower fades one "
        "image into the other; the more often the upper shows one plausible image where the lower "
        "shows two, the more the code has learnt of what images look like.",
        "",
        figures.walks(
            sight.title("interpolation"),
            names,
            images,
            [f"{t:.3g}" for t in _FADE],
        ),
    )


def nearest(sight: Sight) -> Part:
    """The neighbours of some images in the space of codes."""
    portrait = sight.portrait
    queries = portrait.varied(_QUERIES)
    rows, distances = neighbours.nearest(portrait.z, queries, _NEIGHBOURS)
    shown = np.column_stack([queries, rows])
    texts = [
        f"{sight.classes[int(portrait.labels[row])]}\n{f'{far:.3g}' if place else 'image'}"
        for line, gaps in zip(shown, distances, strict=True)
        for place, (row, far) in enumerate(zip(line, [0.0, *gaps], strict=True))
    ]
    return Part(
        "Nearest neighbours in the code",
        "The first picture of each row is a test image; the others have the codes nearest to its code, "
        "with their Euclidean distance; what a row has in common is what the code treats as alike.",
        _agreement(portrait),
        figures.tiles(sight.title("nearest neighbours"), unit(portrait.images[shown.ravel()]).numpy(), texts),
    )


def _agreement(portrait: Portrait) -> str:
    """Compare neighbours' classes, on as many images as the map has: the cost grows with their square."""
    if len(set(portrait.labels.tolist())) < 2:
        return ""
    labels = portrait.labels[:MAPPED]
    spaces = (portrait.z[:MAPPED], unit(portrait.images[:MAPPED].flatten(1), torch.float64).numpy())
    in_code, in_pixels = (neighbours.agreement(points, labels, _NEIGHBOURS) for points in spaces)
    _, counts = np.unique(labels, return_counts=True)
    n = len(labels)
    chance = (counts * (counts - 1)).sum() / (n * (n - 1))
    return (
        f"Of the {_NEIGHBOURS} nearest neighbours of each image, {in_code:.0%} are of its own class in the "
        f"code, {in_pixels:.0%} in pixels, {chance:.0%} by chance."
    )


def mapped(sight: Sight) -> Part:
    """The codes in the plane."""
    names = {"pca": "their two longest principal axes", "tsne": "t-SNE", "umap": "UMAP"}
    place = (
        "distances are true, except for what the other axes hold"
        if sight.method == "pca"
        else "nearness means something, but distances between groups and their sizes do not"
    )
    n = len(sight.places)
    return Part(
        "A map of the codes",
        f"Each mark is a test image where {names[sight.method]} puts its code: {place}.",
        f"{n:,} images.",
        figures.scatter(
            sight.title(f"map of the codes, {names[sight.method]}"),
            sight.places,
            sight.portrait.labels[:n],
            sight.classes,
        ),
    )


def usage(sight: Sight) -> Part:
    """How much of the code is used."""
    portrait = sight.portrait
    deviations = portrait.coordinates.deviations
    limits = (float(np.sqrt(codes.DEAD) * deviations.max()), 255 * traversals.IGNORED)
    dimension = portrait.effective_dimension
    return Part(
        "How much of the code is used",
        "Left: how far each coordinate varies, dead below the dashed line; middle: how much variance the "
        "longest principal axes hold together, with the effective dimension dashed; right: how much each "
        "coordinate changes the picture, ignored by the decoder below the horizontal line.",
        f"Effective dimension {dimension:.1f} of {portrait.net.latent}; "
        f"{_count(portrait.dead, 'coordinate')} dead (less than a hundredth of the widest), "
        f"{portrait.ignored} ignored (an effect below half a grey level, over "
        f"{min(BASES, len(portrait.images))} images).",
        figures.usage(
            sight.title("use of the code"),
            deviations,
            255 * portrait.coordinate_effects,
            portrait.axes.deviations**2,
            dimension,
            limits,
        ),
    )


def looked_at(sight: Sight) -> Part:
    """The pixels behind single coordinates."""
    portrait = sight.portrait
    chosen = np.argsort(-portrait.coordinate_effects, kind="stable")[:_LOOKED_AT].tolist()
    maps = sensitivity.looks_at(portrait.net, portrait.images[:_DERIVATIVES], chosen).numpy()
    peaks = maps.max((1, 2), keepdims=True)
    shades = 1 - maps / np.where(peaks > 0, peaks, 1)
    return Part(
        "What a coordinate looks at",
        "The darker a pixel, the more a change there changes that coordinate; each picture has its own "
        "scale.",
        f"Root mean square of the derivative over {min(_DERIVATIVES, len(portrait.images))} images, for the "
        "coordinates with the largest effect.",
        figures.tiles(sight.title("pixels behind coordinates"), shades[:, None], [f"z[{k}]" for k in chosen]),
    )


def filters(sight: Sight) -> Part:
    """The weights of the layer that reads the image."""
    title = "First filters"
    how = "Each picture is one filter on its own scale: mid-grey is 0, brighter is positive, darker negative."
    weights = sensitivity.first_filters(sight.portrait.net)
    if weights is None:
        return Part(title, how, "No convolution or linear layer of this model reads the image.", None)
    total, _, height, width = weights.shape
    shown = weights[:_FILTERS].numpy()
    peaks = np.abs(shown).max((1, 2, 3), keepdims=True)
    pictures = 0.5 + 0.5 * shown / np.where(peaks > 0, peaks, 1)
    enlarged = np.ones((1, 1, *[-(-_FILTER_SIDE // max(height, width))] * 2))
    more = f"; the first {len(shown)} are shown" if total > len(shown) else ""
    return Part(
        title,
        how,
        f"{_count(total, 'filter')} of {height}x{width}{more}.",
        figures.tiles(
            sight.title("first filters"), np.kron(pictures, enlarged), [str(k) for k in range(len(shown))]
        ),
    )


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


PARTS: dict[str, Callable[[Sight], Part]] = {
    "reconstructions": reconstructions,
    "axes": axes,
    "coordinates": coordinates,
    "interpolations": interpolations,
    "neighbours": nearest,
    "map": mapped,
    "usage": usage,
    "pixels": looked_at,
    "filters": filters,
}
"""Every part by the name of its picture, in the page's order."""

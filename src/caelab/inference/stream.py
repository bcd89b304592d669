"""Pictures in files as a stream of whole batches, so that any number of them needs the memory of a few.

Batches do not end where pictures do. They are the same whether a picture is encoded, decoded or both, since
the last bits of a network's answer can depend on how many images it is given at once.
"""

import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from caelab import durable, terminal
from caelab.data.pictures import DEEP, MODES, remarks, require_decodable, upright
from caelab.inference.fitting import WHOLE, Fit, Pixels, Size, picture
from caelab.inference.images import network_input, to_bytes
from caelab.inference.inputs import Source


class Entry(NamedTuple):
    """A picture in the stream.

    Attributes:
        source: its file and its output's name.
        size: its height and width, upright.
        images: how many a file of arrays has.
        kind: axes and type of such a file, such as ``NHWC uint16``; empty for a picture.
    """

    source: Source
    size: Size
    images: int = 1
    kind: str = ""


class Stream:
    """The pictures of files, read one after the other with a bar of how far it is.

    Args:
        sources: the files.
        fit: how they become images of the network's size.
        description: what the bar is called.
        at: asked for height and width of each picture that is taken whole; refuses one by an error.

    Attributes:
        entries: the pictures that have been read, in order; whoever takes one up may remove it.
        skipped: file -> why it could not be read.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        fit: Fit,
        description: str,
        at: Callable[[int, int], object] | None = None,
    ) -> None:
        self._sources, self._fit, self._description = sources, fit, description
        self._at = at if fit.way == WHOLE else None
        self.entries: deque[Entry] = deque()
        self.skipped: dict[Path, str] = {}
        self._remarks: dict[str, list[Path]] = defaultdict(list)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield images (n, C, H, W) float32 in [0, 1], ``size`` of them at once, and fewer at the end.

        Whole pictures, each of which has a size of its own, come one by one.
        """
        if self._fit.way == WHOLE:
            yield from self._images()
            return
        held: list[Tensor] = []
        rows = 0
        for images in self._images():
            while len(images):
                held.append(images[: size - rows])
                rows, images = rows + len(held[-1]), images[size - rows :]
                if rows == size:
                    yield torch.cat(held)
                    held, rows = [], 0
        if held:
            yield torch.cat(held)

    def _images(self) -> Iterator[Tensor]:
        channels = self._fit.shape[0]
        for source in terminal.tracked(self._sources, self._description):
            try:
                image = opened(source.file, channels, self._note)
                if self._at is not None:
                    self._at(image.height, image.width)
                cut = self._fit.cut(image)
                first = next(cut)  # which refuses a picture before it counts as read
            # Pillow's readers raise almost anything on a damaged file
            except Exception as error:
                self.skipped[source.file] = terminal.one_line(error)
                continue
            self.entries.append(Entry(source, (image.height, image.width)))
            for tiles in (first, *cut):
                yield network_input(torch.tensor(tiles).movedim(-1, 1), channels)

    def _note(self, file: Path, image: Image.Image) -> None:
        deep = image.mode.startswith(("I", DEEP))
        for remark in [*remarks(image), *(["more than 8 bits: the result has 8"] if deep else [])]:
            self._remarks[remark].append(file)

    def tell(self) -> None:
        """Say what was not taken as it is, and name every file that could not be read."""
        for remark, files in self._remarks.items():
            more = f" and {len(files) - 1:,} more" if len(files) > 1 else ""
            terminal.note(f"{remark} ({files[0]}{more})")
        for file, reason in self.skipped.items():
            terminal.error(f"{file}: skipped: {reason}")
        if self.skipped:
            terminal.error(f"skipped {len(self.skipped):,} of {len(self._sources):,} files")


def opened(file: Path, channels: int, look: Callable[[Path, Image.Image], None] | None = None) -> Image.Image:
    """Read a picture, upright and in the network's channels: mode ``L``, ``RGB`` or ``F`` in [0, 1].

    Args:
        file: its path.
        channels: 1 or 3.
        look: gets a look at what the file holds, before anything is changed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large and of slightly odd files
        with Image.open(file) as image:
            require_decodable(image)
            if look:
                look(file, image)
            turned = upright(image)
    return turned if turned.mode == DEEP else turned.convert(MODES[channels])


def pictures(made: Iterator[Tensor], fit: Fit, entries: deque[Entry]) -> Iterator[tuple[Entry, Pixels]]:
    """Yield each picture as soon as all its images are there, and remove its entry.

    Args:
        made: batches of reconstructions (n, C, H, W) in [0, 1].
        fit: how the pictures were cut.
        entries: of the pictures, in order; may grow while batches are made.

    Yields:
        The picture's entry, and its pixels (H, W, C) uint8.
    """
    held: list[Tensor] = []
    rows = 0
    for x_hat in made:
        held.append(to_bytes(x_hat))
        rows += len(x_hat)
        if not entries or rows < _images(fit, entries[0]):
            continue
        whole = torch.cat(held)
        while entries and len(whole) >= (needed := _images(fit, entries[0])):
            entry = entries.popleft()
            tiles = whole[:needed].movedim(1, -1).numpy()  # (n, H, W, C)
            yield entry, fit.join(tiles, entry.size)
            whole = whole[needed:]
        held, rows = [whole] if len(whole) else [], len(whole)


def _images(fit: Fit, entry: Entry) -> int:
    rows, columns = fit.grid(entry.size)
    return rows * columns


def save(pixels: Pixels, path: Path) -> None:
    """Save pixels (H, W, C) uint8 as PNG, in a folder that may have to be made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with durable.file(path, flush=False) as file:  # one of many, which the same command makes again
        picture(pixels).save(file, "PNG")

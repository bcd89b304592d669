"""A dataset of the Hugging Face Hub, or one in a local folder that its library reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from caelab.data import contents
from caelab.data.collected import Collected
from caelab.data.contents import Origin
from caelab.data.layout import SPLITS
from caelab.data.samples import collected
from caelab.data.stack import Stack
from caelab.errors import UserError
from caelab.terminal import nearest, one_line


class HuggingFace(Collected):
    """Images of a dataset that the library ``datasets`` loads, with the splits that it has.

    Columns of image and label are found by their types, splits by their names. A split that is missing takes
    a tenth of the training images, and a single one is split into all three.

    Args:
        data_dir: as in the base class, like all others but these.
        path: OWNER/NAME on the Hub, or a folder of ``save_to_disk``, or of Parquet, Arrow or pictures.
        batch_size: see there.
        train_size: see there.
        classes: see there.
        order_seed: see there.
        image_size: see there.
        channels: see there.
        config: name of the dataset's configuration, where it has several.
        revision: commit, tag or branch on the Hub.
        image: name of the column of images; None: the only one of that type.
        label: name of the column of labels; None: the only one of classes, or ``label``, or none.

    Raises:
        UserError: the library is not installed.
    """

    name = "hf"
    pictures = "images of a dataset of Hugging Face"

    def __init__(
        self,
        data_dir: str,
        path: str,
        batch_size: int = 256,
        train_size: int | None = None,
        classes: Sequence[int] | None = None,
        order_seed: int = 0,
        image_size: int | Sequence[int] | None = None,
        channels: int | None = None,
        config: str | None = None,
        revision: str | None = None,
        image: str | None = None,
        label: str | None = None,
    ):
        super().__init__(data_dir, batch_size, train_size, classes, order_seed, image_size, channels)
        self.path, self.config, self.revision = path, config, revision
        self.image, self.label = image, label
        if find_spec("datasets") is None:
            raise UserError("dataset=hf: datasets is not installed; pip install 'caelab[hf]'")

    def source(self) -> str:
        """The dataset, or what lies in the folder, and its columns."""
        origin = self.origin()
        what = origin.contents if origin else self.path
        return f"{what} {self.config} {self.revision} {self.image} {self.label}"

    def origin(self) -> Origin | None:
        """The folder as it is now, where it is one."""
        if (folder := self._folder) is None:
            return None
        files = contents.read_by(contents.HUB, folder, self.folder.parent)
        return Origin(contents.HUB, str(folder), contents.digest(files))

    def place(self) -> str:
        """The dataset, as its key names it."""
        return f"dataset.path={self.path}"

    def stacks(self) -> tuple[Mapping[str, Stack], Sequence[str]]:
        """Every split whose name says which one it is, read to its end."""
        found = self._loaded()
        splits = self._named(found)
        features = next(iter(splits.values())).features
        image, label = self._column("image", features, "Image"), self._label(features)
        stacks = {
            name: collected(_pairs(data, image, label), len(data), self.place(), self.size, self.channels)
            for name, data in splits.items()
        }
        return stacks, getattr(features.get(label), "names", None) or ()

    @property
    def _folder(self) -> Path | None:
        folder = Path(self.path).expanduser().absolute()
        return folder if folder.is_dir() else None

    def _loaded(self) -> Any:
        import datasets

        folder = self._folder
        where = "" if folder else "there is no such folder here, and "
        _quiet(bars=folder is None)
        try:
            if folder and any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
                return datasets.load_from_disk(str(folder))
            kept = str(self.folder / "hub")
            path = str(folder) if folder else self.path
            return datasets.load_dataset(path, self.config, revision=self.revision, cache_dir=kept)
        except Exception as error:  # of several libraries below it
            raise UserError(
                f"{self.place()}: {where}Hugging Face cannot load it: {one_line(error)}"
            ) from error

    def _named(self, found: Any) -> dict[str, Any]:
        """The splits by the lab's names."""
        if not isinstance(found, Mapping):
            return {"train": found}
        if len(found) == 1:
            return {"train": next(iter(found.values()))}
        splits = {name: found[one] for name, known in SPLITS.items() for one in known if one in found}
        if "train" not in splits:
            raise UserError(f"{self.place()}: its splits are {', '.join(found)}; none is named train")
        return splits

    def _column(self, key: str, features: Mapping[str, Any], kind: str) -> str:
        """Name of the column that a key names, or else of the only one of a type."""
        named = getattr(self, key)
        if named is not None and named not in features:
            raise UserError(f"dataset.{key}={named}: there is no such column{nearest(named, [*features])}")
        fits = [name for name, one in features.items() if type(one).__name__ == kind]
        if named is None and len(fits) != 1:
            which = f"columns {', '.join(fits)} are" if fits else f"no column of {', '.join(features)} is"
            raise UserError(f"{self.place()}: {which} of type {kind}; give dataset.{key}=COLUMN")
        return named or fits[0]

    def _label(self, features: Mapping[str, Any]) -> str | None:
        if self.label is not None:
            return self._column("label", features, "ClassLabel")
        classes = [name for name, one in features.items() if type(one).__name__ == "ClassLabel"]
        return classes[0] if len(classes) == 1 else "label" if "label" in features else None


def _quiet(bars: bool) -> None:
    """Have the libraries say nothing of their own but how far a download is, where there is one."""
    import datasets
    from huggingface_hub.utils import logging

    (datasets.enable_progress_bars if bars else datasets.disable_progress_bars)()
    datasets.logging.set_verbosity_error()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def _pairs(data: Any, image: str, label: str | None) -> Iterator[tuple[Any, Any]]:
    """Image and label of each row; what is a list of numbers is an array."""
    for row in data.select_columns([image, *([label] if label else [])]):
        pixels = row[image]
        yield np.asarray(pixels) if isinstance(pixels, list) else pixels, row[label] if label else None

"""Any dataset of torchvision that gives pictures, with its own splits and its own download."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torchvision

from caelab.data import sharing
from caelab.data.cache import writing
from caelab.data.collected import Collected
from caelab.data.samples import collected
from caelab.data.stack import Stack
from caelab.errors import UserError
from caelab.terminal import nearest, note, one_line

_NAMES = {"train": ("train", "trainval"), "val": ("val", "valid", "validation"), "test": ("test",)}
"""Split -> what it may be called there; the first that is known is taken."""


class Torchvision(Collected):
    """A dataset of ``torchvision.datasets``, such as FashionMNIST.

    It has the splits that its class has: ``train=True`` and ``False``, or ``split="train"`` and so on. One
    that is missing takes a tenth of the training images.

    Args:
        data_dir: as in the base class, like all others but these.
        name: of the class.
        batch_size: see there.
        train_size: see there.
        classes: see there.
        order_seed: see there.
        image_size: see there.
        channels: see there.
        options: further arguments of the class, such as ``{"split": "letters"}`` of EMNIST.

    Raises:
        UserError: there is no such class, it takes no such argument, or needs others.
    """

    name = "torchvision"
    pictures = "pictures of a dataset of torchvision"

    def __init__(
        self,
        data_dir: str,
        name: str,
        batch_size: int = 256,
        train_size: int | None = None,
        classes: Sequence[int] | None = None,
        order_seed: int = 0,
        image_size: int | Sequence[int] | None = None,
        channels: int | None = None,
        options: Mapping[str, Any] | None = None,
    ):
        super().__init__(data_dir, batch_size, train_size, classes, order_seed, image_size, channels)
        self.options = dict(options or {})
        self.kind = name
        self._class, self._takes = self._known()

    def source(self) -> str:
        """Name of the class, and its arguments."""
        return f"{self.kind} {json.dumps(self.options, sort_keys=True)}"

    def place(self) -> str:
        """The dataset, as its key names it."""
        return f"dataset.name={self.kind}"

    def stacks(self) -> tuple[Mapping[str, Stack], Sequence[str]]:
        """Every split that the class has, read to its end."""
        splits = dict(self._splits())
        if "train" not in splits:
            raise UserError(f"{self.place()}: torchvision.datasets.{self.kind} has no training split")
        names = getattr(splits["train"], "classes", None)
        stacks = {
            split: collected(
                (data[row] for row in range(len(data))), len(data), self.place(), self.size, self.channels
            )
            for split, data in splits.items()
        }
        if isinstance(names, list | tuple) and all(isinstance(one, str) for one in names):
            return stacks, names
        return stacks, ()

    def _known(self) -> tuple[Any, Mapping[str, inspect.Parameter]]:
        """The class, and the arguments that it takes."""
        names = [name for name in torchvision.datasets.__all__ if name[0].isupper()]
        if self.kind not in names:
            raise UserError(
                f"{self.place()}: torchvision has no such dataset{nearest(str(self.kind), names)}"
            )
        kind = getattr(torchvision.datasets, self.kind)
        takes = _arguments(kind)
        for key in self.options:
            if key not in takes:
                raise UserError(
                    f"dataset.options={self.options}: {self.kind} has no {key}{nearest(key, [*takes])}"
                )
        missing = [
            key
            for key, one in takes.items()
            if one.default is one.empty and key not in ("root", *self.options)
        ]
        if missing:
            raise UserError(f"{self.place()} needs 'dataset.options={{{missing[0]}: VALUE}}'")
        return kind, takes

    def _splits(self) -> Iterator[tuple[str, Any]]:
        """Name and dataset of each split."""
        free = self._takes.keys() - self.options.keys()
        if "train" in free:
            yield from (("train", self._made(train=True)), ("test", self._made(train=False)))
        elif "split" in free:
            for split, names in _NAMES.items():
                found = (self._made_if_known(name) for name in names)
                if (data := next((one for one in found if one is not None), None)) is not None:
                    yield split, data
        else:
            yield "train", self._made()

    def _made_if_known(self, name: str) -> Any:
        """The split of that name; None where the class says that it has none."""
        try:
            return self._build_one(False, split=name)
        except ValueError:
            return None
        except Exception:  # that its files are missing: it is a split
            return self._made(split=name)

    def _made(self, **which: Any) -> Any:
        """A split, downloaded where its files are missing."""
        try:
            return self._build_one(False, **which)
        except Exception as error:
            missing = one_line(error)
        root = self._root
        try:
            if "download" not in self._takes:
                raise UserError(
                    f"{self.place()}: torchvision does not download it ({missing}); put it into {root}"
                )
            note(f"{self.place()}: torchvision downloads it into {root}")
            return self._build_one(True, **which)
        except UserError:
            raise
        except Exception as error:  # no network, another host's refusal, a missing package
            raise UserError(
                f"{self.place()}: its files are not in {root} and cannot be fetched ({one_line(error)}); "
                "put them there as torchvision lays them out"
            ) from error

    def _build_one(self, download: bool, **which: Any) -> Any:
        given = {"root": str(self._root), "download": download, **which, **self.options}
        with writing(self._root):
            sharing.make(self._root)
        return self._class(**{key: value for key, value in given.items() if key in self._takes})

    @property
    def _root(self) -> Path:
        return self.folder / self.kind


def _arguments(kind: type) -> Mapping[str, inspect.Parameter]:
    """Arguments of a class, and of those that it hands the rest to."""
    takes: dict[str, inspect.Parameter] = {}
    for one in kind.__mro__[:-1]:
        own = dict(inspect.signature(one.__init__).parameters)  # type: ignore[misc]
        takes = {key: value for key, value in own.items() if key != "self"} | takes
        if not any(value.kind is value.VAR_KEYWORD for value in own.values()):
            break
    return {key: value for key, value in takes.items() if "VAR" not in value.kind.name}

"""MedMNIST: medical pictures of one size, in a file each."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.util import find_spec

from caelab import durable
from caelab.data import sharing
from caelab.data.array import Array
from caelab.data.cache import locked
from caelab.errors import UserError
from caelab.terminal import nearest, note, one_line

NAMES = [
    "PathMNIST",
    "ChestMNIST",
    "DermaMNIST",
    "OCTMNIST",
    "PneumoniaMNIST",
    "RetinaMNIST",
    "BreastMNIST",
    "BloodMNIST",
    "TissueMNIST",
    "OrganAMNIST",
    "OrganCMNIST",
    "OrganSMNIST",
]
"""Its datasets of pictures; those of volumes are none."""

SIZES = (28, 64, 128, 224)


class MedMNIST(Array):
    """A dataset of MedMNIST v2 with its official splits (Yang et al., Scientific Data 2023).

    Args:
        data_dir: as in the base class, like `batch_size`, `train_size`, `classes` and `order_seed`.
        name: one of ``NAMES``.
        image_size: one of ``SIZES``.
        batch_size: see there.
        train_size: see there.
        classes: see there. ChestMNIST has one class, as its labels are many an image.
        order_seed: see there.

    Raises:
        UserError: there is no such dataset, or none of that size.
    """

    name = "medmnist"
    pictures = "medical pictures of MedMNIST, scaled to one size by its authors"
    licence = "CC BY 4.0 (DermaMNIST: CC BY-NC 4.0); cite MedMNIST and the dataset's own source."

    def __init__(
        self,
        data_dir: str,
        name: str,
        image_size: int = 28,
        batch_size: int = 256,
        train_size: int | None = None,
        classes: Sequence[int] | None = None,
        order_seed: int = 0,
    ):
        if name not in NAMES:
            raise UserError(f"dataset.name={name}: MedMNIST has no such dataset{nearest(str(name), NAMES)}")
        if image_size not in SIZES:
            raise UserError(f"dataset.image_size={image_size}: MedMNIST has {', '.join(map(str, SIZES))}")
        self.kind, self.size = name, image_size
        file = f"{name.lower()}{'' if image_size == 28 else f'_{image_size}'}.npz"
        super().__init__(data_dir, "", batch_size, train_size, classes, order_seed)
        self.path = self.folder / file

    def place(self) -> str:
        """The file, and the dataset that it is of."""
        return f"dataset.name={self.kind} in {self.path}"

    at_hand = Array.here

    def require(self) -> None:
        """Make sure that the file is there, by the package's own download where it is not."""
        if self.path.is_file():
            return
        if find_spec("medmnist") is None:
            raise UserError(
                f"{self.place()}: there is no such file; put it there, or pip install 'caelab[medmnist]'"
            )
        with locked(self.folder, self.name):
            if not self.path.is_file():  # else another process has fetched it meanwhile
                self._fetch()

    def _fetch(self) -> None:
        """Download the file aside, so that it is whole once it has its name."""
        import medmnist

        note(f"dataset.name={self.kind}: medmnist downloads {self.path.name} into {self.folder}")
        aside = durable.aside(self.path)
        try:
            aside.mkdir()
            getattr(medmnist, self.kind)("train", download=True, root=str(aside), size=self.size)
            (aside / self.path.name).replace(self.path)
        except Exception as error:
            reason = one_line(error)
            raise UserError(
                f"{self.place()}: there is no such file, and it cannot be fetched ({reason}); put it there"
            ) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        sharing.share(self.path)

"""CINIC-10: 90,000 training, 90,000 validation and 90,000 test images, 3x32x32."""

from __future__ import annotations

import posixpath
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from caelab.data import contents
from caelab.data.cache import CACHE, Arrays, DamagedError, Opened, open_or_build
from caelab.data.cifar10 import CIFAR10
from caelab.data.contents import Origin
from caelab.data.datamodule import ImageDataModule, Split
from caelab.data.download import UnavailableError, download, md5_of
from caelab.data.pngs import decode_all
from caelab.errors import UserError
from caelab.terminal import item_progress, note, one_line

ARCHIVE = "CINIC-10.tar.gz"
URLS = (
    "https://datashare.ed.ac.uk/bitstreams/e8e186cc-2688-48f1-aa5a-3fda1a43f8b6/download",
    f"https://datashare.ed.ac.uk/bitstream/handle/10283/3192/{ARCHIVE}",
)
SPLITS = ("train", "valid", "test")
IMAGE = re.compile(
    rf"(?:\./)?(?:CINIC-10/)?({'|'.join(SPLITS)})/({'|'.join(CIFAR10.class_names)})/([^/.][^/]*\.png)"
)
FROM_CIFAR = re.compile(r"cifar-?10-")

Key = tuple[int, int, str]  # split, class and file name: in this order the images lie in the arrays
Pictures = dict[Key, bytes | Path]


def _key(name: str) -> Key | None:
    match = IMAGE.fullmatch(name)
    return match and (SPLITS.index(match[1]), CIFAR10.class_names.index(match[2]), match[3])


def _leaves(member: tarfile.TarInfo) -> bool:
    """Whether unpacking this member, or following it where it is a link, could reach outside the target."""
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return True
    if member.issym():  # from where it lies; an absolute one replaces the folder
        end = posixpath.join(posixpath.dirname(member.name), member.linkname)
    elif member.islnk():
        end = member.linkname
    else:
        return False
    return end.startswith("/") or posixpath.normpath(end).split("/")[0] == ".."


def pictures_in_archive(path: Path) -> Pictures:
    """The contents of each PNG of the data set in a .tar.gz; nothing is unpacked to disk.

    Raises:
        UserError: the archive is truncated, or a member would leave the folder it is unpacked to.
    """
    found: Pictures = {}
    try:
        with tarfile.open(path, "r|gz") as tar, item_progress() as progress:
            bar = progress.add_task(f"reading {path.name}", total=None)
            for member in tar:
                if _leaves(member):
                    raise UserError(
                        f"{path}: the member {member.name!r} would be unpacked outside its folder; "
                        "this is not the official archive, and nothing of it is used"
                    )
                key = _key(member.name)
                if key and member.isreg() and (file := tar.extractfile(member)):
                    found[key] = file.read()
                    progress.update(bar, completed=len(found))
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path} cannot be read to its end ({one_line(error)}); fetch it again") from error
    return found


def pictures_in_folder(root: Path, names: Iterable[str]) -> Pictures:
    """The path of each PNG below an unpacked archive, of which `names` are files: those of the data set."""
    return {key: root / name for name in names if (key := _key(name))}


class CINIC10(ImageDataModule):
    """CINIC-10 (Darlow et al., 2018): CIFAR-10 and downscaled ImageNet photographs, in three official splits.

    Args:
        data_dir: as in the base class, like `batch_size`, `train_size`, `classes` and `order_seed`.
        batch_size: see there.
        train_size: see there.
        classes: see there.
        order_seed: see there.
        archive: the official archive, where it lies elsewhere.
        root: the archive, already unpacked.
        exclude_cifar: leave out the images that are CIFAR-10's, for honest tests across the two.
    """

    name = "cinic10"
    class_names = CIFAR10.class_names
    shape = (3, 32, 32)
    pictures = "colour photographs of vehicles and animals, CIFAR-10's and ImageNet's of the same ten classes"
    licence = (
        "CINIC-10 is given out by the University of Edinburgh; its authors ask for their paper to be cited, "
        "and copies of it name CC BY 4.0. Its pictures are CIFAR-10's and ImageNet's: ImageNet is for "
        "non-commercial research and education only, and the rights in single photographs lie with those "
        "who took them."
    )
    urls: tuple[str, ...] = URLS
    archive_md5 = "6ee4d0c996905fe93221de577967a372"
    per_class = 9_000  # in each split

    def __init__(
        self,
        data_dir: str,
        batch_size: int = 256,
        train_size: int | None = None,
        classes: Sequence[int] | None = None,
        order_seed: int = 0,
        archive: str | None = None,
        root: str | None = None,
        exclude_cifar: bool = False,
    ):
        super().__init__(data_dir, batch_size, train_size, classes, order_seed)
        if not isinstance(exclude_cifar, bool):
            raise UserError(f"dataset.exclude_cifar={exclude_cifar}: must be true or false")
        if archive and root:
            raise UserError("dataset.archive and dataset.root: give one of them, not both")
        self.archive = Path(archive).expanduser().absolute() if archive else None
        self.root = Path(root).expanduser().absolute() if root else None
        self.exclude_cifar = exclude_cifar

    def at_hand(self) -> bool:
        """Whether nothing need be downloaded."""
        return self.here()

    def here(self) -> bool:
        """Whether the archive, its folder or the arrays made from it are there already."""
        here = (self.folder / ARCHIVE, self.folder / CACHE)
        return bool(self.archive or self.root or any(path.exists() for path in here))

    def load(self) -> tuple[dict[str, Split], str]:
        """The official splits, decoded once, each in the order of class and file name."""
        opened = self._of(self.root) if self.root else open_or_build(self.folder, self.name, self._build)
        images, labels, cifar = (opened.arrays[name] for name in ("images", "labels", "cifar"))
        split_size = self.per_class * len(self.class_names)
        splits = {}
        for place, name in enumerate(("train", "val", "test")):
            rows = torch.arange(place * split_size, (place + 1) * split_size)
            splits[name] = Split(images, labels, rows[~cifar[rows]] if self.exclude_cifar else rows)
        return splits, opened.sha256

    def _of(self, root: Path) -> Opened:
        """Open a folder: it may hold anything, so each content has a cache of its own."""
        if not any((place / SPLITS[0]).is_dir() for place in (root, root / "CINIC-10")):
            raise UserError(
                f"dataset.root={root}: no train/, valid/ and test/ there or in CINIC-10/ below it"
            )
        files = contents.read_by(contents.CINIC10, root, self.folder.parent)
        what = contents.digest(files)
        return open_or_build(
            self.folder / f"root-{what[:16]}",
            self.name,
            lambda: self._decoded(root, pictures_in_folder(root, files)),
            origin=Origin(contents.CINIC10, str(root), what),
        )

    def _build(self) -> Arrays:
        archive = self._official_archive()
        return self._decoded(archive, pictures_in_archive(archive))

    def _decoded(self, origin: Path, pictures: Pictures) -> Arrays:
        self._check_counts(origin, pictures)
        keys = sorted(pictures)
        items = [
            (f"{origin}: {SPLITS[split]}/{self.class_names[label]}/{file}", pictures[split, label, file])
            for split, label, file in keys
        ]
        return {
            "images": decode_all(items, self.shape[1], f"decoding {self.name}"),
            "labels": np.array([label for _, label, _ in keys], np.int64),
            "cifar": np.array([bool(FROM_CIFAR.match(file)) for _, _, file in keys]),
        }

    def _check_counts(self, origin: Path, pictures: Pictures) -> None:
        counts = Counter((split, label) for split, label, _ in pictures)
        for split, split_name in enumerate(SPLITS):
            for label, class_name in enumerate(self.class_names):
                if (count := counts[split, label]) != self.per_class:
                    where = f"{origin}: {split_name}/{class_name}"
                    raise UserError(f"{where} has {count:,} images instead of {self.per_class:,}")

    def _official_archive(self) -> Path:
        """The archive the user names, or that lies in the dataset's folder, or the downloaded one."""
        if self.archive is not None:
            return self._named_archive(self.archive)
        path = self.folder / ARCHIVE
        if path.is_file() and (found := md5_of(path)) != self.archive_md5:
            damage = DamagedError(path, f"md5 {found} instead of {self.archive_md5}")
            note(f"{self.name}: {damage}; it is fetched again")
        elif path.is_file():
            return path
        note(f"{self.name}: trying the official download (687 MB)")
        try:
            download(self.urls, path, self.archive_md5)
        except UnavailableError as error:
            raise UserError(
                f"{self.name}: the archive cannot be downloaded ({one_line(error)}); put {ARCHIVE} into "
                f"{self.folder}, or name it with dataset.archive=FILE, or the unpacked folder with "
                "dataset.root=FOLDER; or use dataset=shapes, which needs no download"
            ) from error
        return path

    def _named_archive(self, path: Path) -> Path:
        if not path.is_file():
            raise UserError(f"dataset.archive={path}: there is no such file")
        if (found := md5_of(path)) != self.archive_md5:
            raise UserError(
                f"dataset.archive={path}: not the official archive, or damaged: "
                f"its md5 is {found} instead of {self.archive_md5}"
            )
        return path

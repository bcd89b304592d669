"""The record of a run: its type, and the one place that reads and writes ``result.json``.

A record may be anybody's: it is taken where all is there, of its kind, that the lab relies on.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

from caelab import durable
from caelab.config.fingerprint import CLEAN, IRRELEVANT, PLACES, acting, later, network_node
from caelab.metrics import measures
from caelab.metrics.measures import OBJECTIVE, SELECT
from caelab.runs import record_file

SCHEMA = 1
RECORD = "result.json"
SEARCH = "search.json"
BYPASSING = 0.5
"""Latent reliance below which a run is marked as bypassing its latent."""


@dataclass(frozen=True)
class Size:
    """Sizes of a network.

    Attributes:
        parameters: numbers learnt from data.
        latent: numbers in ``z`` per image.
        effective_code: numbers per image that reach the decoder.
        flops_per_image: of one forward pass.
        input_numbers: of one image.
        bits: of a discrete latent, per image; None of any other.
    """

    parameters: int
    latent: int
    effective_code: int
    flops_per_image: int
    input_numbers: int
    bits: float | None = None


@dataclass(frozen=True)
class Time:
    """What a run took.

    Attributes:
        epochs: trained; 0 where the network was fitted without a gradient.
        fit_seconds: of training and validation.
        test_seconds: of the test; 0 for a trial.
        steps: of the optimizer.
        images_per_second: of training, without the first epoch; None where there was no other.
        images_per_epoch: that the network was shown; None on records older than 0.4.
    """

    epochs: int
    fit_seconds: float
    test_seconds: float
    steps: int = 0
    images_per_second: float | None = None
    images_per_epoch: int | None = None

    @property
    def seconds(self) -> float:
        """Of fit and test."""
        return self.fit_seconds + self.test_seconds


@dataclass(frozen=True)
class Data:
    """Images of a run.

    Attributes:
        name: of the dataset.
        train: images in the training split; ``val`` and ``test`` likewise.
        shape: [C, H, W] of one.
        sha256: of all of them, hexadecimal.
        dtype: of their values, such as ``uint16``; empty for uint8.
        between: least and largest value that they can have; empty for uint8, which is from 0 to 255.
        paired: whether networks are given other pictures, of which these are to be made.
    """

    name: str
    train: int
    val: int
    test: int
    shape: list[int]
    sha256: str
    dtype: str = ""
    between: list[float] = field(default_factory=list)
    paired: bool = False

    def plain(self) -> dict[str, Any]:
        """As files hold it: without what is empty or false."""
        return {name: value for name, value in asdict(self).items() if value or type(value) is int}


@dataclass(frozen=True, kw_only=True)
class Record:
    """What any run leaves behind, also one that failed.

    Attributes:
        status: ``finished``; ``trial``, trained but not tested, since a study chooses by it; ``failed``; or
            ``pruned``, by a search.
        fingerprint: 64 hexadecimal digits; empty where nothing was composed.
        started: when, ISO 8601 in UTC; ``finished`` likewise.
        overrides: as on the command line.
        choices: option of each group.
        config: resolved.
        seed: of the run.
        error: why it is not finished; empty where it is.
        sweep: name of the sweep or study that it was trained for.
        places: key of the dataset -> absolute path, where the config has another.
        origin: the run whose weights it started from: ``run``, ``fingerprint`` and ``weights``. In the file
            it is ``from``.
        sources: class that is not the lab's -> digest of its source.
    """

    status: str
    fingerprint: str = ""
    started: str = ""
    finished: str = ""
    overrides: list[str]
    sweep: str | None = None
    choices: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict, metadata={record_file.KEY: "from"})
    sources: dict[str, str] = field(default_factory=dict)
    seed: int | None = None
    error: str = ""

    @property
    def command(self) -> str:
        """What the command set."""
        return " ".join(self.overrides)

    @property
    def own_code(self) -> str:
        """Digest of all sources that are not the lab's, 10 hexadecimal digits; empty without any."""
        text = json.dumps(self.sources, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10] if self.sources else ""

    @property
    def select(self) -> str:
        """Key of the figure that its checkpoint is chosen by; older records do not say it."""
        key: str = self.config.get("select", SELECT)
        return key

    @property
    def corruption(self) -> dict[str, Any]:
        """Config of what was done to the images; that of none where the run was never composed."""
        node: dict[str, Any] = self.config.get("corruption", CLEAN)
        return node

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Key, as on the command line -> value, of every setting that can change the figures.

        A key that is younger than the record has the value that means what the run did. Places are left out.
        Empty for a run that was never composed.
        """
        folders = [*self.config.get("paths", {}).values()]
        every = dict(leaves(later(self.config)) if self.config else ()) | dict(leaves(acting(self.config)))
        if self.origin:
            every["from"] = self.origin["run"]
        return {
            key: value
            for key, value in every.items()
            if value not in folders and not f"{key}.".startswith(tuple(f"{one}." for one in IRRELEVANT))
        }

    @property
    def anywhere(self) -> dict[str, Any]:
        """Its settings without where its images lie: ``data`` of a finished run knows their contents.

        Of a dataset that is not the lab's they may be arguments like others, and stay.
        """
        ours = str(self.settings.get("dataset._target_")).startswith("caelab.")
        places = {f"dataset.{key}" for key in PLACES if ours}
        return {key: value for key, value in self.settings.items() if key not in places}


@dataclass(frozen=True, kw_only=True)
class Complete(Record):
    """What a run leaves behind that was trained to its end.

    Attributes:
        metrics: key -> figure: of ``val/`` at the best epoch, and of ``test/`` and ``published/``, but for a
            trial.
        best_epoch: epoch of the chosen checkpoint, from 1.
        size: of the network.
        floor: name of the floor that it is, such as ``PCA``; empty for others.
        batch_size: of training; None for a network that learns nothing by gradients, and on older records.
        time: what it took.
        data: its images.
        environment: device, threads, versions and code.
        earlier_environments: those of the processes that trained parts of it before.
        artifacts: name -> path in the run's directory.
    """

    metrics: dict[str, float]
    best_epoch: int
    size: Size
    floor: str = ""
    batch_size: int | None = None
    time: Time
    data: Data
    environment: dict[str, Any]
    earlier_environments: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[str, str]

    @property
    def model(self) -> dict[str, Any]:
        """Config of the network as it was trained: fitted to few images, it may have fewer numbers."""
        config = network_node(self.config)
        asked = config.get("latent")
        fewer = self.untrained and isinstance(asked, int) and self.size.latent < asked
        return config | {"latent": self.size.latent} if fewer else config

    @property
    def classes(self) -> list[int] | None:
        """Those of its dataset that it has images of; None is all."""
        kept: list[int] | None = self.settings.get("dataset.classes")
        return kept

    @property
    def given_clean(self) -> bool:
        """Whether its network was given the pictures by which it was measured: no corruption, no pairs."""
        return self.corruption == CLEAN and not self.data.paired

    def through(self, key: str) -> list[str]:
        """What a key of its environments, such as ``speed``, was from its first part to its last one."""
        parts = [*self.earlier_environments, self.environment]
        return [*dict.fromkeys(str(one[key]) for one in parts if one.get(key))]

    def score(self, key: str) -> float:
        """A figure of its checkpoint on validation, negated where less is better: the greater, the better."""
        return measures.score(key, self.metrics[key])

    @property
    def untrained(self) -> bool:
        """Whether it took no gradient step, so that a seed changes little or nothing."""
        return not self.time.epochs

    @property
    def code(self) -> str:
        """Commit of the code that trained it, or ``code:`` and the digest of the code itself."""
        commit, digest = self.environment.get("commit"), self.environment.get("code")
        return commit or (f"code:{digest[:10]}" if digest else "")


def chosen_by(records: Iterable[Complete]) -> str:
    """Key that the checkpoints of all of these runs were chosen by; where they differ, validation PSNR.

    All have that. Each run's own loss is another figure where losses differ, and its objective where
    bottlenecks do. Runs without a gradient step do not count beside others: they had nothing to choose from.
    """
    runs = [*records]
    trained = [run for run in runs if not run.untrained] or runs
    own = {"val/loss": ("loss",), OBJECTIVE: ("loss", "bottleneck")}
    keys = {
        (run.select, *(str(run.config.get(group)) for group in own.get(run.select, ()))) for run in trained
    }
    return keys.pop()[0] if len(keys) == 1 else SELECT


def is_finished(record: Record | None) -> TypeGuard[Complete]:
    """Whether a run was trained and tested."""
    return isinstance(record, Complete) and record.status == "finished"


@dataclass(frozen=True)
class TrialRecord:
    """A trial of a search.

    Attributes:
        number: of the trial in its search, from 0.
        state: ``finished``, ``pruned`` or ``failed``.
        point: key -> value.
        value: on validation, of what is searched by, such as PSNR in dB; of the last epoch where it ended
            early; None where it has none.
        epochs: trained.
    """

    number: int
    state: str
    point: dict[str, Any]
    value: float | None
    epochs: float


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """What a search of a study has found.

    Attributes:
        name: what tells it from any other search.
        study: whose row was searched; ``label`` and ``dataset`` say which one.
        space: key -> choices or range.
        pruner: what ended trials early.
        epochs: of each trial.
        trials: how many there are to be.
        history: the trials that are done.
        best: ``number``, ``point`` and ``value`` of the best one; None until all are done.
        importance: key -> share of the variance of what is searched by.
        select: key of what is searched by.
    """

    name: str
    study: str
    label: str
    dataset: str
    space: dict[str, Any]
    pruner: str | None = None
    epochs: float | None
    trials: int
    history: list[TrialRecord]
    best: dict | None  # type: ignore[type-arg]  # isinstance takes no parameters
    importance: dict[str, float]
    select: str = SELECT


_KINDS: dict[str, type[Record]] = {
    "finished": Complete,
    "trial": Complete,
    "failed": Record,
    "pruned": Record,
}
_CHOICES = ("model", "loss", "optimizer", "dataset")
_PCA = {"_target_": "caelab.models.pca.PCA", "shrinkage": "none", "refine": 0}


def load(path: Path) -> Record | None:
    """Read the record of a run; None where there is none.

    Raises:
        ValueError: it is damaged, or no such record.
        OSError: the disk refuses it.
    """
    try:
        return made(record_file.parse(record_file.text(path)))
    except (FileNotFoundError, NotADirectoryError):
        return None


def made(content: Mapping[str, Any]) -> Record:
    """Make a record of what a file holds.

    Raises:
        ValueError: it is no record of this schema, or lacks what the lab relies on.
    """
    if content.get("schema") != SCHEMA:
        raise ValueError(f"schema {record_file.shown(content.get('schema'))}, this caelab reads {SCHEMA}")
    status = content.get("status")
    if not isinstance(status, str) or status not in _KINDS:
        raise ValueError(f"status {record_file.shown(status)}")
    record: Record = record_file.typed(_KINDS[status], content)
    _require(record)
    return _today(record)


def search(content: Mapping[str, Any]) -> SearchRecord:
    """Make a record of what the file of a search holds; older ones call a trial's value ``psnr``.

    Raises:
        ValueError: it is none.
    """
    history = content.get("history")
    for trial in [content.get("best"), *(history if isinstance(history, list) else [])]:
        if isinstance(trial, dict) and "psnr" in trial:
            trial["value"] = trial.pop("psnr")
    record: SearchRecord = record_file.typed(SearchRecord, content)
    measures.higher(record.select)
    return record


def _require(record: Record) -> None:
    """Make sure of what must be in the mappings of a record."""
    wanted: list[tuple[str, Mapping[str, Any], dict[str, Any]]] = [
        ("choices", record.choices, dict.fromkeys(_CHOICES, Any)),
        (
            "config",
            record.config,
            {"model": dict} | ({"dataset": dict} if "dataset" in record.config else {}),
        ),
    ]
    if isinstance(record, Complete):
        try:
            measures.higher(record.select)
        except ValueError as error:
            raise ValueError(f"config.select: {error}") from None
        measured = (
            SELECT,
            record.select,
            *(("test/psnr", "test/ssim") if record.status == "finished" else ()),
        )
        versions = dict.fromkeys(("caelab", "torch", "device", "precision"), str)
        wanted += [
            ("metrics", record.metrics, dict.fromkeys(measured, float)),
            ("environment", record.environment, versions | {"threads": int}),
        ]
    elif not record.error:
        raise ValueError("no error")
    for where, section, kinds in wanted:
        for key, kind in kinds.items():
            if key not in section:
                raise ValueError(f"no {where}.{key}")
            record_file.typed(kind, section[key], f"{where}.{key}")


def _today(record: Record) -> Record:
    """Say of a record of an older release what today's says: it follows from the rest."""
    older = "corruption" not in record.config
    found = replace(
        record,
        choices=dict.fromkeys(("bottleneck", "scheduler", "corruption", "augment"), "none") | record.choices,
        config={"corruption": CLEAN} | record.config,
    )
    if not isinstance(found, Complete):
        return found
    through = older and 0 < found.size.latent == found.size.effective_code  # nothing goes around the latent
    pca = _PCA.items() <= ({"shrinkage": "none", "refine": 0} | found.config["model"]).items()
    return replace(
        found,
        metrics=({"test/latent_reliance": 1.0} if through else {}) | found.metrics,
        floor=found.floor or ("PCA" if pca else ""),
        environment={"speed": found.environment["precision"]} | found.environment,
    )


def text(record: Record | SearchRecord) -> str:
    """Return a record as a file holds it, without what is empty and need not be there.

    Raises:
        ValueError: it holds NaN or infinity.
    """
    kind: Any = type(record)
    values = asdict(record)
    content = {
        one.key: values[one.name]
        for one in record_file.members(kind)
        if one.must or values[one.name] not in (None, "", {}, [])
    }
    if isinstance(record, Complete):
        content["data"] = record.data.plain()
    return json.dumps({"schema": SCHEMA, **content}, indent=2, allow_nan=False) + "\n"


def save(run_dir: Path, record: Record) -> None:
    """Write ``result.json`` atomically: it is whole or it is not there.

    Raises:
        ValueError: the record holds NaN or infinity.
    """
    durable.write(run_dir / RECORD, text(record))


def save_search(folder: Path, found: SearchRecord) -> None:
    """Write what a search of a study has found as ``search.json``, atomically."""
    durable.write(folder / SEARCH, text(found))


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield key, as on the command line, and value of everything in a config."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

"""Queries to the records in docs/results: what gives a figure of README.md and docs/.

The words of a query:

- a key: of a figure (``test/psnr``, ``refine/gain``), ``last/train/loss`` for the last epoch
  of a curve, or a place in the record (``time.fit_seconds``);
- ``of=PART``, which stands for ``*`` in the key;
- the row of runs: settings as on the command line, and names of docs/rows.toml that stand for such. All that
  the runs' command set must be there, but not the seed;
- ``seeds=5``: how many seeds there must be, 3 unless said, 1 without training; ``seed=0``: that one alone;
- ``from=FOLDER`` of docs/results, for runs that lie in two; ``runs`` if nothing is said;
- ``FILE.json`` of docs/results, with a key of dots: a number in that file; ``FILE.csv`` with ``ROW.COLUMN``,
  where a row is named by its first cell.

``A - B`` is the difference of two rows, ``A / B`` their ratio, and B may be a number. Where B names no key,
dataset or row it has A's; ``KEY=`` in B is the setting of A.
"""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import OmegaConf

from caelab import terminal
from caelab.config import CONF, options
from caelab.config.grammar import written
from caelab.metrics import statistics
from caelab.metrics.statistics import Interval
from caelab.report import compare
from caelab.report.rows import Row, Run
from caelab.runs import record_file, records
from caelab.runs.record import is_finished

# Settings of a command that say where a run is kept and how it is shown.
_ELSEWHERE = ("seed", "seeds", "from", "trainer.enable_progress_bar", "paths.output")

Words = dict[str, str]


class Answers:
    """What the records below a folder answer."""

    def __init__(self, folder: Path, names: Mapping[str, str]) -> None:
        self.folder = folder
        self.names = names
        self.runs: dict[frozenset[tuple[str, str]], list[Run]] = defaultdict(list)
        for path, record in records.find(folder):
            if is_finished(record) and not record.origin:
                self.runs[_settings(_words(record.overrides))].append(Run(path, record))

    def answer(self, query: str) -> Interval:
        """Mean over seeds with its 95 % interval; one run has none.

        Raises:
            ValueError: a word that means nothing, or no such runs.
        """
        first, *others = re.split(r" ([-*/]) ", query)
        key, words = self._read(first)
        row = None if "file" in words else self._row(words)
        values = _values(row, key) if row else [float(_inside(self.folder / words["file"], key))]
        result = statistics.interval(values, compare.bounds(key))
        for operator, text in zip(others[::2], others[1::2], strict=True):
            if re.fullmatch(r"-?[\d.]+", text):
                result = _scaled(result, float(text) if operator == "*" else 1 / float(text))
            elif row is None:
                raise ValueError("a file has no rows to compare")
            else:
                own_key, own = self._read(text)
                own = {name: value or words.get(name, "") for name, value in ({"dataset": ""} | own).items()}
                other = self._row(own) if len(own) > 1 else row
                result = (_difference if operator == "-" else _ratio)(row, key, other, own_key or key)
        return result

    def _read(self, text: str) -> tuple[str, Words]:
        """Key and settings of one side of a query."""
        key, settings = "", []
        for word in self._whole(text):
            if "=" in word:
                settings.append(word)
            elif word.endswith((".json", ".csv")):
                settings.append(f"file={word}")
            elif "/" in word or "." in word:
                key = word
            else:
                raise ValueError(f"no name '{word}'{terminal.nearest(word, list(self.names))}")
        words = _words(settings)
        return key.replace("*", words.pop("of", "*")), words

    def _whole(self, text: str) -> Iterator[str]:
        """Words, with those that names stand for."""
        for word in text.split():
            if word in self.names:
                yield from self._whole(self.names[word])
            else:
                yield word

    def _row(self, words: Words) -> Row:
        """The runs that set just these words, one a seed."""
        home = self.folder / words.get("from", "runs")
        runs = sorted(self.runs.get(_settings(words), []), key=lambda run: run.path.is_relative_to(home))
        if not runs:
            raise ValueError("no such runs")
        by_seed = {run.record.seed: run for run in runs}
        floor = all(run.record.untrained for run in runs)
        seeds = [int(words["seed"])] if "seed" in words else range(int(words.get("seeds", 1 if floor else 3)))
        if lost := [str(seed) for seed in seeds if seed not in by_seed]:
            raise ValueError(f"no run of seed {', '.join(lost)}")
        return Row("", words["dataset"], floor, runs={seed: by_seed[seed] for seed in seeds})


def _words(settings: Sequence[str]) -> Words:
    """Key -> value of settings as on the command line, where the last one counts, and an experiment least."""
    own = dict(word.lstrip("+").split("=", 1) for word in settings)
    return _experiment(own.pop("experiment")) | own if "experiment" in own else own


@cache
def _experiment(name: str) -> Words:
    """Key -> value of the words that an experiment stands for."""
    node = OmegaConf.to_container(OmegaConf.load(Path(CONF, "experiment", f"{name}.yaml")))
    assert isinstance(node, dict)
    words: Words = {}
    for default in node.pop("defaults"):
        if isinstance(default, dict):
            words |= {key.removeprefix("override /"): option for key, option in default.items()}
        elif default != "_self_":
            words |= _experiment(default)
    values = options.flat(node).items()
    return words | {key: written(value) for key, value in values if not isinstance(value, dict)}


def _settings(words: Words) -> frozenset[tuple[str, str]]:
    return frozenset((key, _plain(value)) for key, value in words.items() if value and key not in _ELSEWHERE)


def _plain(value: str) -> str:
    """1e-3 and 0.001 are the same."""
    return str(float(value)) if re.fullmatch(r"[\d.]+(e-?\d+)?", value) else value


def _values(row: Row, key: str) -> list[float]:
    if key.startswith("last/"):
        curves = (run.curve(key.removeprefix("last/")) for run in row.runs.values())
        values = [list(curve.values())[-1] for curve in curves if curve]
    elif "/" in key:
        values = list(row.values(key).values())
    else:
        values = [float(_at(run.record, key)) for run in row.runs.values()]
    if len(values) < len(row.runs):
        raise ValueError(f"{len(values)} of {len(row.runs)} runs have {key}")
    return values


def _inside(path: Path, key: str) -> Any:
    text = record_file.text(path)
    if path.suffix == ".json":
        return _at(json.loads(text), key)
    return _at({next(iter(row.values())): row for row in csv.DictReader(text.splitlines())}, key)


def _at(value: Any, key: str) -> Any:
    for name in key.split("."):
        try:
            inside = isinstance(value, dict | list)
            value = value[int(name) if isinstance(value, list) else name] if inside else getattr(value, name)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise ValueError(f"no {key}") from None
    return value


def _scaled(value: Interval, by: float) -> Interval:
    if value.low is None or value.high is None:
        return replace(value, mean=value.mean * by)
    low, high = sorted((value.low * by, value.high * by))
    return replace(value, mean=value.mean * by, low=low, high=high)


def _ratio(a: Row, key: str, b: Row, other_key: str) -> Interval:
    return statistics.interval([fmean(_values(a, key)) / fmean(_values(b, other_key))])


def _difference(a: Row, key: str, b: Row, other_key: str) -> Interval:
    x, y = _values(a, key), _values(b, other_key)
    if a is b:
        return statistics.interval([one - other for one, other in zip(x, y, strict=True)])
    if key == other_key:
        found = compare.difference(a, b, key)
    else:
        found = statistics.difference(a.starts(key), b.starts(other_key))
    return Interval(found.mean, found.low, found.high, found.n)

"""From studies and the runs on disk to the sections of a report."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from caelab.report.rows import Row, Run, Section, best_first
from caelab.runs.labels import image_sets, labels, lines, numbered
from caelab.runs.record import Complete, Record, SearchRecord, is_finished
from caelab.studies import LOOSE, Study
from caelab.studies.index import Index, score
from caelab.studies.variants import Variant

_GROUPS = ("model", "loss", "optimizer")


def section(
    study: Study, dataset: str, runs: Index, searched: Mapping[str, SearchRecord] = MappingProxyType({})
) -> Section:
    """Collect what there is of a study on one of its datasets.

    Args:
        study: the study.
        dataset: one of its datasets.
        runs: all runs on disk.
        searched: name of a search -> what it found.
    """
    if not any(record.choices.get("dataset") == dataset for _, record in runs.values()):
        runs = {}
    variants = study.variants(dataset, score(study, runs), searched)
    rows = [_row(study, variant, runs) for variant in variants]
    there = {row.label for row in rows}
    trials = study.trials(dataset)
    for label, tried in trials.items():
        if label not in there:
            reason = f"not all of its {len(tried)} trials are finished"
            rows.append(Row(label, dataset, missing=dict.fromkeys(range(study.seeds), reason)))
    searches = {search.label: searched.get(search.name) for search in study.searches(dataset)}
    for label in searches.keys() - there:
        reason = f"not all of its {study.tune.trials if study.tune else 0} trials are done"
        rows.append(Row(label, dataset, missing=dict.fromkeys(range(study.seeds), reason)))
    tuned = [*searches, *trials]
    rows.sort(key=lambda row: tuned.index(row.label) if row.label in tuned else len(tuned))
    return Section(
        study.name,
        study.title,
        study.text,
        dataset,
        rows,
        study.reference,
        study.axis,
        study.claims,
        {label: found for label, found in searches.items() if found},
        trial_seed=study.tune.seed if study.tune else None,
    )


def _row(study: Study, variant: Variant, runs: Index) -> Row:
    found: dict[int, Run] = {}
    missing: dict[int, str] = {}
    for seed in range(1 if variant.floor else study.seeds):
        path, record = runs.get(variant.identity(seed), (None, None)) if runs else (None, None)
        if path is None or record is None:
            missing[seed] = "not run"
        elif not is_finished(record):
            missing[seed] = _why(record)
        else:
            found[seed] = Run(path, record)
    published = study.published.get(variant.dataset, {}).get(variant.label, {})
    return Row(variant.label, variant.dataset, variant.floor, variant.settings, found, missing, published)


def beyond(
    study: Study, dataset: str, runs: Index, searched: Mapping[str, SearchRecord] = MappingProxyType({})
) -> list[int]:
    """Seeds beyond a study's number that finished runs of its sweeps have, in its rows; one a run."""
    own = {
        key: record.seed
        for key, (_, record) in runs.items()
        if is_finished(record)
        and (record.sweep or "").rpartition("-")[0] == study.name
        and (record.seed or 0) >= study.seeds
    }
    variants = study.variants(dataset, score(study, runs), searched) if own else []  # composing takes long
    seeds = sorted({seed for seed in own.values() if seed is not None})
    return [seed for one in variants if not one.floor for seed in seeds if one.identity(seed) in own]


def _why(record: Record) -> str:
    """Why a run that is there has no figures."""
    if record.status == "failed":
        return f"failed: {record.error}"
    return "a trial, not tested" if record.status == "trial" else "not run"


def apart(one: Section) -> list[Section]:
    """Part the rows of a study that were measured on different test images, whose figures do not compare."""
    found = [(row, run.record) for row in one.rows for run in row.runs.values()]
    sets: dict[str, dict[str, None]] = {row.label: {} for row in one.rows}
    for (row, _), images in zip(found, image_sets([record for _, record in found]), strict=True):
        sets[row.label][images] = None
    names = {label: " and ".join(images) for label, images in sets.items()}
    parts = list(dict.fromkeys(name for name in names.values() if name)) or [""]
    if len(parts) == 1:
        return [one]
    rows = [[row for row in one.rows if (names[row.label] or parts[0]) == part] for part in parts]
    return [
        replace(one, study=_file(one.study, number), title=f"{one.title}, test images: {part}", rows=of_it)
        for number, (part, of_it) in enumerate(zip(parts, rows, strict=True), 1)
    ]


def others(runs: Index, sections: Sequence[Section] = ()) -> list[Section]:
    """Collect the finished runs that belong to none of the sections, a row a variant.

    Each dataset is a section, or several where the test images of its runs differ. Seeds of a variant that
    failed are missing in its row.

    Args:
        runs: all runs on disk.
        sections: of studies; the trials of their sweeps are left out.
    """
    used = {run.path for one in sections for row in one.rows for run in row.runs.values()}
    trials = {(one.study, one.trial_seed) for one in sections if one.trial_seed is not None}
    variants: dict[str, dict[int, Run]] = {}
    for path, record in runs.values():
        trial = ((record.sweep or "").removesuffix("-full"), record.seed) in trials
        if is_finished(record) and path not in used and not trial:
            key = json.dumps([_asked(record, record.anywhere), record.data.plain()], sort_keys=True)
            variants.setdefault(key, {})[record.seed or 0] = Run(path, record)
    firsts = [next(iter(found.values())).record for found in variants.values()]
    parts: dict[str, dict[str, list[dict[int, Run]]]] = {}  # dataset -> test images -> variants
    for found, record, images in zip(variants.values(), firsts, image_sets(firsts), strict=True):
        parts.setdefault(record.choices["dataset"], {}).setdefault(images, []).append(found)
    title, failed = "Other runs" if sections else "Runs", _failed(runs, firsts)
    loose = [one for dataset, sets in parts.items() for one in _by_images(title, dataset, sets)]
    return [replace(one, rows=[_with_failed(row, failed) for row in one.rows]) for one in loose]


def _asked(record: Record, settings: dict[str, Any]) -> str:
    """What was asked for, but for the seed: with what stands in ``settings``, and its code and weights."""
    return json.dumps([settings | {"seed": None}, record.sources, record.origin], sort_keys=True)


def _failed(runs: Index, rows: Sequence[Complete]) -> dict[str, dict[int, str]]:
    """What was asked for -> seed -> why it failed.

    On which images it was to train nobody knows, so where it lay counts if that tells rows apart.
    """
    known = Counter(_asked(record, record.anywhere) for record in rows)
    found: dict[str, dict[int, str]] = {}
    for _, record in runs.values():
        if record.status == "failed" and record.seed is not None:
            wide = _asked(record, record.anywhere)
            key = wide if known[wide] == 1 else _asked(record, record.settings)
            found.setdefault(key, {})[record.seed] = _why(record)
    return found


def _with_failed(row: Row, failed: Mapping[str, Mapping[int, str]]) -> Row:
    """The row, with its seeds that failed."""
    records = [run.record for run in row.runs.values()]
    asked = {_asked(one, settings) for one in records for settings in (one.anywhere, one.settings)}
    lost = {seed: why for one in asked for seed, why in failed.get(one, {}).items()}
    return replace(row, missing={seed: lost[seed] for seed in sorted(lost.keys() - row.runs.keys())})


def _by_images(title: str, dataset: str, sets: Mapping[str, Sequence[Mapping[int, Run]]]) -> list[Section]:
    return [
        Section(
            _file(LOOSE, number),
            f"{title}, test images: {images}" if len(sets) > 1 else title,
            _shared(variants),
            dataset,
            _rows(dataset, variants),
            loose=True,
        )
        for number, (images, variants) in enumerate(sets.items(), 1)
    ]


def _file(study: str, number: int) -> str:
    """What names the files of a section that is one of several."""
    return study if number == 1 else f"{study}-{number}"


def _rows(dataset: str, variants: Sequence[Mapping[int, Run]]) -> list[Row]:
    """A row a variant, named by what tells it from the other ones; best on validation first."""
    firsts = [next(iter(found.values())).record for found in variants]
    own = [
        {key: value for key, value in name.items() if key not in {"dataset", "seed", *_places(record)}}
        for name, record in zip(labels(firsts), firsts, strict=True)
    ]
    names = [
        ", ".join(lines(name)) or record.choices["model"] for name, record in zip(own, firsts, strict=True)
    ]
    return best_first(
        [
            Row(label, dataset, record.untrained, runs=found)
            for label, record, found in zip(numbered(names), firsts, variants, strict=True)
        ]
    )


def _places(record: Complete) -> set[str]:
    """Settings in which runs on the same images may differ."""
    return record.settings.keys() - record.anywhere.keys()


def _shared(variants: Sequence[Mapping[int, Run]]) -> str:
    """Say what all variants have in common."""
    choices = [next(iter(found.values())).record.choices for found in variants]
    same = [f"{key}={choices[0][key]}" for key in _GROUPS if len({one.get(key) for one in choices}) == 1]
    return f"All with {', '.join(same)}." if same else ""

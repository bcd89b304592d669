"""From studies and the runs on disk to the sections of a report."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from caelab.report.rows import Row, Run, Section
from caelab.runs import results
from caelab.runs.labels import TEST_IMAGES, Label, image_sets, labels
from caelab.runs.results import Record
from caelab.studies import Study
from caelab.studies.index import Index, score
from caelab.studies.variants import Variant


def section(
    study: Study, dataset: str, runs: Index, searched: Mapping[str, Record] = MappingProxyType({})
) -> Section:
    """Collect what there is of a study on one of its datasets.

    Args:
        study: the study.
        dataset: one of its datasets.
        runs: all runs on disk.
        searched: name of a search -> what it found.
    """
    if not any(record.get("choices", {}).get("dataset") == dataset for _, record in runs.values()):
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
    )


def _row(study: Study, variant: Variant, runs: Index) -> Row:
    found: dict[int, Run] = {}
    missing: dict[int, str] = {}
    for seed in range(1 if variant.floor else study.seeds):
        path, record = runs.get(variant.identity(seed), (None, None)) if runs else (None, None)
        if path is None or record is None:
            missing[seed] = "not run"
        elif record["status"] != "finished":
            missing[seed] = _why(record)
        else:
            found[seed] = Run(path, record)
    published = study.published.get(variant.dataset, {}).get(variant.label, {})
    return Row(variant.label, variant.dataset, variant.floor, variant.settings, found, missing, published)


def _why(record: Record) -> str:
    """Why a run that is there has no figures."""
    if record["status"] == "failed":
        return f"failed: {record['error']}"
    return "a trial, not tested" if record["status"] == "trial" else "not run"


def others(runs: Index, sections: Sequence[Section]) -> list[Section]:
    """Collect the finished runs that no study has trained or uses, a row a variant.

    Each dataset is a section, or several where the test images of its runs differ.
    """
    used = {run.path for one in sections for row in one.rows for run in row.runs.values()}
    variants: dict[str, dict[int, Run]] = {}
    for path, record in runs.values():
        alone = (record.get("sweep") or "sweep-").startswith("sweep-")
        if record["status"] == "finished" and path not in used and alone:
            same = results.settings(record) | {"seed": None}
            key = json.dumps([same, record["data"]], sort_keys=True)
            variants.setdefault(key, {})[record["seed"]] = Run(path, record)
    firsts = [next(iter(found.values())).record for found in variants.values()]
    rows: dict[str, dict[str, list[Row]]] = {}  # dataset -> test images -> rows
    taken: Counter[str] = Counter()
    for found, record, name, images in zip(
        variants.values(), firsts, labels(firsts), image_sets(firsts), strict=True
    ):
        label, dataset = _variant_label(record, name), record["choices"]["dataset"]
        taken[f"{dataset} {images} {label}"] += 1
        if (number := taken[f"{dataset} {images} {label}"]) > 1:
            label += f" ({number})"
        row = Row(label, dataset, results.untrained(record), runs=found)
        rows.setdefault(dataset, {}).setdefault(images, []).append(row)
    return [one for dataset, sets in rows.items() for one in _by_images(dataset, sets)]


def _variant_label(record: Record, name: Label) -> str:
    """Name a variant by its model and what tells it from the others but for what its section says."""
    apart = ("dataset", "seed", "model", TEST_IMAGES)
    own = [f"{key}={value}" for key, value in name.items() if key not in apart and value != "-"]
    return ", ".join([record["choices"]["model"], *own])


def _by_images(dataset: str, sets: Mapping[str, Sequence[Row]]) -> list[Section]:
    text = "Runs that belong to none of the studies."
    found = []
    for number, (images, rows) in enumerate(sets.items(), 1):
        study = "runs" if number == 1 else f"runs-{number}"  # names its files
        title = f"Other runs, test images: {images}" if len(sets) > 1 else "Other runs"
        found.append(Section(study, title, text, dataset, rows))
    return found

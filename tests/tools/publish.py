"""Put the records of finished runs and trials into archives of docs/results.

``python tests/tools/publish.py multirun docs/results/runs``: what is there already stays. Checkpoints,
pictures and logs are left out, and so is what names a place on this machine.
"""

import json
import sys
from pathlib import Path
from typing import Any

from caelab import durable
from caelab.runs import record_file, records, results
from caelab.runs.record import RECORD, Complete

CACHE = "~/.cache/caelab"
FILES = (results.ARTIFACTS["curves"],)  # beside the JSON files


def main() -> None:
    """Add the runs below a folder to the archives below another one, and say how many."""
    source, target = map(Path, sys.argv[1:])
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path, record in records.find(source):
        if isinstance(record, Complete):
            found.setdefault(path.parent.name, {})[path.name] = content(path)
    for dataset, runs in found.items():
        folder = target / dataset
        known = {name: read(files) for name, files in record_file.archived(folder).items()}
        new = {name: files for name, files in runs.items() if known.get(name) != files}
        lines = [json.dumps({"run": name, **files}) for name, files in sorted((known | runs).items())]
        folder.mkdir(parents=True, exist_ok=True)
        durable.write(folder / record_file.ARCHIVE, "".join(f"{line}\n" for line in lines))
        print(f"{folder / record_file.ARCHIVE}: {len(lines)} runs, {len(new)} of them new or changed")


def content(run: Path) -> dict[str, Any]:
    """The small files of a run, by name."""
    names = [name for name in record_file.files(run) if name.endswith(".json") or name in FILES]
    found = read({name: record_file.text(run / name) for name in names})
    record = found[RECORD]
    record.pop("places", None)
    record["overrides"] = [word for word in record["overrides"] if not word.lstrip("+").startswith("paths.")]
    config = record["config"]
    if "paths" in config:
        config["paths"] = {"data": CACHE, "output": "multirun"}
    dataset = config["dataset"]
    if "data_dir" in dataset:
        dataset["data_dir"] = CACHE
    if "path" in dataset:  # a user's own pictures, which the run is known by and not their place
        name = Path(dataset["path"]).name
        record["overrides"] = [word.replace(dataset["path"], name) for word in record["overrides"]]
        dataset["path"] = name
    return found


def read(files: dict[str, str]) -> dict[str, Any]:
    """JSON as objects, anything else as text."""
    return {name: json.loads(text) if name.endswith(".json") else text for name, text in files.items()}


if __name__ == "__main__":
    main()

"""Where the data of a run lie, and what lies there: a run knows its data by their contents, not their place.

Relative paths count from the working directory of the command, which Hydra may have left since.
"""

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

KEYS = ("data_dir", "path", "root", "archive")
"""Keys of a dataset that name a place."""


def absolute(path: str) -> Path:
    """Absolute path of what a command names."""
    from hydra.core.hydra_config import HydraConfig  # which a trained network is read without

    job = HydraConfig.get() if HydraConfig.initialized() else None
    base = job.runtime.cwd if job is not None and job.job.chdir else os.getcwd()
    return Path(base, os.path.expanduser(path))


def one_name(text: str) -> str:
    """Return text as the name of one file or folder, which leads nowhere else."""
    return re.sub(r"[/\\\0]", "-", text).lstrip(".") or "-"


def of_dataset(dataset: Mapping[str, Any]) -> dict[str, str]:
    """Absolute path by key of every place that the config of a dataset names."""
    named = {key: dataset.get(key) for key in KEYS}
    return {key: str(absolute(path)) for key, path in named.items() if isinstance(path, str) and path}


def there(places: Any) -> dict[str, str]:
    """Those of the places in a record that are still there; the others are looked for as they were named."""
    kept = places.items() if isinstance(places, Mapping) else ()
    return {key: path for key, path in kept if key in KEYS and isinstance(path, str) and Path(path).exists()}


def by_content(node: Any, plain: Any, data: Path, shared: Collection[str], target: str = "") -> Any:
    """Return a dataset's config with a digest of its contents in place of each folder that it names.

    Args:
        node: of the config, where it names the lab's own folders by their keys.
        plain: the same node with every path.
        data: the data folder.
        shared: the lab's own folders, which stay as they are where a class that is not the lab's names them.
        target: the class that takes the node.
    """
    from caelab.data import contents

    if isinstance(plain, Mapping):
        target = str(plain.get("_target_", ""))
        return {
            key: one if key == "data_dir" else by_content(one, plain[key], data, shared, target)
            for key, one in node.items()
        }
    if isinstance(plain, list):
        return [by_content(*pair, data, shared, target) for pair in zip(node, plain, strict=True)]
    if not isinstance(plain, str) or not plain:
        return node
    if plain in shared and target not in (contents.FOLDER, contents.CINIC10):
        return node
    folder = absolute(plain)
    return contents.digest(contents.read_by(target, folder, data)) if os.path.isdir(folder) else node

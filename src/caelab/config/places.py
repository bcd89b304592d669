"""Where the data of a run lie, and what lies there: it knows its data by their contents, not their place."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caelab.config.fingerprint import PLACES
from caelab.data import contents

_ANYWHERE = (contents.FOLDER, contents.INDEXED, contents.CINIC10)  # also in the lab's own folders


def absolute(path: str, base: Path) -> Path:
    """Absolute path of what a command names, relative to ``base`` or below ``~``."""
    return base / os.path.expanduser(path)


def of_dataset(dataset: Mapping[str, Any], base: Path) -> dict[str, str]:
    """Absolute path by key of every place that the config of a dataset names."""
    named = {key: dataset.get(key) for key in PLACES}
    found = {key: absolute(path, base) for key, path in named.items() if isinstance(path, str) and path}
    elsewhere = dataset.get("_target_") == contents.HUB  # a path that is no folder here
    return {key: str(path) for key, path in found.items() if not elsewhere or key != "path" or path.is_dir()}


def there(places: Any) -> dict[str, str]:
    """Those of the places in a record that are still there; the others are looked for as they were named."""
    kept = places.items() if isinstance(places, Mapping) else ()
    return {
        key: path for key, path in kept if key in PLACES and isinstance(path, str) and Path(path).exists()
    }


def by_content(node: Any, plain: Any, paths: Mapping[str, str], base: Path, target: str = "") -> Any:
    """Return a dataset's config with a digest of its contents in place of each place that it names.

    Args:
        node: of the config, where it names the lab's own folders by their keys.
        plain: the same node with every path.
        paths: the lab's own folders by their keys. Where a class that is not the lab's names ``data`` or
            ``output``, they stay as they are.
        base: folder from which relative paths count.
        target: the class that takes the node.

    Raises:
        UserError: images that cannot be read.
    """
    if isinstance(plain, Mapping):
        target = str(plain.get("_target_", ""))
        ours = target.startswith("caelab.")
        if target == contents.FOLDER and plain.get("index"):
            target = contents.INDEXED
        return {
            key: one
            if key == "data_dir" or (ours and key not in PLACES)
            else by_content(one, plain[key], paths, base, target)
            for key, one in node.items()
        }
    if isinstance(plain, list):
        return [by_content(*pair, paths, base, target) for pair in zip(node, plain, strict=True)]
    if not isinstance(plain, str) or not plain:
        return node
    if plain in (paths["data"], paths["output"]) and target not in _ANYWHERE:
        return node
    folder = absolute(plain, base)
    if target == contents.INDEXED and folder.is_file():
        target = contents.ARRAY  # an index is one file, too
    if not (folder.is_file() if target == contents.ARRAY else folder.is_dir()):
        return node
    return contents.digest(contents.read_by(target, folder, absolute(paths["data"], base)))

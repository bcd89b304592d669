"""What is known of configs: the options of conf/, what is refused, and what identifies a run."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
# In a wheel conf/ is part of the package; in a checkout it stands at the top, two levels up.
CONF = str(_PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1] / "conf")
"""Folder of the lab's own configs."""

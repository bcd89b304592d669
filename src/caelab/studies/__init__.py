"""Studies: named sets of runs, read from conf/study/, that are carried out and reported as one."""

from caelab.studies.files import ALL, BUDGETS, LOOSE, OPTIONS, command, load, names
from caelab.studies.study import Score, Search, Study
from caelab.studies.tuning import Entry, Tuning
from caelab.studies.variants import Variant

__all__ = [
    "ALL",
    "BUDGETS",
    "LOOSE",
    "OPTIONS",
    "Entry",
    "Score",
    "Search",
    "Study",
    "Tuning",
    "Variant",
    "command",
    "load",
    "names",
]

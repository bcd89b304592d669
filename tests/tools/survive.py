"""Kill commands before changes that they make on the disk, start them again, and compare.

``make survive``, or ``python tests/tools/survive.py [--part 0.1] [ROW ...]``: minutes. Each row is killed
as often as ``survival/rows.py`` says, spread evenly over the changes of its command. After each kill, and
after a power cut at the same moment that loses what was not synced, the same command must end bit for bit
as one that nobody disturbed: records, checkpoints, curves, pictures, and nothing left over. A run that was
finished before must be whole on the disk at any moment, until the new one is. Exit status 1 if anything is
lost.
"""

import argparse
import ctypes
import gc
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from survival.trials import Base, Outcome, Trial

EVERY = 20.0  # seconds between lines that say how far it is
FOLDER = "SURVIVE_FOLDER"
COMMANDS = ("train", "training.run", "analysis.audit.audit", "analysis.refine.refine", "report.build")

_disk = Path()  # of a process of the pool


def main() -> None:
    """Compile what counts and kills, and go on in a process that has it loaded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="key of a row (default: all)")
    parser.add_argument("--part", type=float, default=1.0, help="of the kills, from 0 to 1 (default 1)")
    parser.add_argument("--keep", type=Path, help="folder for what is lost, to be looked at")
    given = parser.parse_args()
    if FOLDER in os.environ:
        sys.exit(survive(Path(os.environ[FOLDER]), given.rows, given.part, given.keep))
    from survival.disk import shim

    with tempfile.TemporaryDirectory() as folder:
        try:
            library = shim(Path(folder))
        except OSError as error:
            sys.exit(f"survive: {error}")
        # one thread: sums of floats then do not depend on how work was shared out, and a fork is safe
        environment = {"LD_PRELOAD": str(library), FOLDER: folder, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        again = [sys.executable, __file__, *sys.argv[1:]]
        sys.exit(subprocess.run(again, env=os.environ | environment).returncode)


def survive(folder: Path, rows: Sequence[str], part: float, keep: Path | None) -> int:
    """Carry out the rows; return the exit status."""
    for name in COMMANDS:
        import_module(f"caelab.{name}")
    gc.freeze()  # no start goes through all of that when it collects
    from survival import trials
    from survival.rows import PICTURES, ROWS, draw_pictures

    draw_pictures(folder / PICTURES)
    began = time.monotonic()
    context = get_context("fork")
    with ProcessPoolExecutor(os.cpu_count(), context, _begin, (folder, context.Value("i", 0))) as pool:
        bases = list(pool.map(_base, rows or list(ROWS)))
        todo = [
            pool.submit(_carry_out, base, trial, keep)
            for base in bases
            for trial in trials.trials(base, math.ceil(part * ROWS[base.row].kills))
        ]
        print(f"{len(bases)} rows, {len(todo)} kills", flush=True)
        outcomes = _collect(todo)
    _show(bases, outcomes)
    lost = sum(bool(one.lost) for one in outcomes)
    print(f"{time.monotonic() - began:.0f} s; {'nothing is lost' if not lost else f'{lost} lost'}")
    return int(bool(lost))


def _begin(folder: Path, processes: "ctypes.c_int") -> None:
    global _disk
    from survival.start import adopt_orphans

    with processes.get_lock():  # type: ignore[attr-defined]
        _disk = folder / f"disk{processes.value}"
        processes.value += 1
    adopt_orphans()


def _base(row: str) -> "Base":
    from survival import trials

    return trials.base(row, _disk)


def _carry_out(base: "Base", trial: "Trial", keep: Path | None) -> "list[Outcome]":
    from survival import trials

    return trials.carry_out(base, trial, _disk, keep)


def _collect(todo: "Sequence[Future[list[Outcome]]]") -> "list[Outcome]":
    found: list[Outcome] = []
    began = told = time.monotonic()
    for number, one in enumerate(as_completed(todo), start=1):
        found += one.result()
        now = time.monotonic()
        if now - told > EVERY:
            told = now
            left = (now - began) / number * (len(todo) - number)
            lost = sum(bool(one.lost) for one in found)
            print(f"[{number} of {len(todo)} kills, {lost} lost, {left:.0f} s left]", flush=True)
    return sorted(found, key=lambda one: (one.trial.row, one.trial.kill_at))


def _show(bases: "Sequence[Base]", outcomes: "Sequence[Outcome]") -> None:
    """Print what was lost, a line each, and the table."""
    from survival.rows import ROWS

    changes = {base.row: base.changes for base in bases}
    for one in outcomes:
        if one.lost:
            place = one.trial.kill_at
            change = changes[one.trial.row][place - 1] if place else None
            where = f"before {change.kind} {change.path} {change.to}" if change else "after the end"
            print(f"LOST {one.trial.row}, {'power cut' if one.cut else 'killed'} {where}")
            print("".join(f"    {line}\n" for line in one.lost), end="")
    print("\n| what is killed | its changes | killed | held | lost | power cut | held | lost | left over |")
    print(f"| --- {'| ---: ' * 8}|")
    for base in bases:
        counts = [len(base.changes)]
        for cut in (False, True):
            mine = [one for one in outcomes if one.trial.row == base.row and one.cut == cut]
            lost = sum(bool(one.lost) for one in mine)
            counts += [len(mine), len(mine) - lost, lost]
        left = sum(bool(one.left) for one in outcomes if one.trial.row == base.row and not one.cut)
        print(f"| {ROWS[base.row].title} | {' | '.join(map(str, [*counts, left]))} |")


if __name__ == "__main__":
    main()

"""One kill after the other: what is tried, and whether anything was lost by it."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from survival.contents import contents, differences, runs
from survival.disk import Change, losses
from survival.rows import FORCE, ROWS
from survival.start import Running, start

UNREAD = re.compile(r"(^|/)\.(caelab|sweep)-")  # caelab runs --clean removes them


@dataclass(frozen=True)
class Base:
    """What a row's command does where nobody disturbs it.

    Attributes:
        row: key of it.
        changes: that the command makes.
        expected: what it leaves, as in ``contents``.
        old: runs that are finished before it.
        new: runs that are finished after it.
    """

    row: str
    changes: list[Change]
    expected: dict[str, str]
    old: dict[str, str]
    new: dict[str, str]


@dataclass(frozen=True)
class Trial:
    """One kill.

    Attributes:
        row: key of the row.
        kill_at: number of the change before which it comes; 0: none, for a power cut after the end.
        leader: whether it hits the first process of several.
    """

    row: str
    kill_at: int
    leader: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a kill, or of a power cut at the same moment.

    Attributes:
        trial: see there.
        cut: whether the power was cut.
        lost: what was lost, a line each.
        left: files under names that nobody reads, which wait to be cleared.
    """

    trial: Trial
    cut: bool
    lost: list[str]
    left: list[str]


def base(row: str, disk: Path) -> Base:
    """Bring a folder to where a row starts, keep that, and carry out its command.

    Raises:
        AssertionError: the command fails, or what it makes of a finished run cannot be told from that.
    """
    _clear(disk)
    ROWS[row].before(disk)
    shutil.copytree(disk, _kept(row, disk))
    old = _runs(disk)
    running = start(ROWS[row].words(disk), disk)
    end = running.wait()
    assert end.status == 0, f"{row}: {disk.with_suffix('.screen').read_text()}"
    new = _runs(disk)
    assert row != "force" or not set(old.values()) & set(new.values())
    return Base(row, end.changes, contents(disk), old, new)


def trials(base: Base, most: int) -> list[Trial]:
    """Choose the kills of a row: before each change, but at most that many.

    Of the writes to a file the first counts as a change; of the others every tenth kill is.
    """
    places = range(1, len(base.changes) + 1)
    main = [place for place in places if _tells(base.changes, place - 1)]
    others = [place for place in places if place not in set(main)]
    main = _evenly(main, round(0.9 * most))
    chosen = sorted({*main, *_evenly(others, len(main) // 9)})
    if ROWS[base.row].leaders:
        return [Trial(base.row, place, leader) for place in chosen for leader in (False, True)]
    return [*(Trial(base.row, place) for place in chosen), Trial(base.row, 0)]


def _tells(changes: Sequence[Change], number: int) -> bool:
    one, before = changes[number], changes[number - 1] if number else None
    first = before is None or before.path != one.path or before.kind in ("create", "empty")
    return one.kind not in ("write", "touch", "sync") or (one.kind == "write" and first)


def _evenly(places: Sequence[int], most: int) -> list[int]:
    count = min(most, len(places))
    return [places[number * len(places) // count] for number in range(count)]


def carry_out(base: Base, trial: Trial, disk: Path, keep: Path | None) -> list[Outcome]:
    """Kill, start again and compare; the same once more as if the power had been cut.

    Args:
        base: of the row.
        trial: what to kill.
        disk: folder to work in.
        keep: where what was lost stays, to be looked at.
    """
    _clear(disk)
    shutil.copytree(_kept(base.row, disk), disk, dirs_exist_ok=True)
    killed = start(ROWS[base.row].words(disk), disk, trial.kill_at, trial.leader)
    end = killed.wait()
    short = losses(end.changes, disk)
    dark = disk.with_suffix(".dark")
    shutil.copytree(disk, dark)
    found = _outcome(base, trial, False, disk, killed, keep)
    if ROWS[base.row].leaders:  # the other processes go on: no moment is that of the cut
        shutil.rmtree(dark)
        return [found]
    shutil.rmtree(disk)
    dark.rename(disk)
    if all(path.suffix == ".log" for path in short):  # nothing that is read again: the kill has shown it
        return [found, replace(found, cut=True)]
    for path, size in short.items():
        os.truncate(disk / path, size)
    return [found, _outcome(base, trial, True, disk, killed, keep)]


def _outcome(base: Base, trial: Trial, cut: bool, disk: Path, killed: Running, keep: Path | None) -> Outcome:
    """Start again, and say what is lost at this moment or then."""
    lost = _mixed(base, _runs(disk)) + _gone(base, disk)
    status = start(ROWS[base.row].words(disk), disk).wait().status
    if status != 0:
        lost.append("the next start is stuck" if status is None else f"the next start ends with {status}")
    if killed.orphans():
        lost.append("processes of the killed command live on")
    found = contents(disk)
    left = [name for name in found if UNREAD.search(name)]
    lost += differences({name: one for name, one in found.items() if name not in left}, base.expected)
    if lost and keep:
        name = f"{trial.row}-{trial.kill_at}{'-leader' * trial.leader}{'-cut' * cut}"
        shutil.copytree(disk, keep / name, dirs_exist_ok=True)
        shutil.copy(disk.with_suffix(".screen"), keep / name / "screen")
    return Outcome(trial, cut, lost, left)


def _mixed(base: Base, found: dict[str, str]) -> list[str]:
    """Name runs that say they are finished, and are neither the old run nor the new one."""
    whole = {*base.old.values(), *base.new.values()}
    return [f"{path}: parts of two runs" for path in base.new if found.get(path, "") not in {"", *whole}]


def _gone(base: Base, disk: Path) -> list[str]:
    """Name runs that were finished before, and that the next start without ``force`` does not bring back."""
    missing = _missing(base, _runs(disk))
    if not missing:
        return []
    aside = disk.with_suffix(".aside")
    shutil.copytree(disk, aside)
    start([word for word in ROWS[base.row].words(disk) if word != FORCE], disk).wait()
    missing = _missing(base, _runs(disk))
    shutil.rmtree(disk)
    aside.rename(disk)
    return [f"{path}: the finished run is nowhere whole" for path in missing]


def _missing(base: Base, found: dict[str, str]) -> list[str]:
    there = set(found.values())
    return [path for path, run in base.old.items() if run not in there and found.get(path) != base.new[path]]


def _runs(disk: Path) -> dict[str, str]:
    return {str(path.relative_to(disk)): run for path, run in runs(disk).items()}


def _kept(row: str, disk: Path) -> Path:
    return disk.with_name(f"{row}.before")


def _clear(disk: Path) -> None:
    shutil.rmtree(disk, ignore_errors=True)
    disk.mkdir()
    disk.with_suffix(".screen").write_text("")

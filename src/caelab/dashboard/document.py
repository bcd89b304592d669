"""The report: what the runs show, in words with intervals, above the panels of each study or sweep."""

import wandb_workspaces.reports.v2 as wr

from caelab.dashboard import panels
from caelab.dashboard.board import Board, Part, keys
from caelab.report import compare
from caelab.report.rows import Row, Section, best_first, heading
from caelab.report.wording import unit

_SHOWN = ("test/psnr", "test/ssim")


def document(board: Board, entity: str, project: str) -> wr.Report:
    """Build the report of a board, which nothing is sent of yet."""
    blocks = [block for part in board.parts for block in _part(part)]
    return wr.Report(project=project, entity=entity, title=board.title[:128], blocks=blocks, width="fluid")


def _part(part: Part) -> list[wr.H1 | wr.P | wr.UnorderedList | wr.PanelGrid]:
    title, found = heading(part.section), keys(part.runs)
    verdicts = [wr.UnorderedList(items=list(part.verdicts))] if part.verdicts else []
    grid = wr.PanelGrid(
        runsets=[wr.Runset(name=title, filters=panels.only(part.runs))],
        panels=[panel for make in panels.GROUPS.values() for panel in make(found)],
    )
    rows = wr.UnorderedList(items=sentences(part.section))
    return [wr.H1(title), wr.P(part.section.text), *verdicts, rows, grid]


def sentences(section: Section) -> list[str]:
    """Say of each row what its runs have measured, best validation first, and how far it is from the best."""
    rows = best_first(section.rows)
    trained = [row for row in rows if not row.floor]
    best = trained[0] if trained else None
    return [_sentence(row, best) for row in rows]


def _sentence(row: Row, best: Row | None) -> str:
    figures = [_figure(row, metric) for metric in _SHOWN if row.values(metric)]
    seeds = f"{len(row.runs)} {'seed' if len(row.runs) == 1 else 'seeds'}"
    notes = ["fitted without training"] if row.floor else [seeds]
    notes += ["bypasses its latent"] if row.bypassing else []
    if best is not None and row is not best:
        notes.append(f"PSNR {_apart(row, best)} from {best.label}")
    return f"{row.label}: {', '.join(figures)} ({', '.join(notes)})."


def _figure(row: Row, metric: str) -> str:
    name = metric.partition("/")[2].upper()
    found = compare.interval(row, metric)
    return f"{name} {_spread(found.mean, found.low, found.high, metric)}"


def _apart(row: Row, best: Row) -> str:
    found = compare.difference(row, best, _SHOWN[0])
    return _spread(found.mean, found.low, found.high, _SHOWN[0], "+")


def _spread(mean: float, low: float | None, high: float | None, metric: str, sign: str = "") -> str:
    digits = 2 if unit(metric) else 3
    text = f"{mean:{sign}.{digits}f}{unit(metric)}"
    return text if low is None or high is None else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"

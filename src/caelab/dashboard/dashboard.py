"""The dashboard: ``caelab dashboard [STUDY ...]``."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caelab import durable, terminal
from caelab.dashboard.board import Board, Part, in_wandb, is_of, known
from caelab.dashboard.document import document
from caelab.dashboard.upload import send, there
from caelab.dashboard.workspace import workspace
from caelab.errors import UserError
from caelab.report.asked import Asked
from caelab.report.claims import verdicts
from caelab.report.measure import apart, others, section
from caelab.runs import records
from caelab.studies import Study
from caelab.studies.index import Index, index
from caelab.training.loggers.wandb import key_configured


def dashboard(asked: Asked, entity: str | None, project: str | None, upload: bool, out: Path) -> None:
    """Make a workspace and a report in W&B, or write into a file what would be sent.

    Args:
        asked: of which studies and runs.
        entity: whose project it is; None is that of the environment, or the user's own.
        project: where the runs are; None is that of the environment, or ``caelab``.
        upload: whether to send the runs that were trained without W&B.
        out: the file, where there is no key.

    Raises:
        UserError: no runs, no such budget, or no run that W&B knows.
    """
    runs = _runs(asked.roots)
    plans = [study for _, study in asked.plans(runs)]
    parts = _parts(plans, runs, records.searches(*asked.roots), rest=not asked.names)
    project = project or os.environ.get("WANDB_PROJECT") or "caelab"
    entity = entity or os.environ.get("WANDB_ENTITY") or None
    online = key_configured() and os.environ.get("WANDB_MODE") not in ("offline", "dryrun", "disabled")
    with _told():
        entity = entity or (_own_entity() if online else None)
        if upload:
            _upload(parts, "online" if online else "offline", entity, project)
    board = _board(asked, parts)
    # the report first, which makes the project where there is none
    report, view = document(board, entity or "", project), workspace(board, entity or "", project)
    if online:
        with _told():
            for one in (report, view):
                terminal.say(f"  {one.save().url}")
    else:
        _write(out, board, view, report)


def _runs(roots: Sequence[Path]) -> Index:
    runs = index(*roots)
    if not any(record.status == "finished" for _, record in runs.values()):
        raise UserError(f"{', '.join(map(str, roots))}: no finished run there; give folders with runs")
    return runs


def _parts(plans: Sequence[Study], runs: Index, searched: Any, rest: bool) -> list[Part]:
    """Their sections with the verdicts on them, and what belongs to none."""
    sections = [section(study, dataset, runs, searched) for study in plans for dataset in study.datasets]
    begun = [one for one in sections if one.begun]
    parts = []
    for one in begun:
        first, *rest_of_it = apart(one)
        parts += [Part(first, [verdict.words for verdict in verdicts(one)]), *map(Part, rest_of_it)]
    return parts + ([Part(one) for one in others(runs, begun)] if rest else [])


def _upload(parts: Sequence[Part], mode: str, entity: str | None, project: str) -> None:
    lacking = {run.path: run for part in parts for run in part.runs if not in_wandb(run)}
    before = there(entity or "", project) if mode == "online" and lacking else {}
    wanted = [run for run in lacking.values() if not is_of(run, before.get(run.record.fingerprint))]
    for run in terminal.tracked(wanted, "sending"):
        send(run, mode, entity, project)
    what = f"{len(wanted)} {'run' if len(wanted) == 1 else 'runs'}"
    if mode == "online":
        terminal.say(f"sent {what}")
        if again := [run.path.name for run in wanted if run.record.fingerprint in before]:
            terminal.say(
                f"trained again since they were sent: {len(again)}, such as {again[0]}; "
                "the dashboard averages the earlier training in until you delete it in W&B"
            )
    else:
        terminal.say(
            f"{what} written below their directories; to send them: wandb sync RUN/wandb/offline-run-*"
        )


def _board(asked: Asked, parts: Sequence[Part]) -> Board:
    shown = [Part(known(part.section), part.verdicts) for part in parts]
    shown = [part for part in shown if part.runs]
    count = len({run.path for part in parts for run in part.runs})
    if not shown:
        raise UserError(
            f"{', '.join(asked.names or map(str, asked.roots))}: {count} finished runs, none of them in W&B; "
            "--upload sends them, and logger=wandb logs new ones"
        )
    board = Board(f"caelab: {', '.join(asked.names) or 'all runs'}", shown)
    if missing := count - len(board.runs):
        terminal.say(
            f"{missing} of {count} runs were trained without W&B and are left out; --upload sends them"
        )
    return board


@contextmanager
def _told() -> Iterator[None]:
    """Turn what W&B refuses into one line."""
    from wandb.errors import Error

    try:
        yield
    except (Error, ValueError) as error:
        raise UserError(f"W&B: {terminal.one_line(error)}") from error


def _own_entity() -> str:
    import wandb

    return str(wandb.Api().default_entity)


def _write(out: Path, board: Board, workspace: Any, report: Any) -> None:
    """Write what W&B would be sent."""
    view, page = workspace._to_model(), report._to_model()
    place = {"entity": workspace.entity, "project": workspace.project}
    found = {
        "workspace": {**place, "name": view.display_name, "spec": _sent(view.spec)},
        "report": {**place, "name": page.display_name, "spec": _sent(page.spec)},
        "runs": {run.record.fingerprint: str(run.path) for run in board.runs},
    }
    durable.write(out, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    terminal.say(
        f"no key for W&B, so the dashboard is in {out}; after wandb login, the same command sends it"
    )


def _sent(spec: Any) -> Any:
    """As the library sends it."""
    return json.loads(spec.model_dump_json(by_alias=True, exclude_none=True))

"""The workspace: every panel of a project's runs."""

import wandb_workspaces.workspaces as ws

from caelab.dashboard import panels
from caelab.dashboard.board import Board, keys

_COLUMNS = ("test/psnr", "test/ssim", "pca/gain", "bypassing")
_RUNS = 1000  # that W&B draws in a panel, at most


def workspace(board: Board, entity: str, project: str) -> ws.Workspace:
    """Build the workspace of a board, which nothing is sent of yet."""
    found = keys(board.runs)
    sections = {title: make(found) for title, make in panels.GROUPS.items()}
    columns = [f"summary:{key}" for key in _COLUMNS if key in found.summary]
    runs = ws.RunsetSettings(
        filters=panels.only(board.runs),
        pinned_columns=["run:displayName", "config:variant.value", *columns, "tags:__ALL__"],
    )
    return ws.Workspace(
        entity=entity,
        project=project,
        name=board.title,
        sections=[
            ws.Section(name=title, panels=made, is_open=True) for title, made in sections.items() if made
        ],
        settings=ws.WorkspaceSettings(max_runs=min(_RUNS, max(10, len(board.runs)))),
        runset_settings=runs,
    )

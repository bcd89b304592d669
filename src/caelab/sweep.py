"""The end of a sweep: one table of all jobs, one picture, and an exit status that tells of failures."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from caelab import results, screen, tables

# Why a job of this process did not run, by its directory: it may have no record that could say so.
refused: dict[Path, str] = {}


class SweepSummary(Callback):
    """Collects the directories of a sweep's jobs and reports on their records."""

    def __init__(self) -> None:
        self.records: dict[Path, results.Record] = {}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Name the sweep, so that loggers can group its runs."""
        os.environ["CAELAB_SWEEP"] = f"sweep-{datetime.now():%Y-%m-%d_%H-%M-%S}"

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Remember the job's record."""
        run_dir = Path(config.hydra.runtime.output_dir)
        reason = refused.pop(run_dir, None)
        record = None if reason else results.read(run_dir)
        self.records[run_dir] = record or {
            "status": "failed",
            "error": reason,
            "choices": dict(config.hydra.runtime.choices),
            "overrides": list(job_return.overrides or []),
            "seed": config.seed,
        }

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table, draw the picture, and exit with status 1 if a job did not finish."""
        os.environ.pop("CAELAB_SWEEP", None)
        jobs = len(self.records)
        screen.console.print(tables.comparison(list(self.records.values()), f"{jobs} runs, test split"))
        done = {path: record for path, record in self.records.items() if record["status"] == "finished"}
        if len(done) > 1 and len({record["data"]["sha256"] for record in done.values()}) == 1:
            from caelab.figures import compare_runs

            screen.say(f"picture: {screen.shown(compare_runs(done, Path(config.paths.output)))}")
        if len(done) < jobs:
            screen.error(f"{jobs - len(done)} of {jobs} runs failed")
            raise SystemExit(1)  # any other exception would be swallowed by Hydra

"""What makes a run a trial: a study chooses by it, so it never reads the test split."""

from collections.abc import Sequence

from caelab.config.grammar import written

TRIAL = "CAELAB_TRIAL"
"""Environment variable of a run that is a trial: ``GRID``, or what ``pruning.attach`` takes."""
GRID = "grid"


def as_trial(job: Sequence[str], reference: str = GRID) -> tuple[str, ...]:
    """Overrides of a run that is a trial: it never reads the test split.

    Args:
        job: overrides of the run.
        reference: ``GRID``, or of a trial of a search what names it.
    """
    return (*job, f"+hydra.job.env_set.{TRIAL}={written(reference)}")

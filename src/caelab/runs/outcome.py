"""How a job of a sweep ends."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The ends that a job may come to."""

    DONE = "done"
    """Its run is finished, or trained as a trial: now, or before."""
    PRUNED = "pruned"
    """A search has ended its trial early, which is no failure."""
    BUSY = "busy"
    """Another process is training its run."""
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        status: its end.
        score: what the checkpoint of a job that is done was chosen by, such as validation PSNR in dB; else
            None.
        reason: why it is not done, one line; empty where it is.
    """

    status: Status
    score: float | None = None
    reason: str = ""

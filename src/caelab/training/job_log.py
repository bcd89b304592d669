"""The log of a job: ``train.log`` of its run directory."""

import logging
import sys

LOGGERS = ("lightning", "lightning.pytorch", "lightning.fabric")
"""Lightning's loggers, which print by themselves unless the log of a job takes their lines."""


class LogFile(logging.FileHandler):
    """The log of a job, for Hydra, opened by its first line: a finished run may lie where nobody writes.

    What the disk does not take is left out: each line would bring a traceback on the screen.
    """

    def __init__(self, filename: str) -> None:
        super().__init__(filename, delay=True, errors="backslashreplace")  # as of paths that are no text

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Leave out what the disk refuses; anything else is told as always."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

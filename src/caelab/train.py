"""The command line of a run or a sweep: ``python -m caelab.train`` and ``caelab-train``.

Light on purpose: help, completion, mistakes and finished runs answer before torch is imported.
"""

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from caelab import config, mistakes, records, tables
from caelab.cli import study
from caelab.config import compose, folders, words
from caelab.outcome import Outcome
from caelab.training.attempt import attempt, stoppable, train

compose.register_resolvers()


def _alone(cfg: DictConfig) -> None:
    """Carry out a run of its own, and show what came of it."""
    folders.announce()
    job = compose.job(cfg)
    record = train(job)
    tables.summary(record, job.run_dir, records.floor(job.output, record))


def main() -> None:
    """Entry point: exit status 0 when everything asked for was done."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and the message is ours
    raised: list[Exception] = []

    @hydra.main(version_base="1.3", config_path=config.CONF, config_name="train")
    def command(cfg: DictConfig) -> Outcome | None:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return attempt(cfg)
        try:
            _alone(cfg)
        except Exception as error:  # through Hydra it would bring a second message
            raised.append(error)
        return None

    with stoppable(), mistakes.told(compose.explain):
        named, sys.argv[1:] = folders.of_words(sys.argv[1:])
        with folders.seen(named), folders.importable():
            if study.of_train(sys.argv[1:]):
                return
            sys.argv[1:] = words.command_line(sys.argv[1:])
            command()
            if raised:
                raise raised.pop()


if __name__ == "__main__":
    main()

"""The command line of a run or a sweep: ``python -m caelab.train`` and ``caelab-train``.

Light on purpose: help, completion, mistakes and finished runs answer before torch is imported.
"""

import os
import shlex
import sys
from collections.abc import Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from caelab import config, terminal
from caelab.composition import compose, words
from caelab.composition.words import MULTIRUN
from caelab.config import explain, folders
from caelab.errors import UserError
from caelab.runs import records, tables
from caelab.runs.outcome import Outcome
from caelab.training.attempt import attempt, stoppable, train

compose.register_resolvers()


def _alone(cfg: DictConfig) -> None:
    """Carry out a run of its own, and show what came of it."""
    folders.announce()
    job = compose.job(cfg)
    record = train(job)
    tables.summary(record, job.run_dir, records.floor(job.output, record))
    run, output = (shlex.quote(terminal.shown(path)) for path in (job.run_dir, job.output))
    terminal.say(f"next: caelab look {run} (or audit); caelab report {output}")


def _study(words: Sequence[str], named: Sequence[str]) -> bool:
    """Carry out the study that the words of ``caelab-train`` name, and say which command is the same.

    Args:
        words: of the command line, without ``--config-dir``.
        named: folders that ``--config-dir`` names.

    Returns:
        Whether they name one: ``-m study=NAME,...``, beside ``seeds=N`` and ``budget=quick``.

    Raises:
        UserError: a flag that is not of a study, and what ``carry_out`` raises.
        RunsFailed: a run or an analysis failed.
    """
    own = {key: value for key, _, value in (word.partition("=") for word in words)}
    if "study" not in own or not own.keys() & {*MULTIRUN}:
        return False
    from caelab import studies
    from caelab.report.studies import carry_out

    rest = [word for word in words if word.partition("=")[0] not in (*MULTIRUN, "study", *studies.OPTIONS)]
    for word in rest:
        if word.startswith("-"):
            raise UserError(f"{word}: not an option here; a study takes seeds=5, budget=quick and KEY=VALUE")
    names = own["study"].split(",")
    flags = [word for folder in named for word in (folders.FLAG, folder)]
    terminal.say(f"the same as: {studies.command([*names, *flags], own, rest)}")
    carry_out([*names, *rest], own.get("seeds"), own.get("budget", "full"))
    return True


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

    with stoppable(), terminal.told(explain.line):
        named, sys.argv[1:] = folders.of_words(sys.argv[1:])
        with folders.seen(named), folders.importable():
            if _study(sys.argv[1:], named):
                return
            sys.argv[1:] = words.command_line(sys.argv[1:])
            command()
            if raised:
                raise raised.pop()


if __name__ == "__main__":
    main()

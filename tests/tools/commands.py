"""Carry out each command of README.md and docs/ on tiny data, and once more with a name misspelt.

``python tests/tools/commands.py [WORD ...]``, part of ``make check``; with words only commands with one of
them. A command must end with status 0. Misspelt it must end with another one, and say so in one line. They
share a folder with their runs, in the order of the pages.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pages import PAGES, ROOT

from caelab import studies
from caelab.composition.compose import data_folder
from caelab.interactive.runtime import PACKAGE, VERSION

COMMAND = re.compile(r"(?:python -m )?caelab[-. ](\w+)(.*)")
FILE = re.compile(r"`([\w/]+\.(?:py|yaml))`[^`]*(?:`[^`\n]+`[^`]*)*?:\n\n```\w+\n(.*?)```", re.DOTALL)
DATA = ("dataset=shapes", "dataset.train_size=300", "dataset.val_size=20", "dataset.test_size=30")
TINY = (*DATA, "dataset.batch_size=100", "trainer.max_epochs=1", "trainer.accelerator=cpu")
# of some classes, so that there are anomalies
RUNS = {"RUN": ("model=improved", "dataset.classes=[0,1]"), "SPATIAL": ("model=spatial",)}


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command in the fenced blocks of a page, without what is optional."""
    for language, block in re.findall(
        r"^```(\w*)\n(.*?)^```", text.replace("\\\n", ""), re.DOTALL | re.MULTILINE
    ):
        for line in block.splitlines() if language in ("", "bash", "sh") else ():
            if match := COMMAND.match(line):
                required = re.sub(r" \[[^\]]*\]", "", match[2])
                yield [match[1], *shlex.split(required, comments=True)]


def leave_files(folder: Path, page: str = "how/extend") -> None:
    """Write the files of a page in docs/: each block after a line that ends with a file and a colon."""
    for name, text in FILE.findall((ROOT / "docs" / f"{page}.md").read_text()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def tiny(words: Sequence[str]) -> list[str]:
    """Return a command with other data and one epoch, and with the run that is there."""
    if words[0] == "bench":
        return [*words, "--help"]  # it takes long by what it is, and its words are still read
    words = [word.replace("psnr > 26", "psnr > 0") for word in words]
    replaced = re.compile(r"dataset[.=]|seeds=|trainer\.(max_epochs|check_val_every_n_epoch|accelerator)=")
    kept = [f"multirun/runs/{word}" if word in RUNS else word for word in words if not replaced.match(word)]
    own = words[0] == "report" and {*words} & {*studies.names()} and "docs/results/runs" not in words
    if words[0] in ("train", "sweep", "study") or own:
        more = [word for word in TINY if word.partition("=")[0] not in varied(words)]
        more = [word.replace("train_size=300", f"train_size={images(words)}") for word in more]
        budget = [] if len(more) == len(TINY) else ["--budget", "quick"]
        return [*kept, *more, *([] if words[0] in ("train", "sweep") else ["--seeds", "1", *budget])]
    again = ["--force"] if "--out" in kept else []  # the pages write to one folder more than once
    return [*kept, *again, *(DATA if len(kept) < len(words) else [])]


def varied(words: Sequence[str]) -> set[str]:
    """Keys that the studies among the words set themselves, and so refuse."""
    return {key for key, _ in settings(words)} - {"dataset"}


def images(words: Sequence[str]) -> int:
    """Training images that have more tokens than the largest codebook of the studies has entries."""
    entries = (int(value) for key, value in settings(words) if key == "bottleneck.entries")
    return max([300, *(count // 10 for count in entries)])


def settings(words: Sequence[str]) -> list[tuple[str, str]]:
    """Key and value of each override of the rows of studies among the words."""
    plans = [studies.load(word) for word in words if word in studies.names()]
    entries = [entry for one in plans for entry in (*one.runs.values(), *one.floors.values())]
    pairs = [override.partition("=") for entry in entries for override in entry.overrides]
    return [(key, value) for key, _, value in pairs]


def misspelt(words: Sequence[str]) -> list[str]:
    """Return a command whose first name, of those that are no options, ends in a letter twice."""
    place = next(n for n, word in enumerate(words) if n and re.match(r"\+?[A-Za-z]", word))
    wrong = re.sub(r"([A-Za-z])(?![A-Za-z_])", r"\1\1", words[place], count=1)
    return [*words[:place], wrong, *words[place + 1 :]]


def carried_out(folder: Path, words: Sequence[str]) -> tuple[int, str]:
    """Carry out a command: its exit status, and what it said on stderr."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CAELAB_DATA": str(folder / "data")}
    environment["PYTHONPATH"] = str(folder)  # as docs/how/extend.md has it for an analysis
    line = [sys.executable, "-m", "caelab", *words]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stderr


def prepare(folder: Path) -> None:
    """Leave what the commands speak of: a run, photos, and the runs of the documentation."""
    from PIL import Image

    for name, words in RUNS.items():
        status, err = carried_out(folder, ("train", *words, *TINY, f"hydra.run.dir=multirun/runs/{name}"))
        assert status == 0, err
    if (kept := Path(data_folder()) / f"{PACKAGE}-{VERSION}").is_dir():  # else it is fetched
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data" / kept.name).symlink_to(kept)
    (folder / "photos").mkdir()
    for file in ("holiday.jpg", "photos/one.png"):
        Image.linear_gradient("L").convert("RGB").resize((70, 50)).save(folder / file)
    (folder / "docs").symlink_to(ROOT / "docs")
    for page in ("how/extend", "how/bottlenecks", "how/search"):
        leave_files(folder, page)


def fault(folder: Path, words: Sequence[str]) -> str:
    """Return what a command does wrong, right and misspelt; "" if nothing."""
    status, err = carried_out(folder, right := tiny(words))
    if status != 0:
        return f"status {status} of {shlex.join(right)}:\n{err[-2000:]}"
    status, err = carried_out(folder, wrong := misspelt(words))
    if not status or err.count("\n") != 1:
        return f"status {status} of {shlex.join(wrong)}, which said:\n{err[-2000:]}"
    return ""


def main() -> None:
    """Exit with status 1 if a command does not do what the pages say."""
    written = {shlex.join(words): words for page in PAGES for words in commands(page.read_text())}
    chosen = [words for text, words in written.items() if any(w in text for w in sys.argv[1:] or [""])]
    began, faults = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        for done, words in enumerate(chosen, start=1):
            wrong = fault(Path(name), words)
            faults += bool(wrong)
            left = (time.monotonic() - began) / done * (len(chosen) - done)
            print(
                f"{done}/{len(chosen)}, {left:.0f} s left: {shlex.join(words)}: {wrong or 'ok'}", flush=True
            )
    print(f"{len(chosen)} commands in {time.monotonic() - began:.0f} s, {faults} not as they must be")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()

"""The report: ``caelab report [STUDY ...] [FOLDER ...] --out DIR``."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, cpu_count, delayed
from matplotlib.figure import Figure

from caelab import studies, terminal
from caelab.analysis.rate.published import numbers
from caelab.analysis.rate.tradeoff import Curve
from caelab.errors import UserError
from caelab.plotting.embed import Picture
from caelab.plotting.strips import Images
from caelab.report import figures, page, plots, rates, summary, tables, trials
from caelab.report.asked import GIVE, Asked
from caelab.report.claims import verdicts
from caelab.report.measure import apart, beyond, others, section
from caelab.report.page import Chapter, Page
from caelab.report.pictures import collected
from caelab.report.rows import LISTED, Section, titled
from caelab.runs import records
from caelab.runs.labels import display
from caelab.runs.record import SearchRecord, is_finished
from caelab.studies import Study
from caelab.studies.index import Index, index


class NotYetError(UserError):
    """No finished run is of what is asked for; more may come."""


def report(asked: Asked, out: Path) -> None:
    """Write a report into ``out``, and show its tables and verdicts; see ``draw``."""
    drawn, made, written = draw(asked, out)
    summary.show(drawn, made.verdicts)
    for path in written:
        terminal.say(f"  {terminal.shown(path)}")
    terminal.say(f"next: open {terminal.shown(written[0])}")


def draw(asked: Asked, out: Path, bar: bool = True) -> tuple[list[Section], Page, list[Path]]:
    """Write a report into ``out``.

    Without a study it is of what has runs, and of nothing else.

    Args:
        asked: of what.
        out: made where it is missing; its files replace those of an earlier report of the same study. What
            that drew of pictures of a study that the records no longer hold stays, and says so.
        bar: whether it is shown how far it is.

    Returns:
        What it shows, and the files that are its pages.

    Raises:
        NotYetError: folders without a finished run that is asked for.
        UserError: folders without runs, a budget or override that cannot be, or a page that is no report's.
    """
    page.require_own(out)
    where = ", ".join(map(str, asked.roots))
    runs = index(*asked.roots)
    if not runs:
        there = all(root.is_dir() for root in asked.roots)
        raise UserError(f"{where}: there is no {'run in it' if there else f'such folder{GIVE}'}")
    count = f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}"
    if not any(is_finished(record) for _, record in runs.values()):
        why = shlex.join(["caelab", "runs", *map(str, asked.roots), "--failed"])
        raise NotYetError(f"{where}: {count}, none finished; {why} says what went wrong")
    plans = asked.plans(runs)
    searched = records.searches(*asked.roots)
    if asked.seeds is None:
        _tell_beyond(plans, runs, searched)
    sections = [
        replace(section(study, dataset, runs, searched), study=name)
        for name, study in plans
        for dataset in study.datasets
    ]
    begun = [one for one in sections if one.begun]
    judged = [verdict for one in (sections if asked.names else begun) for verdict in verdicts(one)]
    if not asked.names:
        begun = [_run_only(one) for one in begun]
        judged = [verdict for verdict in judged if verdict.word != "not measured"]
    drawn = [part for one in begun for part in apart(one)] + ([] if asked.names else others(runs, begun))
    if not drawn:
        raise NotYetError(
            f"{where}: {count}, but none with --budget {asked.budget or 'full'} and these words; "
            "give the report the same words as the training"
        )
    made = Page(
        command=asked.command("report", ["--out", str(out)]),
        made=f"{date.today():%-d %B %Y}",
        environments=_environments(drawn),
        chapters=_chapters(drawn, out, bar),
        absent=[_advice(one, asked) for one in sections if asked.names and not one.begun],
        verdicts=sorted(judged, key=lambda verdict: verdict.word == "not measured"),
    )
    return drawn, made, page.write(made, out)


def _tell_beyond(
    plans: Sequence[tuple[str, Study]], runs: Index, searched: Mapping[str, SearchRecord]
) -> None:
    """Say of which studies there are runs with more seeds than their rows have."""
    for name, study in plans:
        seeds = [seed for dataset in study.datasets for seed in beyond(study, dataset, runs, searched)]
        if seeds:
            terminal.note(
                f"study={name}: finished runs with seeds beyond its {study.seeds}: {len(seeds)}; "
                f"--seeds {max(seeds) + 1} takes them into its rows"
            )


def _run_only(one: Section) -> Section:
    """Leave out the rows of which there is nothing."""
    rows = [row for row in one.rows if row.runs or set(row.missing.values()) != {"not run"}]
    return replace(one, rows=rows)


def _chapters(drawn: Sequence[Section], out: Path, bar: bool) -> list[Chapter]:
    """Write the tables of each section, and its figures: side by side where that repays a process's start."""
    workers = max(1, min(cpu_count(), len(drawn) // 4))
    written = Parallel(workers, return_as="generator")(delayed(_drawn)(one, out) for one in drawn)
    pictures = terminal.tracked(written, "drawing", len(drawn)) if bar else written
    return [_chapter(*each, out) for each in zip(drawn, pictures, strict=True)]


def _chapter(one: Section, drawn: tuple[list[Picture], dict[str, Any]], out: Path) -> Chapter:
    """Write all rows of a section, and put those that are shown together with their pictures."""
    raw = tables.numbers(one)
    tables.write(one, out / "tables", raw)
    listed = one.shown(LISTED)
    lines = raw.set_index("variant", drop=False).loc[[row.label for row in listed.rows]]
    table = tables.table(listed, lines.reset_index(drop=True))
    return Chapter(one.shown(), listed, table, tables.best(one), *drawn, _rates(one, out))


def _rates(one: Section, out: Path) -> pd.DataFrame | None:
    """Write what is best at each rate, where rates were measured."""
    raw = rates.winners(one)
    if raw is None:
        return None
    frame = tables.rates(raw)
    caption = f"What is best at each rate, {display(one.dataset)}."
    tables.save(out / "tables", f"{one.name}-rates", raw, frame, frame, caption)
    return frame


def _drawn(whole: Section, out: Path) -> tuple[list[Picture], dict[str, Any]]:
    """Write a section's figures, and return them and what a page draws itself."""
    one = whole.shown()
    found = collected(one)
    return _pictures(one, found, out), plots.plain(whole.shown(LISTED), one, found)


def _published(one: Section) -> dict[str, Curve]:
    """What others have published on the same test images, by numbers of a code."""
    counts = {run.record.data.test for row in one.rows for run in row.runs.values()}
    return numbers(one.dataset, counts.pop()) if len(counts) == 1 else {}


def _pictures(one: Section, found: Mapping[str, Images], out: Path) -> list[Picture]:
    where = f"{one.title}, {display(one.dataset)}"
    drawn: dict[str, Figure | None] = {
        "psnr": (figures.line if one.axis else figures.bars)(one),
        "curves": figures.curves(one),
        "pareto": figures.pareto(
            one.rows, titled("Test PSNR against code size and training time", one), _published(one)
        ),
        "rate": figures.rates(one),
        "gradients": figures.gradients(one),
        "images": figures.grid(titled("Reconstructions of test images", one), found),
        "paths": figures.paths(one),
    }
    captions = _captions(one)
    for number, (label, search) in enumerate(one.searches.items()):
        drawn[f"search-{number}"] = trials.search(one, label)
        captions[f"search-{number}"] = trials.caption(search)
    pictures = []
    for kind, figure in drawn.items():
        path = out / "figures" / f"{one.name}-{kind}.png"
        if figure is not None:
            figures.save(figure, path.parent, path.stem)
            pictures.append(Picture(f"{where}: {captions[kind]}", path, kind))
        elif path.is_file() and not one.loose:
            pictures.append(Picture(f"{where}: {captions[kind]}; drawn by an earlier report", path, kind))
    return pictures


def _captions(one: Section) -> dict[str, str]:
    """What each figure shows of this section, and no more."""
    several = any(len(row.runs) > 1 for row in one.rows)
    mean, intervals = (", mean over seeds", " with 95 % intervals") if several else ("", "")
    floors = "; floors dashed" if any(row.floor and row.runs for row in one.rows) else ""
    what = "PSNR" if one.axis else "PSNR and SSIM"
    apart = any(row.values("test/bits") for row in one.rows if row.runs)
    priced = "; what was trained for its bits is shown by time alone" if apart else ""
    return {
        "psnr": f"{what} on the test split{mean}{intervals}{floors}",
        "curves": "training loss and validation PSNR by epoch",
        "pareto": "PSNR against the numbers that reach the decoder and against training time, with the "
        "frontier of what comes through its latent; where there is no room, a point has no name" + priced,
        "rate": f"PSNR against measured bits per image as codes are rounded more coarsely{mean}; of several "
        "sizes of a latent their envelope, of one a ring where a tenth of a decibel is lost; beside "
        "transform coding by PCA, and codecs without headers",
        "gradients": "norm of the training loss's gradient by each layer's weights, from the layer next to "
        f"the image to the one that draws the picture, before training and with the best weights{mean}",
        "images": "first test image of each class over its reconstructions, of the lowest seed",
        "paths": "what the latent alone and the skips alone reconstruct, all else at its mean, of the lowest "
        "seed",
    }


def _environments(drawn: Sequence[Section]) -> list[str]:
    """Machine and versions of all runs, each different one with how many runs it made."""
    counts: dict[str, int] = {}
    for run in {run.path: run for one in drawn for row in one.rows for run in row.runs.values()}.values():
        e = run.record.environment
        versions = f"torch {e['torch']}, caelab {e['caelab']}, {e['speed']}"
        line = f"{e['device']}, {e['threads']} {'thread' if e['threads'] == 1 else 'threads'}, {versions}"
        counts[line] = counts.get(line, 0) + 1
    return [f"{count} {'run' if count == 1 else 'runs'}: {line}" for line, count in counts.items()]


def _advice(one: Section, asked: Asked) -> str:
    command = studies.command([one.study], asked.options, asked.overrides)
    large = "; it fetches 687 MB, or put CINIC-10.tar.gz into the data folder"
    more = large if one.dataset == "cinic10" else ""
    return f"{one.title}, {display(one.dataset)}: {command}{more}"

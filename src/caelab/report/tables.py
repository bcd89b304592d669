"""A section as a table: raw numbers for CSV, text for a page, for LaTeX and for the screen."""

import math
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from caelab import durable, texts
from caelab.metrics.statistics import ALPHA, MIN_SEEDS, Difference, difference, groups, holm, winner
from caelab.report import compare
from caelab.report.rates import SIDES
from caelab.report.rows import SHOWN, Row, Section, by_choice, ordered_by
from caelab.report.wording import listing, unlike
from caelab.runs.analyses import columns
from caelab.runs.columns import column
from caelab.runs.labels import PUBLISHED, display
from caelab.runs.tables import reliance

_MEASURED = {
    "published_psnr": "published/psnr",
    "published_ssim": "published/ssim",
    "psnr": "test/psnr",
    "psnr_pooled": "test/psnr_pooled",
    "ssim": "test/ssim",
    "loss": "test/loss",
    "latent_reliance": "test/latent_reliance",
}
COLUMNS = 8
"""Columns of a table that has to fit a page, at most."""

_MAIN = ("code", "bits", "latent reliance", "seeds", "group", "settings")
NAMED = 3
"""Rows that a sentence names, at most."""

_BRACKETS = re.compile(r"([-+]?[\d.]+) \[([-+]?[\d.]+), ([-+]?[\d.]+)\]")
_SIZES = {
    "parameters": ("size", "parameters"),
    "latent": ("size", "latent"),
    "code": ("size", "effective_code"),
    "bits": ("size", "bits"),
    "flops": ("size", "flops_per_image"),
    "seconds": ("time", "fit_seconds"),
    "epochs": ("time", "epochs"),
}


def numbers(section: Section) -> pd.DataFrame:
    """Return a section's raw figures, a line a row: what the CSV holds.

    PSNR is in dB, ``published_*`` is the published protocol, ``*_low`` and ``*_high`` end the 95 % interval,
    ``flops`` are of one image's forward pass, ``seconds`` of training and validation, ``gain`` (dB) is what
    the last fifth of the epochs added to validation PSNR. More than ``SHOWN`` trained rows, whose pairs are
    too many, are not compared.
    """
    letters, compared, differ = _letters(section), _compared(section), bool(by_choice(section.rows))
    measured = {
        name: key
        for name, key in _MEASURED.items()
        if section.dataset in PUBLISHED or not key.startswith("published/")
    }
    further = {name: key for name, key in _further().items() if any(row.values(key) for row in section.rows)}
    sizes = {name: key for name, key in _SIZES.items() if _known(section, *key)}
    lines = []
    for row in section.rows:
        line: dict[str, Any] = {"variant": row.label, "floor": row.floor, "seeds": len(row.runs)}
        line |= {f"report_{key}": value for key, value in row.published.items()}
        for name, metric in (measured | further).items():
            line |= _interval(name, row, metric)
        line["difference"] = line.get("published_psnr", math.nan) - line.get("report_psnr", math.nan)
        line["group"] = letters.get(row.label, "")
        if row.label in compared:
            difference, p = compared[row.label]
            line |= {
                "against": difference.mean,
                "against_low": difference.low,
                "against_high": difference.high,
            }
            line["against_p"] = p
        line |= {name: row.mean(*key) for name, key in sizes.items()}
        line["bypassing"] = row.bypassing
        line |= {"settings": _settings(row), "gain": row.gain, "note": _note(row, differ)}
        lines.append(line)
    return texts.frame(lines)


def _known(section: Section, part: str, key: str) -> bool:
    return any(row.mean(part, key) is not None for row in section.rows)


def _further() -> dict[str, str]:
    """Title -> key of each figure that has a title, but those that every run has, and those of validation."""
    named = [one for one in columns().values() if one.title and "/" in one.path]
    every = _MEASURED.values()
    return {one.title: one.path for one in named if one.path not in every and not one.path.startswith("val/")}


def _letters(section: Section) -> dict[str, str]:
    trained = _trained(section)
    if len(trained) > SHOWN or all(len(same[0].runs) < MIN_SEEDS for same in trained):
        return {}
    letters = groups({same[0].label: same[0].starts("test/psnr") for same in trained})
    return {row.label: letters[same[0].label] for same in trained for row in same}


def best(section: Section) -> str:
    """Say in a sentence which trained row has the best test PSNR, if the seeds tell; empty with one row."""
    rows = _trained(section)
    trained = {" = ".join(row.label for row in same): same[0].starts("test/psnr") for same in rows}
    if len(trained) < 2:
        return ""
    first, *others = sorted(trained, key=lambda label: -fmean(trained[label].values()))
    mean = f"{fmean(trained[first].values()):.2f} dB"
    if min(map(len, trained.values())) < MIN_SEEDS:
        said = f"{first} has the highest PSNR, {mean}; it takes {MIN_SEEDS} seeds to call a row better"
    elif winner(trained) == first:
        said = f"{first} has the best PSNR, {mean}, significantly above every other trained row (p < {ALPHA}"
        said += f" in each of {len(others)} comparisons)" if len(others) > 1 else ")"
    else:
        near = [label for label in others if (difference(trained[first], trained[label]).p or 0) >= ALPHA]
        named = listing(near) if len(near) <= NAMED else f"{len(near)} other rows"
        said = f"{first} has the highest PSNR, {mean}, with no significant difference from {named}"
    unfinished = any(row.improving for same in rows for row in same)
    return f"{said}.{' Rows that were still improving may change places.' if unfinished else ''}"


def _trained(section: Section) -> list[list[Row]]:
    """Trained rows with runs; those that are the same runs, such as a default that tuning chose, together."""
    alike: dict[frozenset[Path], list[Row]] = {}
    for row in section.rows:
        if row.runs and not row.floor:
            alike.setdefault(frozenset(run.path for run in row.runs.values()), []).append(row)
    return list(alike.values())


def _interval(name: str, row: Row, metric: str) -> dict[str, float | None]:
    found = compare.interval(row, metric)
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def _compared(section: Section) -> dict[str, tuple[Difference, float | None]]:
    """Each trained row minus the reference row in test PSNR, with p values Holm-adjusted over the section."""
    reference = section.row(section.reference) if section.reference else None
    if reference is None or not reference.runs:
        return {}
    rows = [row for row in section.rows if row is not reference and row.runs and not row.floor]
    found = [compare.difference(row, reference, "test/psnr") for row in rows]
    adjusted = holm([difference.p for difference in found])
    return {row.label: (one, p) for row, one, p in zip(rows, found, adjusted, strict=True)}


def _settings(row: Row) -> str:
    """Return what a search has found; a row of a plain grid has its settings in its name."""
    return ", ".join(f"{key}={value}" for key, value in row.settings.items() if f"{key}=" not in row.label)


def _note(row: Row, differ: bool) -> str:
    chosen = f"chosen by {row.select}" if differ and row.runs and not row.floor else ""
    improving = f"still improving (+{row.gain:.2f} dB in the last fifth)" if row.improving else ""
    return "; ".join(filter(None, (chosen, improving, *unlike(row), gaps(row))))


def gaps(row: Row) -> str:
    """Why seeds of a row have no finished run."""
    notes = [f"seed {seed}: {reason}" for seed, reason in row.missing.items()]
    if len(notes) > 1 and len(set(row.missing.values())) == 1:
        notes = [f"{len(notes)} seeds: {next(iter(row.missing.values()))}"]
    return "; ".join(notes)


def table(section: Section, raw: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a section as formatted text, without the columns that are empty for all rows.

    Args:
        section: to be shown.
        raw: its ``numbers``, or some lines of them, where they are there already.
    """
    raw = numbers(section) if raw is None else raw
    name = f"minus {section.reference} (dB)"
    cells = {
        "variant": list(raw["variant"]),
        "seeds": [f"{n}" for n in raw["seeds"]],
        "note": list(raw["note"]),
        "report PSNR (dB)": _plain(raw, "report_psnr", 2),
        "one a class PSNR (dB)": _spread(raw, "published_psnr", 2),
        "difference (dB)": _signed(raw, "difference"),
        "full PSNR (dB)": _spread(raw, "psnr", 2),
        "group": list(raw["group"]),
        name: _against(raw),
        "full pooled PSNR (dB)": _plain(raw, "psnr_pooled", 2),
        "report SSIM": _plain(raw, "report_ssim", 3),
        "one a class SSIM": _plain(raw, "published_ssim", 3),
        "full SSIM": _spread(raw, "ssim", 3),
        "report loss": _plain(raw, "report_loss", 3),
        "full loss": _plain(raw, "loss" if "report_loss" in raw else "", 4),
        "settings": list(raw["settings"]),
        "parameters": _whole(raw, "parameters"),
        "latent": _whole(raw, "latent"),
        "code": _whole(raw, "code"),
        "bits": _whole(raw, "bits"),
        "latent reliance": _reliance(raw),
        **{name: _spread(raw, name, 3) for name in _further()},
        "MFLOPs": [_text(value / 1e6, ".2f") for value in _column(raw, "flops")],
        "seconds": _whole(raw, "seconds"),
        "epochs": _whole(raw, "epochs"),
    }
    return texts.frame({key: values for key, values in cells.items() if any(values)})


def _column(raw: pd.DataFrame, name: str) -> list[float]:
    """Return a column's numbers, NaN where there is none."""
    if name not in raw:
        return [math.nan] * len(raw)
    return [math.nan if pd.isna(value) else float(value) for value in raw[name]]


def _text(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def _plain(raw: pd.DataFrame, name: str, digits: int) -> list[str]:
    return [_text(value, f".{digits}f") for value in _column(raw, name)]


def _whole(raw: pd.DataFrame, name: str) -> list[str]:
    return [_text(value, ",.0f") for value in _column(raw, name)]


def _signed(raw: pd.DataFrame, name: str) -> list[str]:
    return [_text(value, "+.2f") for value in _column(raw, name)]


def _spread(raw: pd.DataFrame, name: str, digits: int) -> list[str]:
    """Mean with its interval, where there is one."""
    ends = zip(*(_column(raw, f"{name}{end}") for end in ("", "_low", "_high")), strict=True)
    return [
        _text(mean, f".{digits}f") + ("" if math.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]")
        for mean, low, high in ends
    ]


def _reliance(raw: pd.DataFrame) -> list[str]:
    """Mean, marked where it is below what counts as coming through the latent."""
    return [reliance(None if math.isnan(value) else value) for value in _column(raw, "latent_reliance")]


def _against(raw: pd.DataFrame) -> list[str]:
    """Difference to the reference with its interval and adjusted p value."""
    ends = zip(*(_column(raw, f"against{end}") for end in ("", "_low", "_high", "_p")), strict=True)
    return [
        _text(mean, "+.2f")
        + ("" if math.isnan(low) else f" [{low:+.2f}, {high:+.2f}]")
        + ("" if math.isnan(p) else ", p < 0.001" if p < 0.001 else f", p = {p:.3f}")
        for mean, low, high, p in ends
    ]


WORDS = ("variant", "group", "note", "settings", "network", "floor", "codec", "published", "best")
"""Columns of words, which stand at the left."""


def markdown(frame: pd.DataFrame) -> str:
    """Return text cells as a pipe table; numbers to the right."""
    right = [name not in WORDS for name in frame.columns]
    head, *body = ([texts.markdown(str(cell)) for cell in line] for line in _lines(frame))
    lines = [head, ["---:" if one else "---" for one in right], *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _lines(frame: pd.DataFrame) -> list[list[Any]]:
    return [list(frame.columns), *frame.values.tolist()]


def latex(frame: pd.DataFrame, caption: str) -> str:
    """Return text cells as a booktabs table that fits the page; it needs booktabs and graphicx."""
    head, *body = ([texts.latex(str(cell)) for cell in line] for line in _lines(frame))
    rows = "".join(f"{' & '.join(line)} \\\\\n" for line in body)
    kinds = "".join("l" if name in WORDS else "r" for name in frame)
    inside = f"\\toprule\n{' & '.join(map(_stacked, head))} \\\\\n\\midrule\n{rows}\\bottomrule\n"
    tabular = f"\\begin{{tabular}}{{{kinds}}}\n{inside}\\end{{tabular}}"
    width = r"\ifdim\width>\textwidth\textwidth\else\width\fi"
    lines = [r"\begin{table}", r"\centering\small", f"\\caption{{{texts.latex(caption)}}}"]
    lines += [f"\\resizebox{{{width}}}{{!}}{{%", f"{tabular}}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _stacked(name: str) -> str:
    """Return the name of a column in two lines, where it has several words."""
    words = name.split(" ")
    first = min(range(1, len(words)), key=lambda n: abs(len(" ".join(words[:n])) - len(name) / 2), default=0)
    return rf"\shortstack[r]{{{' '.join(words[:first])}\\{' '.join(words[first:])}}}" if first else name


def write(section: Section, folder: Path, raw: pd.DataFrame) -> list[Path]:
    """Write all rows of a section as CSV (``raw``), Markdown (text) and LaTeX (its main columns)."""
    frame = table(section, raw)
    caption = f"{section.title}, {display(section.dataset)}: test split, means over seeds"
    return save(folder, section.name, raw, frame, narrow(section, frame), f"{caption} ± 95 % t intervals.")


def save(
    folder: Path, name: str, raw: pd.DataFrame, frame: pd.DataFrame, paper: pd.DataFrame, caption: str
) -> list[Path]:
    """Write ``raw`` numbers as ``<name>.csv``, text as ``<name>.md``, and ``paper`` as ``<name>.tex``."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "csv": raw.to_csv(index=False),
        "md": markdown(frame),
        "tex": latex(shortened(paper), caption),
    }
    paths = []
    for ending, text in contents.items():
        path = folder / f"{name}.{ending}"
        durable.write(path, texts.visible(text))
        paths.append(path)
    return paths


def rates(raw: pd.DataFrame) -> pd.DataFrame:
    """Return what ``report.rates.winners`` has found as formatted text."""
    cells = {"bytes": _whole(raw, "bytes")}
    for side in (side for side in SIDES if any(raw[side])):
        psnrs = _plain(raw, f"{side}_psnr", 2)
        cells[side] = [f"{psnr} {name}".strip() for psnr, name in zip(psnrs, raw[side], strict=True)]
    return texts.frame(cells | {"best": list(raw["best"])})


def main(section: Section, frame: pd.DataFrame) -> list[str]:
    """Name the columns of a section's table that matter most, at most ``COLUMNS``, the first one first.

    Figures that the study's claims are about come before others.
    """
    claimed = {claim.get("metric") for claim in section.claims}
    further = sorted(known := _further(), key=lambda name: known[name] not in claimed)
    published = ("report PSNR (dB)", "one a class PSNR (dB)") if "report PSNR (dB)" in frame else ()
    last = [*_MAIN, column(ordered_by(section.rows)).title, "seconds"]
    around = ["latent reliance"] if any(row.bypassing for row in section.rows) else []
    against = f"minus {section.reference} (dB)"
    order = ["variant", "full PSNR (dB)", *published, against, *further, "full SSIM", *around, *last]
    return [name for name in dict.fromkeys(order) if name in frame][:COLUMNS]


def narrow(section: Section, frame: pd.DataFrame) -> pd.DataFrame:
    """Return those columns of a table, in its order."""
    names = main(section, frame)
    return frame[[name for name in frame if name in names]]


def shortened(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with each interval as ``short`` gives it; words, such as labels, stay as they are."""
    return frame.assign(**{str(name): frame[name].map(short) for name in frame if name not in WORDS})


def short(cell: str) -> str:
    """Return an interval as a mean and how far it reaches: 20.5 [20.0, 21.0] as 20.5 ± 0.5."""
    return _BRACKETS.sub(_reach, cell)


def _reach(found: re.Match[str]) -> str:
    mean, low, high = map(float, found.groups())
    digits = len(found[1].partition(".")[2])
    return f"{found[1]} ± {max(high - mean, mean - low):.{digits}f}"

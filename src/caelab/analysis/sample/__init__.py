"""What does a trained model draw of its own?"""

from caelab.errors import installed
from caelab.runs.analyses import Analysis, Option, whole_number
from caelab.runs.columns import POSITIVE, SHARE, Column
from caelab.terminal import nearest

PRIORS = {"normal": "normal", "gmm": "mixture", "flow": "flow"}
"""Name of each prior that there is -> its name in titles."""

FIGURES = {
    "frechet": "Fréchet distance on caelab's features",
    "fid": "FID, the Fréchet distance on Inception's features",
    "precision": "share of the {} that lie among real images",
    "recall": "share of real images that lie among the {}",
    "density": "how deep the {} lie among real images; 1: as deep as real images do",
    "coverage": "share of real images that have one of the {} nearby",
}
"""Figure of a set of images -> what it is."""

DISTANCES = {"frechet": "Fréchet", "fid": "FID"}
"""Figure of which less is better -> its name."""

_TITLED = (*DISTANCES, "coverage")  # in tables of reports; the others are columns of caelab runs


def _priors(text: str) -> tuple[str, ...]:
    """Read ``normal,gmm``; each once, in the order that they are given in.

    Raises:
        ValueError: there is no such prior, or it needs a package that is not installed.
    """
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in PRIORS:
            raise ValueError(f"there is no prior {name!r}{nearest(name, list(PRIORS))}")
        if name == "flow" and not installed("zuko"):
            raise ValueError("zuko is not installed; pip install 'caelab[flow]', or take --prior gmm")
    return names


def _columns() -> dict[str, Column]:
    """A column for each figure of each prior, and for what a fitted prior gains over the normal one."""
    columns = {}
    for prior, title in PRIORS.items():
        of = f"samples of the {title} prior"
        for figure, meaning in FIGURES.items():
            distance = figure in DISTANCES
            columns[f"{figure}_{prior}"] = Column(
                f"sample/{figure}_{prior}",
                f"{meaning}, {of}" if distance else meaning.format(of),
                ".2f" if distance else ".3f",
                f"{DISTANCES.get(figure, figure)}, {title}" if figure in _TITLED else "",
                POSITIVE if distance or figure == "density" else SHARE,
                claims=not distance,  # less of it is better
            )
        if prior != "normal":
            columns[f"frechet_gain_{prior}"] = Column(
                f"sample/frechet_gain_{prior}",
                f"Fréchet distance of the normal prior, minus that of the {title}",
                ".2f",
            )
            columns[f"coverage_gain_{prior}"] = Column(
                f"sample/coverage_gain_{prior}",
                f"coverage of the {title}, minus that of the normal prior",
                ".3f",
            )
    return columns


ANALYSIS = Analysis(
    __name__,
    """What does the model draw from codes that it never saw?

Draws codes from priors, decodes them, and compares the samples with held-out images: Fréchet distance,
precision, recall, density and coverage, on the features of a small classifier that is trained once per
dataset. Gives the same figures for reconstructions and for other held-out images. The prior normal is the
standard normal distribution if training holds the codes near it, else one fitted to the training codes;
gmm is a mixture of ten and flow a normalising flow (caelab[flow]), also fitted to the training codes. --fid
adds FID on the features of Inception (caelab[fid]), whose weights are never downloaded. Needs classes, a
code that is not discrete, and a model without skips around it. Writes RUN/sample.json, RUN/sample.png and
RUN/sample.npz, from which caelab look --interactive draws.
""",
    examples=(
        "multirun/runs/mnist/improved-mse-adam-s0-0123456789",
        "multirun/runs/cifar10/* --prior normal,gmm,flow --number 100",
    ),
    files=("sample.png", "sample.npz"),
    columns=_columns(),
    options={
        "prior": Option(
            ("normal", "gmm"), f"priors to draw codes from: {', '.join(PRIORS)}", "NAME,...", _priors
        ),
        "number": Option(64, "samples in the picture", "N", whole_number(1, 1_024)),
        "fid": Option(False, "also measure FID, which is slow without a GPU"),
        "seed": Option(0, "seed of all draws and fits", "S", whole_number(0, 2**32 - 1)),
    },
)

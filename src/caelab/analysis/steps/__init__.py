"""What does each step of an encoder gain, and what does it cost?"""

from caelab.runs.analyses import Analysis, Option, whole_number
from caelab.runs.columns import POSITIVE, Column

COUNTS = (0, 1, 2, 3, 5, 8, 12, 20)


def _counts(text: str) -> tuple[int, ...]:
    """Read ``0,2,8``."""
    counts = text.split(",")
    if not all(count.isdecimal() for count in counts):
        raise ValueError("give whole numbers, at least 0, such as --steps 0,2,8")
    return tuple(sorted({int(count) for count in counts}))


ANALYSIS = Analysis(
    __name__,
    """What does each step of the encoder gain, and what does it cost?

Takes runs whose encoder finds the code of an image in steps (model=auto_decoder, residual, spatial). Encodes
the first test images with several numbers of steps, on the CPU, and measures PSNR and time. Writes
RUN/steps.json and RUN/steps.png.
""",
    examples=(
        "multirun/runs/cifar10/auto_decoder-mse-adam-s0-0123456789",
        "multirun/runs/cifar10/residual-* --steps 1,2,4 --images 10000",
    ),
    files=("steps.png",),
    columns={
        "enough_steps": Column(
            "steps/enough",
            "fewest encoder steps within 0.05 dB of the best",
            ",.0f",
            bounds=POSITIVE,
            claims=False,
        ),
    },
    options={
        "steps": Option(COUNTS, "numbers of steps", "N,...", _counts),
        "images": Option(1000, "how many of the first test images", "N", whole_number(1)),
    },
)

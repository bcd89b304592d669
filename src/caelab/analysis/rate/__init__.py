"""How many bits does a trained model's code really need?"""

from caelab.runs.analyses import Analysis, Option
from caelab.runs.columns import POSITIVE, Column

FINEST = 8
"""Bits of the finest quantiser there is."""

BITS = (1, 2, 3, 4, 5, 6, 8)
"""Of the quantisers: 2^b steps span eight standard deviations."""


def _bits(text: str) -> tuple[int, ...]:
    """Read ``2,4,8``; refuse bits that no quantiser here has."""
    bits = text.split(",")
    if not all(b.isdecimal() and 1 <= int(b) <= FINEST for b in bits):
        raise ValueError(f"give whole numbers from 1 to {FINEST}, such as --bits 2,4,8")
    return tuple(sorted({int(b) for b in bits}))


ANALYSIS = Analysis(
    __name__,
    """How many bits does the code need, compared with PCA and codecs?

Rounds the codes of each run to steps of several sizes, compresses them with a range coder and decodes them
again. Measures bits per image and the PSNR of the decoded images on the whole test split, and compares with
transform coding by PCA, JPEG, WebP and AVIF. Steps, axes and the coder's models come from training images
alone. Writes RUN/rate.json and RUN/rate.png; runs on one dataset that are given together share the picture.
""",
    examples=(
        "multirun/runs/cifar10/improved-mse-adam-s0-0123456789",
        "multirun/runs/cifar10/{pca,base,improved}-* --bits 2,4,6",
    ),
    files=("rate.png",),
    columns={
        "bits_per_number": Column(
            "rate/bits_per_number",
            "bits per number of the code with which 0.1 dB is lost",
            ".2f",
            "bits per number",
            POSITIVE,
        ),
        "bits_per_image": Column("rate/enough_bits", "bits per image with which 0.1 dB is lost", ",.0f"),
        "over_jpeg": Column(
            "rate/psnr_over_jpeg",
            "PSNR in dB with these bits, minus that of JPEG with no more bytes",
            ".2f",
            "minus JPEG (dB)",
        ),
        "over_transform": Column(
            "rate/psnr_over_transform",
            "PSNR in dB with these bits, minus that of transform coding by PCA",
            ".2f",
            "minus PCA transform (dB)",
        ),
    },
    options={
        "bits": Option(
            BITS,
            f"bits B of the quantisers, from 1 to {FINEST}: 2^B steps span eight standard deviations",
            "B,...",
            _bits,
        ),
        "force": Option(False, "measure again what is already measured"),
    },
)

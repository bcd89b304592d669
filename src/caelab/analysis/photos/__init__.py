"""How well does a network code photographs of any size?"""

from caelab.runs.analyses import Analysis, Option
from caelab.runs.columns import Column

ANALYSIS = Analysis(
    __name__,
    """How well does a network code photographs, compared with JPEG, WebP and AVIF?

Encodes each picture of a folder at its full size into an actual bitstream, decodes that, and measures
bits per pixel and PSNR; then does the same with JPEG, WebP and AVIF at several qualities. Takes runs of
model=spatial or spatial_auto_decoder with bottleneck=entropy, hyperprior or context. Writes RUN/photos.json
and RUN/photos.png. Runs that are given together, for example with several prices, share one picture, which
joins them to a curve.
""",
    examples=(
        "multirun/runs/folder/spatial-mse-adamw-s0-0123456789 --images kodak",
        "multirun/runs/folder/spatial-* --images kodak",
    ),
    files=("photos.png",),
    columns={
        "photos_bits": Column("photos/bits_per_pixel", "bits per pixel of photographs, coded whole", ".3f"),
        "photos_psnr": Column("photos/psnr", "PSNR in dB of photographs, coded whole", ".2f"),
    },
    options={"images": Option(None, "folder of pictures, or a single picture", "PATH")},
)

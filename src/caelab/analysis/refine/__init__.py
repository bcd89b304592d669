"""Is the encoder or the decoder the limit?"""

from caelab.runs.analyses import Analysis, Option, whole_number
from caelab.runs.columns import POSITIVE, Column

ANALYSIS = Analysis(
    __name__,
    """What is lost in the encoder, and what in the decoder?

Fits the latent of each test image to the image, from the encoder's on, by the decoder of each run: what
that gains, the encoder has lost. Skips stay as they are. Takes the first images of the test split. Writes
RUN/refine.json and RUN/refine.png.
""",
    examples=(
        "multirun/runs/cifar10/improved-mse-adam-s0-0123456789",
        "multirun/runs/cifar10/{base,improved}-* --images 10000",
    ),
    files=("refine.png",),
    columns={
        "refine_gain": Column(
            "refine/gain", "PSNR in dB that fitting the latent gains", ".2f", "encoder gap (dB)", POSITIVE
        ),
        "refine_psnr": Column("refine/psnr", "PSNR in dB with fitted latents", ".2f"),
    },
    options={
        "steps": Option(20, "steps of the fit", "N", whole_number(1)),
        "images": Option(1000, "of the test split, the first ones", "N", whole_number(1)),
    },
)

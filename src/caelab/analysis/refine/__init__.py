"""Is the encoder or the decoder the limit?"""

from caelab.runs.analyses import Analysis, Option, whole_number
from caelab.runs.columns import POSITIVE, Column

ANALYSIS = Analysis(
    __name__,
    """What is lost in the encoder, and what in the decoder?

Starts from the encoder's latent of each test image and fits it so that the decoder of the run reconstructs
the image better: what this gains, the encoder has lost. Skips stay as they are. Uses the first images of
the test split. Writes RUN/refine.json and RUN/refine.png.
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
        "images": Option(1000, "how many of the first test images", "N", whole_number(1)),
    },
)

"""Do a trained model's decoder features tell what each pixel is of?"""

from caelab.runs.analyses import Analysis
from caelab.runs.columns import SHARE, Column

ANALYSIS = Analysis(
    __name__,
    """Do the decoder's features tell the class of each pixel?

Predicts the class of each pixel, such as background or ellipse, with a linear probe on the outputs of the
last decoder stages of each run, and compares with its reconstruction, the untrained network, principal
components and the pixels. Needs data with known masks: shapes. Writes RUN/segment.json and
RUN/segment.png.
""",
    examples=(
        "multirun/runs/shapes/improved-mse-adam-s0-0123456789",
        "multirun/runs/shapes/*",
    ),
    files=("segment.png",),
    columns={
        "segment_iou": Column(
            "segment/decoder/iou",
            "mean IoU of pixel classes by decoder features",
            ".3f",
            "IoU by decoder",
            SHARE,
        ),
        "segment_foreground": Column(
            "segment/reconstruction/foreground", "IoU of foreground by reconstruction", ".3f", bounds=SHARE
        ),
    },
)

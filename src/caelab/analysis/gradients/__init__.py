"""How large is the gradient in each layer, before training and after?"""

from caelab.runs.analyses import Analysis
from caelab.runs.columns import POSITIVE, Column

ANALYSIS = Analysis(
    __name__,
    """Do gradients vanish on their way to the first layer?

Measures the norm of the training loss's gradient with respect to the weights of each layer, for the
initial weights of each run and for its best checkpoint, on the first 256 training images. Writes
RUN/gradients.json and RUN/gradients.png.
""",
    examples=(
        "multirun/runs/cifar10/base-mse-adam-s0-0123456789",
        "multirun/runs/cifar10/*",
    ),
    files=("gradients.png",),
    columns={
        "gradient_ratio_start": Column(
            "gradients/start_ratio",
            "first layer's gradient over the last one's, before training",
            ".3g",
            bounds=POSITIVE,
        ),
        "gradient_ratio": Column(
            "gradients/end_ratio",
            "first layer's gradient over the last one's, best checkpoint",
            ".3g",
            "gradient, first over last layer",
            POSITIVE,
        ),
    },
)

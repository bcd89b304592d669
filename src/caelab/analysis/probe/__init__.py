"""What is in a trained model's features?"""

from caelab.runs.analyses import Analysis
from caelab.runs.columns import SHARE, Column

ANALYSIS = Analysis(
    __name__,
    """What can be read from the features of the model?

Predicts the class of an image from the features of each run, its code z and each encoder stage, with a
linear probe and with the 10 nearest neighbours. Uses all labels, a tenth and a hundredth of them, and
compares with pixels, principal components and the untrained network. On shapes, whose factors are known,
it also measures whether each factor has a number of the code to itself (DCI, MIG). Writes RUN/probe.json
and RUN/probe.png.
""",
    examples=(
        "multirun/runs/cifar10/improved-mse-adam-s0-0123456789",
        "multirun/runs/mnist/*",
    ),
    files=("probe.png",),
    columns={
        "probe_linear": Column(
            "probe/z/linear", "test accuracy of a linear probe on the code", ".3f", "linear probe of z", SHARE
        ),
        "probe_knn": Column(
            "probe/z/knn",
            "test accuracy of 10 nearest neighbours in the code",
            ".3f",
            "10-NN probe of z",
            SHARE,
        ),
        "disentanglement": Column(
            "probe/z/disentanglement",
            "how far each number of the code belongs to one factor (DCI)",
            ".3f",
            "disentanglement",
            SHARE,
        ),
        "mig": Column("probe/z/mig", "mutual information gap of the factors", ".3f", "MIG", SHARE),
    },
)

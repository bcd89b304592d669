"""What is in a trained model's features?"""

from caelab.runs.analyses import Analysis
from caelab.runs.columns import SHARE, Column

ANALYSIS = Analysis(
    __name__,
    """What can be told from the features of the model?

Asks how well the class of an image can be told from the features of each run: from its code z and from
each encoder stage, by a linear probe and by the 10 nearest neighbours, with all labels, a tenth and a
hundredth of them; beside pixels, principal components and the network as it was before training. On
shapes, whose factors are known, also whether each factor has a number of the code to itself (DCI, MIG).
Writes RUN/probe.json and RUN/probe.png.
""",
    examples=(
        "multirun/runs/cifar10/improved-mse-adam-s0-0123456789",
        "multirun/runs/mnist/*",
    ),
    files=("probe.png",),
    columns={
        "probe_linear": Column(
            "probe/z/linear", "test accuracy of a linear probe of the code", ".3f", "linear probe of z", SHARE
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
            "share of each number of the code that one factor has (DCI)",
            ".3f",
            "disentanglement",
            SHARE,
        ),
        "mig": Column("probe/z/mig", "mutual information gap of the factors", ".3f", "MIG", SHARE),
    },
)

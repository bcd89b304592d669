"""Are images of classes that a model was not trained on found?"""

from caelab.runs.analyses import Analysis
from caelab.runs.columns import SHARE, Column

ANALYSIS = Analysis(
    __name__,
    """Does the model find images of classes it was not trained on?

Takes runs that were trained on some classes of their dataset. Scores the test images of these and of all
other classes by reconstruction error and by distance to the training codes, and says how well each score
tells them apart, compared with PCA and distances in pixels. Writes RUN/anomaly.json and RUN/anomaly.png
(ROC curves, and the images with the lowest and highest scores). To train such a run: caelab train
dataset=mnist 'dataset.classes=[0,1,2,3,4]'.
""",
    examples=("multirun/runs/mnist/improved_skip-mse-adam-s0-0123456789",),
    files=("anomaly.png",),
    columns={
        "anomaly_error": Column(
            "anomaly/auroc_error", "AUROC by reconstruction error", ".3f", "AUROC of errors", SHARE
        ),
        "anomaly_neighbours": Column(
            "anomaly/auroc_neighbours", "AUROC by distance to training codes", ".3f", "AUROC of codes", SHARE
        ),
    },
)

"""How to read the tables of a report: what stands in their columns, and nothing of what does not."""

from collections.abc import Collection

from caelab.metrics.measures import measures
from caelab.runs.record import BYPASSING

_TEST = "t tests, paired by seed where rows start from the same weights, Welch's elsewhere"
_SENTENCES = {
    "full PSNR (dB)": "Full: all test images; PSNR and SSIM are means over seeds.",
    "report PSNR (dB)": "Report: what the report printed of ten images.",
    "one a class PSNR (dB)": "One a class: of the first test image of each class, by the report's protocol.",
    "difference (dB)": "Difference: one a class minus the report's.",
    "group": f"Rows that share a letter do not differ significantly ({_TEST}; Holm-adjusted over all pairs). "
    "The best row is named by its comparisons with the others alone, which must all be significant and need "
    "no adjustment, so it may share a letter.",
    "code": "Code: numbers that reach the decoder, with those of the skips.",
    "bits": "Bits: of a discrete latent, which is tokens times log2 of the entries.",
    "codebook usage": "Codebook usage: the share of its entries that occur in the codes of all test images; "
    "perplexity: how many equally frequent entries have the entropy of theirs.",
    "active numbers": "Active numbers: those of the latent that tell something of an image.",
    "latent reliance": "Latent reliance: how much of the gain in PSNR over the mean image is lost with "
    f"another image's latent; a row below {BYPASSING} is marked as bypassing: its skips carry the picture "
    "around the latent.",
    **{one.title: f"{one.title[0].upper()}{one.title[1:]}: {one.meaning}." for one in measures().values()},
    "linear probe of z": "Probes: test accuracy, from 0 to 1, of what tells the class from the latent.",
    "disentanglement": "Disentanglement and MIG: whether each known factor has a number of the latent to "
    "itself.",
    "AUROC of errors": "AUROC: how well images of classes that were not trained on are found by "
    "reconstruction error (MSE), or by distance to the nearest training codes.",
    "bits per number": "Bits per number: of the rounded and coded code, with which a tenth of a decibel is "
    "lost; minus JPEG, minus PCA transform: PSNR there, less that of JPEG without its headers, or of "
    "transform coding by PCA, at as many bytes.",
    "encoder gap (dB)": "Encoder gap: what the decoder gains when each latent is fitted to its image.",
}
RATES = (
    "At equal bytes an image, whatever the step: PSNR in dB of the best of the networks above, of the floors "
    "(PCA of each size above, and transform coding by PCA, where one step rounds all components), of the "
    "codecs, whose headers do not count, and of the curves that others have published. Between two "
    "quantisers, prices or qualities the line is straight over the logarithm of the bytes; 100 dB "
    "stand for no loss at all."
)
"""How to read the table of rates."""

_INTERVAL = "In brackets: the 95 % t interval over seeds, cut off where the figure cannot lie."
_MINUS = f"Minus a row: the difference in full PSNR ({_TEST}), with p Holm-adjusted over the table."
_FLOORS = "Floors are fitted without training."


def caption(columns: Collection[str], intervals: bool, compared: bool, floors: bool) -> str:
    """Say how to read tables.

    Args:
        columns: names of all that occur.
        intervals: whether there is one in them.
        compared: whether rows are compared with a reference.
        floors: whether there are rows of that kind.
    """
    found = [sentence for column, sentence in _SENTENCES.items() if column in columns]
    more = {_MINUS: compared, _INTERVAL: intervals, _FLOORS: floors}
    return " ".join([*found, *(sentence for sentence, there in more.items() if there)])

"""Does a trained model's picture come through its latent?"""

from caelab.runs.analyses import Analysis
from caelab.runs.columns import Column

ANALYSIS = Analysis(
    __name__,
    """Does the picture come through the latent, or around it?

Replaces the latent, the skips or one skip of each code by those of another test image, or by a mean, and
measures what the decoder then draws. The latent reliance says how much of the picture comes through the
latent. Writes RUN/audit.json, and RUN/audit.png (what each path alone reconstructs) with its pictures in
RUN/audit.npz.
""",
    examples=(
        "multirun/runs/cifar10/improved_skip-mse-adam-s0-0123456789",
        "multirun/runs/cifar10/*",
    ),
    files=("audit.png", "audit.npz"),
    columns={
        "psnr_other_latent": Column(
            "audit/psnr_other_latent", "PSNR in dB with another image's latent", ".2f"
        ),
        "psnr_other_skips": Column("audit/psnr_other_skips", "PSNR in dB with another image's skips", ".2f"),
        "psnr_pca": Column(
            "audit/psnr_pca", "PSNR in dB of PCA with as many numbers as reach the decoder", ".2f"
        ),
    },
)

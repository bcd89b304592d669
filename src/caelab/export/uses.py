"""What an exported model may be used for, and what it cannot do: sentences that follow from its record."""

from collections.abc import Sequence

from caelab.config.fingerprint import CLEAN
from caelab.data.datamodule import ImageDataModule
from caelab.export.floors import Floor
from caelab.runs.record import BYPASSING, Complete
from caelab.texts import markdown

_OF_PAIRS = "the flaws that its pairs of pictures show"


def reliance(record: Complete, value: float | None) -> str:
    """Say in a sentence or two, in Markdown, what the latent reliance of a run means.

    Args:
        record: of the run.
        value: its latent reliance; None where it is unknown.
    """
    size = record.size
    around = size.effective_code - size.latent
    if not around and value is None:
        return "None: the reconstructions are no better than the mean image, so there is nothing to lose."
    if not around:
        return "1.00: nothing goes around the latent, so all of the picture comes through it."
    if value is None:
        return (
            f"Unknown. Beside the latent {around:,} numbers reach the decoder in skips; either it was not "
            "measured, or the reconstructions are no better than the mean image."
        )
    lost = (
        f"{value:.2f}: with another image's latent and the right skips, {value:.0%} of what the model gains "
        f"over the mean image (in dB) is lost. {around:,} numbers go around the latent in skips."
    )
    if value >= BYPASSING:
        return lost
    return (
        f"**This model bypasses its latent** (below {BYPASSING:.2g}). {lost} Its PSNR says little about its "
        "latent, and `z` alone is no code of the image."
    )


def corrupted(record: Complete) -> str:
    """Name what a run was trained to undo, such as ``GaussianNoise (std=0.1)``; or nothing."""
    if record.data.paired:
        return _OF_PAIRS
    config = record.corruption
    if config == CLEAN:
        return ""
    values = ", ".join(f"{key}={value}" for key, value in config.items() if key != "_target_")
    return f"{config['_target_'].rpartition('.')[2]} ({values})"


def uses(record: Complete, data: ImageDataModule) -> list[str]:
    """Say what the model is meant for, in Markdown."""
    pictures = f"{markdown(data.pictures or data.name)}, {'x'.join(map(str, record.data.shape))}"
    undone = markdown(corrupted(record))
    if undone:
        return [
            f"Experiments on restoring images like those that it was trained on ({pictures}) from "
            f"{undone}, at just that strength."
        ]
    found = [
        f"Experiments on reconstructing images like those that it was trained on ({pictures}), and "
        "comparison with other models of caelab that were measured in the same way."
    ]
    if record.size.effective_code == record.size.latent:
        found.append(
            f"Its latent (`z`, {record.size.latent:,} numbers) as features of such images; "
            "`caelab probe` measures what can be read from them."
        )
    return found


def limits(record: Complete, data: ImageDataModule, floors: Sequence[Floor]) -> list[str]:
    """Say what the model cannot do, or was never tested for, in Markdown."""
    found = [
        f"Only {'x'.join(map(str, record.data.shape))} images with pixels in [0, 1] go in. Anything else "
        "must be scaled to that first, and nothing was measured on images from elsewhere: expect worse.",
        "A decoder draws what is likely. Details of a reconstruction may be wrong or made up: no one's "
        "identity, health or rights should hang on them.",
        "Whether some kinds of images, or people in them, come out worse than others was not examined.",
        f"The figures are of one training (seed {record.seed}); another seed gives other ones.",
    ]
    undone = markdown(corrupted(record))
    if record.data.paired:
        found.append(f"It was trained to undo {undone}. Other flaws, and none, were not measured.")
    elif undone:
        found.append(
            f"It was trained to undo {undone} that caelab itself added. Clean images, other strengths and "
            "the noise or blur of real cameras are something else, and were not measured."
        )
    return found + _code(record, floors) + _training(record)


def _code(record: Complete, floors: Sequence[Floor]) -> list[str]:
    size, psnr = record.size, record.metrics.get("test/psnr")
    found = []
    if size.effective_code >= size.input_numbers:
        found.append(
            f"It does not compress: the decoder gets {size.effective_code:,} numbers for an image of "
            f"{size.input_numbers:,}."
        )
    for floor in floors:
        above = floor.metrics.get("test/psnr")
        if floor.numbers and above is not None and psnr is not None and above > psnr:
            found.append(
                f"A linear projection on {floor.numbers:,} numbers is closer to the images ({above:.2f} dB, "
                f"this model {psnr:.2f} dB): where only PSNR counts, take that."
            )
        if not floor.numbers and above is not None and psnr is not None and above >= psnr:
            found.append(
                "It is no better than nothing: the mean training image is at least as close "
                f"({above:.2f} dB, this model {psnr:.2f} dB)."
            )
    return found


def _training(record: Complete) -> list[str]:
    found = []
    dataset, epochs = record.config["dataset"], record.time.epochs
    if dataset.get("classes"):
        found.append(f"It was trained on the classes {markdown(str(dataset['classes']))} only.")
    if epochs and record.best_epoch == epochs:
        found.append("Its best epoch was its last, so longer training might have given more.")
    return found

"""``caelab reconstruct``, ``encode`` and ``decode``: a trained model on a user's own images."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from caelab import terminal
from caelab.cli.arguments import Force, Model, Steps, Trust, examples

_RUN = "multirun/runs/cifar10/improved-mse-adam-s0-0123456789"

Images = Annotated[list[Path] | None, typer.Argument(metavar="IMAGES...", help="image files and folders")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="folder for the images")]
Codes = Annotated[Path, typer.Option(metavar="FILE.npz", help="file for the codes")]
Fit = Annotated[
    str | None, typer.Option(metavar="WAY", help="for images of another size: resize, crop, tile or whole")
]
Refine = Annotated[
    int, typer.Option(metavar="STEPS", min=0, help="steps that then fit each latent to its image")
]


def add(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog=examples(f"caelab encode {_RUN} photos --out codes.npz --fit tile"))(encode)
    app.command(epilog=examples(f"caelab decode {_RUN} codes.npz --out rebuilt"))(decode)
    app.command(epilog=examples(f"caelab reconstruct {_RUN} photos --out rebuilt --fit tile"))(reconstruct)


def reconstruct(
    run: Model,
    out: Out,
    images: Images = None,
    fit: Fit = None,
    refine: Refine = 0,
    encoder_steps: Steps = None,
    force: Force = False,
    trust: Trust = None,
) -> None:
    """Reconstruct images in files and folders.

    Writes to DIR one PNG per image, with the same name, reconstructions.csv with PSNR and SSIM, and
    overview.png. Images of another size than the model's need --fit: resize scales them, and scales the
    reconstructions back; crop takes their middle; tile cuts them into images of the model's size; whole
    leaves them as they are, for a model that takes any size (model=spatial).
    Array files (.npy, .tif) give files of the same type and range.
    """
    from caelab.inference.reconstruct import OVERVIEW, TABLE, summary
    from caelab.inference.reconstruct import reconstruct as rebuild

    rows, skipped = rebuild(
        run, images or [], out, fit, refine=refine, encoder_steps=encoder_steps, force=force
    )
    if rows:
        terminal.console.print(summary(rows))
        for path in (out / OVERVIEW, out / TABLE):
            if path.is_file():
                terminal.say(f"  {terminal.shown(path)}")
    sys.exit(bool(skipped))


def encode(
    run: Model,
    out: Codes,
    images: Images = None,
    fit: Fit = None,
    refine: Refine = 0,
    encoder_steps: Steps = None,
    force: Force = False,
    trust: Trust = None,
) -> None:
    """Encode images in files and folders into one file of codes.

    caelab decode turns the file back into images. Images of another size than the model's need --fit, as in
    caelab reconstruct. Array files (.npy, .tif) are read as they are.
    """
    from caelab.inference.encode import encode as write
    from caelab.inference.encode import summary

    rows, skipped = write(
        run, images or [], out, fit, refine=refine, encoder_steps=encoder_steps, force=force
    )
    if rows:
        terminal.console.print(summary(rows))
        terminal.say(f"  {terminal.shown(out)}")
        words = ["caelab", "decode", terminal.shown(run), terminal.shown(out), "--out", "rebuilt"]
        terminal.say(f"next: {shlex.join(words)}")
    sys.exit(bool(skipped))


def decode(
    run: Model,
    codes: Annotated[Path, typer.Argument(metavar="CODES", help="a file that caelab encode wrote")],
    out: Out,
    force: Force = False,
    trust: Trust = None,
) -> None:
    """Decode a file of codes into images.

    Needs the model that encoded the images. Writes one PNG per image to DIR, with the same name: exactly
    what caelab reconstruct writes.
    """
    from caelab.inference.decode import decode as rebuild

    paths = rebuild(run, codes, out, force=force)
    terminal.say(f"{terminal.shown(out)}: {len(paths):,} decoded")

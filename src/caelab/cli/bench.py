"""``caelab bench``."""

from pathlib import Path
from typing import Annotated

import typer

from caelab.bench import LOADERS, WAYS
from caelab.cli.arguments import examples, names
from caelab.errors import UserError
from caelab.runs import locate

_MODELS = "base,improved_skip"


def add(app: typer.Typer) -> None:
    """Add the command of this module."""
    listed = [
        f"\b\n{title}:\n" + "\n".join(f"  {key:13} {text}" for key, text in options.items())
        for title, options in (("Ways", WAYS), ("Loaders", LOADERS))
    ]
    given = examples(
        "caelab bench --rounds 2 dataset=cifar10 dataset.train_size=10000 trainer.max_epochs=3",
        "caelab bench --loading --rounds 2",
        "caelab bench --to 28,28.5,29 --rounds 3 experiment=residual",
        "caelab bench --page last --rounds 3",
    )
    app.command(epilog="\n\n".join([*listed, given]))(bench)


def bench(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="as for caelab train (default: 10,000 images of CIFAR-10); with --page, RUN...",
        ),
    ] = None,
    models: Annotated[
        str, typer.Option(metavar="NAME,...", help=f"models to train (default: {_MODELS})")
    ] = "",
    only: Annotated[
        str, typer.Option(metavar="NAME,...", help="only these ways or loaders (default: all installed)")
    ] = "",
    rounds: Annotated[
        int, typer.Option(metavar="N", min=1, help="number of rounds; with --to, of seeds")
    ] = 5,
    to: Annotated[
        str,
        typer.Option(metavar="DB,...", help="instead: seconds until a recipe reaches these validation PSNRs"),
    ] = "",
    grow: Annotated[
        bool,
        typer.Option("--grow", help="also vary the sizes of data, batch and latent; with --loading, of data"),
    ] = False,
    loading: Annotated[
        bool, typer.Option("--loading", help="instead: time loading pictures of 64, 128 and 256 pixels")
    ] = False,
    page: Annotated[
        bool,
        typer.Option(
            "--page", help="instead: time pictures in the page of caelab look RUN --interactive, in Chromium"
        ),
    ] = False,
    show: Annotated[
        Path | None, typer.Option(metavar="FILE", help="instead: print a file of figures as Markdown")
    ] = None,
) -> None:
    """Time training against the machine's limit.

    Trains the same network on the same images in each way, one after another, each in its own process.
    Prints images per second, time to the end of the first step, peak memory and bytes read, and their
    ratios; then times PSNR and SSIM of 10,000 images against scikit-image. The figures also go to
    multirun/bench/ as JSON, with the load of the machine. Keep the machine quiet: a table says how much
    its rounds differ.

    With --loading, generated pictures are loaded in each way, alone and while a network trains on them:
    model=base, or another model as KEY=VALUE. --grow goes up to a million pictures, which takes 12 GB in
    the folder for temporary files.

    With --page, the page of each RUN steps through its images and changes a code in Chromium, and reports
    the time per picture.
    """
    asked = {"--to": to, "--page": page, "--show": show, "--loading": loading}
    if len(instead := [name for name, value in asked.items() if value]) > 1:
        raise UserError(f"{' and '.join(instead)}: give only one of them")
    own = {"--models": models} | ({} if loading else {"--only": only, "--grow": grow})
    if instead and (unused := [name for name, value in own.items() if value]):
        raise UserError(f"{instead[0]}: cannot be combined with {' or '.join(unused)}; leave that out")
    from caelab.bench import bench as ways
    from caelab.bench import loading as loaders

    if to:
        from caelab.bench.speed_run import speed_run

        speed_run(_decibels(to), overrides or [], rounds)
    elif page:
        from caelab.bench import pictures

        pictures.bench([locate.run(word) for word in overrides or []], rounds)
    elif show:
        print(ways.markdown(show), end="")
    elif loading:
        loaders.bench(names(only) or loaders.installed(), overrides or [], rounds, grow)
    else:
        ways.bench(
            names(models or _MODELS), names(only) or ways.installed(), overrides or ways.DEFAULT, rounds, grow
        )


def _decibels(text: str) -> list[float]:
    """Read ``28,28.5``."""
    try:
        return [float(one) for one in text.split(",")]
    except ValueError:
        raise UserError(f"--to {text}: give PSNR in dB, such as --to 28,28.5,29") from None

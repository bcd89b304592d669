"""The command ``caelab``: everything that the lab does is a command below it."""

import sys
from typing import Annotated

import typer

import caelab
from caelab import terminal
from caelab.cli import analyses, bench, dashboard, evaluate, export, images, new, report, runs, study, train

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"caelab {caelab.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _lab(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """A lab bench for convolutional autoencoders: train, sweep, measure, compare.

    Each command has its own help, for example caelab report --help.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


for module in (train, study, report, dashboard, runs, evaluate, images, export, bench, new, analyses):
    module.add(app)


def main() -> None:
    """Entry point: exit status 0 when everything asked for was done."""
    with terminal.told(_explain):
        try:
            sys.exit(app(standalone_mode=False))
        except typer.TyperException as error:
            terminal.error(f"{error.format_message()}{analyses.hint(sys.argv[1:])}")
            sys.exit(2)
        except typer.Abort:  # no answer to a question
            terminal.error("nothing is done")
            sys.exit(1)


def _explain(error: BaseException) -> str | None:
    from caelab.config import explain

    return explain.line(error)

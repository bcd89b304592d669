"""A command for each analysis: ``caelab audit RUN...`` and its like, from what the analysis declares."""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from caelab import terminal
from caelab.cli import interactive
from caelab.cli.arguments import Runs, Trust, examples
from caelab.errors import UserError
from caelab.runs import analyses as registry
from caelab.runs.analyses import Analysis, Option, Result, as_text


def add(app: typer.Typer) -> None:
    """Add a command for each analysis but those of an outsider whose name is that of another command."""
    known = {one.name or one.callback.__name__ for one in app.registered_commands if one.callback}
    for one in registry.analyses().values():
        if one.name in known:
            terminal.note(f"the analysis in {one.package} gets no command: caelab {one.name} exists already")
            continue
        lines = examples(*(f"caelab {one.name} {words}" for words in one.examples))
        app.command(one.name, help=one.help, short_help=one.question, epilog=lines)(_command(one))


def hint(words: Sequence[str]) -> str:
    """What to do about a command that is an analysis in the working directory; empty for any other."""
    own = [package for package in registry.beside_options() if package.name in words[:1]]
    return (
        f" {own[0].name}/ is an analysis: PYTHONPATH={terminal.shown(own[0].parent)} finds it." if own else ""
    )


def _command(analysis: Analysis) -> Callable[..., None]:
    def command(runs: list[Path], trust: list[str] | None, **words: Any) -> None:
        if words.pop("interactive", False):
            interactive.interactive(analysis, runs, words)
            return
        options = analysis.arguments(words)
        _refuse_several(analysis, runs, words)
        if not _analysed(analysis, runs, options):
            raise typer.Exit(1)

    command.__signature__ = _signature(analysis)  # type: ignore[attr-defined]
    return command


def _signature(analysis: Analysis) -> Signature:
    """Return what typer reads a command's words by."""
    switch = analysis.package == interactive.PACKAGE
    return Signature(
        [
            _parameter("runs", Runs),
            *([_parameter("interactive", interactive.Interactive, False)] if switch else []),
            *(_parameter(name, *_declared(name, option)) for name, option in analysis.options.items()),
            _parameter("trust", Trust, None),
        ]
    )


def _parameter(name: str, annotation: Any, default: Any = Parameter.empty) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _declared(name: str, option: Option) -> tuple[Any, Any]:
    """Annotation and default of an option: text is None unless it is set."""
    if isinstance(option.default, bool):
        return Annotated[bool, typer.Option(f"--{name}", help=option.help)], option.default
    help = option.help if option.default is None else f"{option.help} (default {as_text(option.default)})"
    return Annotated[str | None, typer.Option(f"--{name}", metavar=option.metavar, help=help)], None


def _refuse_several(analysis: Analysis, runs: Sequence[Path], words: Mapping[str, Any]) -> None:
    for name, value in words.items():
        if value is not None and analysis.options[name].single and len(runs) > 1:
            raise UserError(f"--{name} {value}: applies to one run only; omit it, or give one RUN")


def _analysed(analysis: Analysis, runs: Sequence[Path], options: dict[str, Any]) -> bool:
    """Analyse each run and show it; a mistake in one stops no other. Whether there was none."""
    from caelab.config import explain

    results: dict[Path, Result] = {}
    whole = True
    for run in runs:
        try:
            result = analysis(run, **options)
        except Exception as error:
            line = explain.line(error)
            if line is None:
                raise
            terminal.error(line)
            whole = False
        else:
            results[run] = result
            _show(analysis.module.show(run, result))
            page = Path(result.get("page", run / analysis.files[0]))
            terminal.say(f"{result['seconds']:.0f} s; {terminal.shown(page)}")
    if len(results) > 1 and hasattr(analysis.module, "compare"):
        _show(analysis.module.compare(results))
    if results:
        folders = dict.fromkeys(terminal.shown(run.parent) for run in results)
        terminal.say(f"next: {shlex.join(['caelab', 'report', *folders])}")
    return whole


def _show(parts: Iterable[RenderableType]) -> None:
    for part in parts:
        terminal.say(part) if isinstance(part, str) else terminal.console.print(part)

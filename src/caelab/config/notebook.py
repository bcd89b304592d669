"""The code of a class that is typed into a notebook: it has no file, but IPython keeps every cell."""

import ast
import sys
from collections.abc import Iterator
from contextlib import suppress

from caelab.errors import UserError

MODULE = "__main__"


def code(target: str) -> str:
    """Source of a class of this notebook and of all that it uses there; empty for any other class.

    Args:
        target: dotted name.

    Raises:
        UserError: no cell defines it.
    """
    module, _, name = target.partition(".")
    main = sys.modules[MODULE]
    if module != MODULE or hasattr(main, "__file__"):
        return ""
    defined: dict[str, ast.stmt] = {}
    for cell in getattr(main, "In", ()):
        with suppress(SyntaxError):
            defined |= {one: statement for statement in ast.parse(cell).body for one in _names(statement)}
    used, left = set[str](), [name.partition(".")[0]]
    if left[0] not in defined:
        raise UserError(f"{name}: its source cannot be read; put the class into a module")
    while left:
        one = left.pop()
        if one in defined and one not in used:
            used.add(one)
            left += [node.id for node in ast.walk(defined[one]) if isinstance(node, ast.Name)]
    return "\n".join(sorted({ast.unparse(defined[one]) for one in used}))


def _names(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement defines."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (node.id for one in targets for node in ast.walk(one) if isinstance(node, ast.Name))

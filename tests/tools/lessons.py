"""Execute the notebooks of docs/lessons as they stand, each in a folder of its own.

``make lessons`` says what fails; ``python tests/tools/lessons.py --write [WORD ...]`` keeps the outputs in
the files. With words only the lessons with one of them in their name.
"""

import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

LESSONS = sorted(Path(__file__).resolve().parents[2].glob("docs/lessons/*.ipynb"))


def executed(lesson: Path) -> NotebookNode:
    """Return a notebook with new outputs, and without bars and times.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(lesson, 4)
    with tempfile.TemporaryDirectory() as folder:
        place = {"metadata": {"path": folder}}
        settings = {"timeout": 600, "record_timing": False, "coalesce_streams": True}
        NotebookClient(notebook, kernel_name="python3", resources=place, **settings).execute()
    for cell in (one for one in notebook.cells if one.cell_type == "code"):
        cell.outputs = [output for output in cell.outputs if not _bar(output)]
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    return notebook


def _bar(output: NotebookNode) -> bool:
    """Whether an output is a progress bar, which means nothing once its cell is done."""
    return output.output_type == "display_data" and not {*output.data} - {"text/plain", "text/html"}


def main() -> None:
    """Exit with status 1 if a lesson fails."""
    words = [word for word in sys.argv[1:] if word != "--write"] or [""]
    failed = 0
    for lesson in (one for one in LESSONS if any(word in one.name for word in words)):
        began = time.monotonic()
        try:
            notebook = executed(lesson)
        except CellExecutionError as error:
            failed += 1
            print(f"{lesson.name}: {error}")
            continue
        print(f"{lesson.name}: {time.monotonic() - began:.0f} s", flush=True)
        if "--write" in sys.argv:
            nbformat.write(notebook, lesson)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()

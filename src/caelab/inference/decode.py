"""Images from codes: ``caelab decode RUN codes.npz --out DIR``."""

from collections import deque
from pathlib import Path

from caelab import terminal
from caelab.inference import code_file, inputs, stacks, stream, trained


def decode(run: Path, codes: Path, out: Path, *, force: bool = False) -> list[Path]:
    """Decode a file of codes to pictures, or to arrays where it is of these.

    Args:
        run: directory of a finished run, or an exported file: the model that encoded.
        codes: path of the file.
        out: folder of the outputs.
        force: overwrite older outputs.

    Returns:
        The paths of the outputs.

    Raises:
        UserError: no such model or file, a damaged one, one of another model, or outputs that are there.
    """
    with terminal.working(f"opening {terminal.shown(run)}"):
        read = code_file.read(codes)
        paths = [out / entry.source.name for entry in read.entries]
        inputs.require_free(paths, force)
        model = trained.load(run)
        read.require(model, run)
    made = (sized.decode(code) for sized, code in read.batches(model))
    if any(entry.kind for entry in read.entries):
        found = stacks.files(made, deque(read.entries), model.values)
        for path, (entry, images) in zip(terminal.tracked(paths, "decoding"), found, strict=True):
            stacks.save(images, entry.kind, path)
        return paths
    found = stream.pictures(made, read.fit, deque(read.entries))
    for path, (_, pixels) in zip(terminal.tracked(paths, "decoding"), found, strict=True):
        stream.save(pixels, path)
    return paths

"""Formats of an export: how each is written and read back; its packages are imported where it is used."""

import io
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
from torch.export import ExportedProgram

from caelab import terminal
from caelab.errors import UserError, installed
from caelab.export.parts import Part, Runner, Tensors, parts
from caelab.inference import trained
from caelab.inference.trained import SCHEMA
from caelab.runs.record import Complete
from caelab.terminal import one_line

KEY = "caelab"
"""Under which every file keeps what it is, as JSON: see ``metadata``."""
RANGE = (0.0, 1.0)
"""Of the pixels of ``x`` and ``x_hat``."""

_PATH = re.compile(r"""(?:^|[\s'"\[{(,:=])[/~]""")
_OF_THE_MACHINE = ("paths", "logger", "force", "hydra")


class Format(Protocol):
    """One format.

    Attributes:
        packages: that it needs of the extra ``export``.
    """

    packages: tuple[str, ...]

    def file(self, part: str) -> str:
        """Name of the file that a part is in."""

    def write(self, parts: Sequence[Part], about: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Yield name and contents of each file.

        Raises:
            UserError: the network does what the format cannot hold.
        """

    def read(self, folder: Path, part: Part) -> Runner:
        """Open a part that was written into ``folder``; what is damaged raises almost anything."""


def metadata(record: Complete) -> dict[str, Any]:
    """What every exported file says of itself; it names no path of the machine that it was made on."""
    config = {key: value for key, value in record.config.items() if key not in _OF_THE_MACHINE}
    return {
        "schema": SCHEMA,
        "model": record.model,
        **({"sources": record.sources} if record.sources else {}),
        "shape": record.data.shape,
        "range": list(RANGE),
        "fingerprint": record.fingerprint,
        "metrics": record.metrics,
        "size": asdict(record.size),
        "data": record.data.plain(),
        "config": _without_paths(config),
    }


def _without_paths(node: dict[str, Any]) -> dict[str, Any]:
    kept = {key: _without_paths(value) if isinstance(value, dict) else value for key, value in node.items()}
    return {key: value for key, value in kept.items() if not is_path(value)}


def is_path(value: Any) -> bool:
    """Whether a value of a config is or has a place on the machine that made it, as it is or in quotes."""
    if isinstance(value, list | tuple):
        return any(map(is_path, value))
    return isinstance(value, str) and _PATH.search(value) is not None


class Onnx:
    """A graph for ONNX Runtime and all else that reads ONNX; no Python is needed."""

    packages: tuple[str, ...] = ("onnx", "onnxruntime", "onnxscript")

    def file(self, part: str) -> str:
        """Name of the file that a part is in."""
        return f"{part}.onnx"

    def write(self, parts: Sequence[Part], about: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Yield name and contents of each file.

        Raises:
            UserError: torch cannot trace the network, or ONNX lacks one of its operations.
        """
        import onnx

        for part in parts:
            program = traced(part)
            with _quiet(), _possible(part, "torch cannot write it as ONNX"):
                made = torch.onnx.export(
                    program,
                    part.example,
                    dynamo=True,
                    verbose=False,
                    input_names=list(part.inputs),
                    output_names=list(part.outputs),
                    dynamic_shapes=_batches(part),
                )
            assert made is not None
            model = made.model_proto
            onnx.helper.set_model_props(model, {KEY: json.dumps(about, allow_nan=False)})
            yield self.file(part.name), model.SerializeToString()

    def read(self, folder: Path, part: Part) -> Runner:
        """Open a part in ONNX Runtime on the CPU, with as many threads as torch has."""
        import onnx
        import onnxruntime

        path = folder / self.file(part.name)
        onnx.checker.check_model(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors only
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def run(given: Tensors) -> Tensors:
            arrays = {name: one.numpy() for name, one in zip(part.inputs, given, strict=True)}
            return tuple(torch.from_numpy(one) for one in session.run(part.outputs, arrays))

        return run


class TorchExport:
    """A program of ``torch.export``: for Python and C++ with torch alone, without this package."""

    packages: tuple[str, ...] = ()

    def file(self, part: str) -> str:
        """Name of the file that a part is in."""
        return f"{part}.pt2"

    def write(self, parts: Sequence[Part], about: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Yield name and contents of each file.

        Raises:
            UserError: torch cannot trace the network.
        """
        for part in parts:
            buffer = io.BytesIO()
            program = traced(part)
            with _quiet():
                extra = {f"{KEY}.json": json.dumps(about, allow_nan=False)}
                torch.export.save(program, buffer, extra_files=extra)
            yield self.file(part.name), buffer.getvalue()

    def read(self, folder: Path, part: Part) -> Runner:
        """Load a part's program."""
        module = torch.export.load(folder / self.file(part.name)).module()

        def run(given: Tensors) -> Tensors:
            with torch.no_grad():
                found = module(*given)
            return found if isinstance(found, tuple) else (found,)

        return run


class SafeTensors:
    """The weights, and the config from which this package builds the network again; no code in the file."""

    packages: tuple[str, ...] = ()

    def file(self, part: str) -> str:
        """Name of the one file, which holds all parts."""
        return "autoencoder.safetensors"

    def write(self, parts: Sequence[Part], about: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Yield name and contents of the file."""
        weights = {name: one.contiguous() for name, one in parts[-1].module.state_dict().items()}
        text = json.dumps(about, allow_nan=False)
        yield self.file("autoencoder"), safetensors.torch.save(weights, {KEY: text})

    def read(self, folder: Path, part: Part) -> Runner:
        """Build the network from the file alone, as ``caelab.load`` does."""
        net = trained.load(folder / self.file(part.name), "cpu").network
        return {one.name: one for one in parts(net)}[part.name]


FORMATS: dict[str, Format] = {
    "onnx": Onnx(),
    "torch_export": TorchExport(),
    "safetensors": SafeTensors(),
}
"""By their name on the command line."""


def find(name: str) -> Format:
    """Return the format of that name.

    Raises:
        UserError: there is none, or it needs a package that is not installed.
    """
    if name not in FORMATS:
        raise UserError(f"--format {name}: there is no such format{terminal.nearest(name, list(FORMATS))}")
    missing = [package for package in FORMATS[name].packages if not installed(package)]
    if missing:
        raise UserError(
            f'--format {name}: {", ".join(missing)} not installed; pip install "caelab[export]", '
            "or take --format torch_export"
        )
    return FORMATS[name]


def traced(part: Part) -> ExportedProgram:
    """Trace a part with ``torch.export`` for batches of any size.

    Raises:
        UserError: torch cannot follow what the network does.
    """
    with _quiet(), _possible(part, "torch.export cannot trace it"), torch.no_grad():
        program = torch.export.export(part.module, part.example, dynamic_shapes=_batches(part))
    for module in program.graph_module.modules():
        for node in getattr(module, "graph", torch.fx.Graph()).nodes:
            node.meta.pop("stack_trace", None)  # it holds this machine's paths, and would go into the file
    return program


def _batches(part: Part) -> Any:
    """Say of each input that its first axis may have any length."""
    batch, shapes = torch.export.Dim("batch"), torch.export.ShapesCollection()  # type: ignore[no-untyped-call]
    for one in part.example:
        shapes[one] = {0: batch}
    return shapes.dynamic_shapes(part.module, part.example)  # type: ignore[no-untyped-call]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' warnings, which are about their own insides, off the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _possible(part: Part, what: str) -> Iterator[None]:
    """Tell in one line what a format cannot hold.

    Raises:
        UserError: instead of any error in the block.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise UserError(
            f"the {part.name}: {what} ({one_line(cause)}); --format safetensors holds any network of the lab"
        ) from error

"""The networks of a page as ONNX: encoder, decoder, and what is only needed here."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from caelab.bottlenecks.bottleneck import Discrete
from caelab.corruptions import Clean, Corruption
from caelab.errors import UserError, installed
from caelab.export.check import check
from caelab.export.formats import Onnx
from caelab.export.parts import Encoder, Part, Tensors, parts
from caelab.models.autoencoder import Autoencoder

WEIGHTS = "weights"
"""Name of the file that holds the large tensors of a run's networks."""

_LARGE = 1_024  # bytes


class Indexed(Encoder):
    """The encoder with the indices of its code, which is discrete."""

    def forward(self, x: Tensor) -> Tensors:
        """Map images ``x`` (N, C, H, W) in [0, 1] to ``(z, skip_1, ..., indices)``, indices int32."""
        code = self.net.encode(x)
        assert code.indices is not None
        return (code.z, *code.skips, code.indices.int())


class Lookup(nn.Module):
    """What the indices of a discrete code stand for."""

    def __init__(self, bottleneck: Discrete) -> None:
        super().__init__()
        self.bottleneck = bottleneck

    def forward(self, indices: Tensor) -> Tensor:
        """Map indices (N, tokens, codebooks) int32 to ``z`` (N, latent)."""
        return self.bottleneck.lookup(indices.long())


class Corrupt(nn.Module):
    """A corruption that draws nothing."""

    def __init__(self, corruption: Corruption) -> None:
        super().__init__()
        self.corruption = corruption

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``x`` (N, C, H, W) in [0, 1] to what a network is given."""
        return self.corruption(x, None)  # type: ignore[no-any-return]


def networks(net: Autoencoder, corruption: Corruption, images: Tensor) -> dict[str, bytes]:
    """Return ONNX files by name: ``encoder``, ``decoder``, ``weights``, maybe ``lookup``, ``corruption``.

    Each is read back, and compared with the original; ``weights`` holds the large tensors of all.

    Args:
        net: in eval mode, float32.
        corruption: that it was trained on; one that draws is no file.
        images: (N, C, H, W) of a split, for the comparison.

    Raises:
        UserError: a package is missing, ONNX cannot hold the network, or a file differs from it.
    """
    form = Onnx()
    if missing := [package for package in form.packages if not installed(package)]:
        raise UserError(f'{", ".join(missing)} not installed; pip install "caelab[export]"')
    pieces = list(_pieces(net, corruption))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for file, content in form.write(pieces, {}):
            (folder / file).write_bytes(content)
        check(folder, form, pieces, images)
        return shared({piece.name: (folder / form.file(piece.name)).read_bytes() for piece in pieces})


def shared(files: dict[str, bytes]) -> dict[str, bytes]:
    """Take the large tensors out of ONNX files into one, ``WEIGHTS``, in which each is once.

    An encoder that looks at what the decoder makes of its code holds the decoder, too.
    """
    import onnx
    from onnx.external_data_helper import set_external_data

    models = {name: onnx.load_from_string(content) for name, content in files.items()}
    pool, places = bytearray(), dict[bytes, int]()
    for tensor in (one for model in models.values() for one in model.graph.initializer):
        raw = tensor.raw_data
        if len(raw) < _LARGE:
            continue
        if raw not in places:
            places[raw] = len(pool)
            pool += raw
        set_external_data(tensor, WEIGHTS, places[raw], len(raw))
        tensor.ClearField("raw_data")
    return {name: model.SerializeToString() for name, model in models.items()} | {WEIGHTS: bytes(pool)}


def _pieces(net: Autoencoder, corruption: Corruption) -> Iterator[Part]:
    encoder, decoder, _ = parts(net)
    bottleneck = net.bottleneck
    if isinstance(bottleneck, Discrete):
        outputs = (*encoder.outputs, "indices")
        encoder = replace(encoder, module=Indexed(net).eval(), outputs=outputs)
    yield encoder
    yield decoder
    if isinstance(bottleneck, Discrete):
        indices = torch.zeros(2, bottleneck.tokens, bottleneck.codebooks, dtype=torch.int32)
        yield Part("lookup", Lookup(bottleneck).eval(), ("indices",), ("z",), (indices,))
    if not (corruption.random or isinstance(corruption, Clean)):
        yield Part("corruption", Corrupt(corruption).eval(), ("x",), ("corrupted",), encoder.example)

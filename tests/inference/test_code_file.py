"""Files of codes: what is in them, read in batches, and what is wrong with them."""

import zipfile
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toys import leave_network

import caelab
from caelab.errors import UserError
from caelab.inference import code_file
from caelab.inference.code_file import read
from caelab.inference.fitting import Fit
from caelab.inference.inputs import Source
from caelab.inference.stream import Entry
from caelab.inference.trained import Trained
from caelab.models.autoencoder import Code
from caelab.models.improved_skip import ImprovedSkip
from caelab.models.outside import network

OPTIONS = {"latent": 5, "channels": [4, 8], "skip_levels": [1, 2]}
SIZES = [(16, 16), (20, 40), (1, 1)]  # 1, 2 x 3 and 1 tiles


def leave(path, seed=0):
    torch.manual_seed(seed)
    return leave_network(path, ImprovedSkip((3, 16, 16), **OPTIONS), **OPTIONS)


@pytest.fixture
def trained(tmp_path):
    return caelab.load(leave(tmp_path / "run"))


@pytest.fixture
def codes():
    """Numbers of 8 images, as the network's codes."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(5,), (4, 8, 8), (8, 4, 4)]
    z, *skips = (torch.randn(8, *shape, generator=generator) for shape in shapes)
    return Code(z, tuple(skips))


@pytest.fixture
def path(tmp_path, trained, codes):
    """A file of them, written in two batches."""
    entries = [Entry(Source(tmp_path, f"in/{i}.png"), size) for i, size in enumerate(SIZES)]
    batches = [
        Code(codes.z[rows], tuple(skip[rows] for skip in codes.skips)) for rows in (slice(0, 3), slice(3, 8))
    ]
    path = tmp_path / "new" / "codes.npz"
    code_file.write(path, trained, Fit((3, 16, 16), "tile"), entries, batches)
    return path


def test_numpy_reads_it_without_pickle(path, trained, codes):
    with np.load(path, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found}
    for name, part in zip(("z", "skip_1", "skip_2"), (codes.z, *codes.skips), strict=True):
        assert arrays[name].dtype == np.float32
        assert np.array_equal(arrays.pop(name), part.numpy())
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "schema": 1,
        "names": ["in/0.png", "in/1.png", "in/2.png"],
        "sizes": [[16, 16], [20, 40], [1, 1]],
        "tiles": [[1, 1], [2, 3], [1, 1]],
        "fit": "tile",
        "shape": [3, 16, 16],
        "fingerprint": "0123456789abcdef",
        "weights": trained.weights,
    }
    assert [file.name for file in path.parent.iterdir()] == ["codes.npz"]


@pytest.mark.parametrize("batch", [1, 3, 8, 100])
def test_it_is_read_in_batches(path, trained, codes, batch):
    reader = read(path)
    assert [(entry.source.name, entry.size) for entry in reader.entries] == [
        (f"in/{i}.png", size) for i, size in enumerate(SIZES)
    ]
    assert reader.fit == Fit((3, 16, 16), "tile")
    assert reader.require(trained, path) is None
    found = [code for _, code in reader.batches(SimpleNamespace(batch=batch))]
    assert [len(code.z) for code in found] == [len(part) for part in codes.z.split(batch)]
    for i, part in enumerate((codes.z, *codes.skips)):
        assert torch.equal(torch.cat([(code.z, *code.skips)[i] for code in found]), part)


def test_what_cannot_be_written_whole_leaves_nothing(path, trained, codes, monkeypatch):
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        code_file.write(path, trained, Fit((3, 16, 16)), [], [codes])
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["codes.npz"]


def test_another_model_is_refused_by_its_fingerprint_or_its_weights(path, tmp_path, trained):
    reader = read(path)
    other = caelab.load(leave(tmp_path / "other", seed=1))
    with pytest.raises(UserError) as caught:
        reader.require(other, tmp_path / "other")
    assert str(caught.value) == (
        f"{path} holds codes of the model with weights {trained.weights[:16]}, and {tmp_path}/other has "
        f"weights {other.weights[:16]}; decode with the model that encoded them"
    )
    other.fingerprint = "fedcba98765432100000"
    with pytest.raises(
        UserError, match="with fingerprint 0123456789abcdef, .* has fingerprint fedcba9876543210;"
    ):
        reader.require(other, tmp_path / "other")


def rewritten(path, **changes):
    """The same file with other arrays; None leaves one out."""
    with np.load(path) as found:
        arrays = {name: found[name] for name in found} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def cut(path):
    path.write_bytes(path.read_bytes()[:-300])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def encrypted(path):
    data = bytearray(path.read_bytes())
    for start in (b"PK\x01\x02", b"PK\x03\x04"):
        data[data.index(start) + (8 if start[2] == 1 else 6)] |= 1
    path.write_bytes(data)


def pickled(path):
    rewritten(path, names=np.array([{}, {}, {}], dtype=object))


def claiming_pictures_of(height, width):
    """A file of three codes whose pictures are scaled up to that size when they are decoded."""
    sizes, tiles = np.array([(height, width)] * 3), np.ones((3, 2), int)
    codes = {"z": (3, 5), "skip_1": (3, 4, 8, 8), "skip_2": (3, 8, 4, 4)}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in codes.items()}
    return lambda path: rewritten(path, fit=np.array("resize"), sizes=sizes, tiles=tiles, **arrays)


def no_array(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("z.npy", b"hello")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "File is not a zip file"),
        (flipped, "Bad CRC-32 for file "),
        (lambda path: path.write_text("z"), "File is not a zip file"),
        (encrypted, "File 'schema.npy' is encrypted"),
        (no_array, "There is no item named 'names.npy' in the archive"),
        (pickled, "Object arrays cannot be loaded when allow_pickle=False"),
        (lambda path: rewritten(path, z=None), "There is no item named 'z.npy' in the archive"),
        (lambda path: rewritten(path, skip_1=None), "There is no item named"),
        (lambda path: rewritten(path, z=np.zeros((7, 5), np.float32)), "z of float32 (7, 5) for 8 images"),
        (lambda path: rewritten(path, z=np.zeros((8, 5))), "z of float64 (8, 5) for 8 images"),
        (lambda path: rewritten(path, tiles=np.ones((3, 2), int)), "tiles that do not fit the sizes"),
        (
            lambda path: rewritten(
                path, names=["a.npy"] * 3, kinds=["NHW uint8"] * 3, tiles=[[0, 1], [1, 1], [7, 1]]
            ),
            "tiles that do not fit the sizes",
        ),
        (lambda path: rewritten(path, sizes=np.array(3)), "iteration over a 0-d array"),
        (lambda path: rewritten(path, sizes=np.full((3, 2), -5)), "tiles that do not fit the sizes"),
        (
            claiming_pictures_of(20_000, 20_000),
            "a picture of 400,000,000 pixels; at most 89,478,485 are drawn",
        ),
        (
            lambda path: rewritten(path, fit="", sizes=np.full((3, 2), 64), tiles=np.ones((3, 2), int)),
            "sizes that are not the network's",
        ),
        (lambda path: rewritten(path, shape=np.array([3, 0, 16])), "shape must be at least 1, got 0"),
        (lambda path: rewritten(path, names=np.array(["a.png", "../b.png", "c.png"])), "a name that leaves"),
        (lambda path: rewritten(path, names=np.array(["a.png", "/b.png", "c.png"])), "a name that leaves"),
        (lambda path: rewritten(path, names=np.array(["a.png", "b.sh", "c.png"])), "a name that leaves"),
    ],
)
def test_a_damaged_file_is_one_line(path, damage, reason):
    damage(path)
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} is damaged or not a file of codes ({reason}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_of_another_schema_is_one_line(path):
    rewritten(path, schema=np.array(2))
    with pytest.raises(UserError, match=r"codes\.npz has schema 2, this caelab reads 1$"):
        read(path)
    with pytest.raises(UserError, match=r"none\.npz: no such file; caelab encode writes one$"):
        read(path.with_name("none.npz"))


@pytest.fixture(scope="module")
def discrete(tmp_path_factory):
    """A run with a codebook of 300 entries, and skips."""
    pytest.importorskip("vector_quantize_pytorch")
    node = {"_target_": "caelab.bottlenecks.vq.VQ", "_partial_": True, "dim": 2, "entries": 300}
    from caelab.bottlenecks.vq import VQ  # needs the extra

    torch.manual_seed(0)
    kind = partial(VQ, dim=2, entries=300)
    net = ImprovedSkip((3, 16, 16), latent=6, channels=[4, 8], skip_levels=[2], bottleneck=kind)
    path = leave_network(
        tmp_path_factory.mktemp("discrete"), net, latent=6, channels=[4, 8], skip_levels=[2], bottleneck=node
    )
    return caelab.load(path)


def test_a_discrete_latent_is_held_as_indices(tmp_path, discrete):
    x = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    code, path = discrete.encode(x), tmp_path / "codes.npz"
    assert code.indices.shape == (5, 3, 1)
    entries = [Entry(Source(tmp_path, f"{i}.png"), (16, 16)) for i in range(5)]
    rows = (slice(0, 2), slice(2, 5))
    parts = [Code(code.z[r], (code.skips[0][r],), indices=code.indices[r]) for r in rows]
    code_file.write(path, discrete, Fit((3, 16, 16), None), entries, parts)
    with np.load(path, allow_pickle=False) as found:
        assert found["indices"].dtype == np.uint16  # 300 entries are too many for 8 bits
        assert np.array_equal(found["indices"], code.indices)
        assert "z" not in found
    assert code_file.size(discrete) == 3 * 2 + 4 * 8 * 4 * 4
    decoded = [sized.decode(part) for sized, part in read(path).batches(discrete)]
    assert torch.equal(torch.cat(decoded), discrete.reconstruct(x))


@pytest.mark.parametrize("wrong", [np.full((5, 3, 1), 300), np.zeros((5, 2, 1))])
def test_indices_that_no_codebook_has_are_refused(tmp_path, discrete, wrong):
    code = Code(torch.zeros(5, 6), (torch.zeros(5, 8, 4, 4),), indices=torch.from_numpy(wrong).long())
    with pytest.raises(UserError, match=r"takes \(N, 3, 1\), each at least 0 and below 300"):
        discrete.decode(code)


def test_indices_are_refused_by_a_model_without_a_codebook(trained, codes):
    with pytest.raises(UserError, match="not discrete"):
        trained.decode(codes._replace(indices=torch.zeros(8, 2, 1, dtype=torch.int64)))


class OwnVQ(torch.nn.Module):
    """A network from outside the lab, with a codebook that only it knows."""

    def __init__(self):
        super().__init__()
        self.book = torch.nn.Parameter(torch.linspace(0, 1, 16)[:, None])

    def encode(self, x):
        tokens = x.flatten(1)[..., None]
        indices = torch.cdist(tokens, self.book.expand(len(x), -1, -1)).argmin(2)
        return Code(self.book[indices].flatten(1), indices=indices[..., None])

    def decode(self, code):
        return code.z.reshape(-1, 1, 4, 4)


def test_indices_that_only_an_own_network_can_look_up_are_left_to_it(tmp_path):
    own = Trained(network(OwnVQ(), (1, 4, 4)), "fingerprint", {})
    x, path = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(1)), tmp_path / "codes.npz"
    code = own.encode(x)
    assert code.indices is None
    torch.testing.assert_close(code.z, (x * 15).round().flatten(1) / 15)
    entries = [Entry(Source(tmp_path, f"{i}.png"), (4, 4)) for i in range(3)]
    code_file.write(path, own, Fit((1, 4, 4), None), entries, [code])
    decoded = [sized.decode(part) for sized, part in read(path).batches(own)]
    assert torch.equal(torch.cat(decoded), own.reconstruct(x))
    with pytest.raises(UserError, match="its latent is discrete"):
        own.encode(x, refine=1)


def test_no_discrete_latent_is_fitted(discrete):
    with pytest.raises(UserError, match="its latent is discrete"):
        discrete.encode(torch.zeros(1, 3, 16, 16), refine=1)


def test_nothing_but_the_size_of_the_file_bounds_what_is_read(path, codes, monkeypatch):
    monkeypatch.setattr("caelab.runs.arrays.LARGEST", 10)
    assert torch.equal(read(path).code.z, codes.z)

"""A trained network without the lab: loading, images of all kinds in batches, codes, and what is refused."""

import errno
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from toys import images, leave_identity, leave_network, leave_run

import caelab
from caelab.errors import UserError
from caelab.inference import trained
from caelab.models.autoencoder import Code
from caelab.models.base import Base
from caelab.models.improved_skip import ImprovedSkip
from caelab.models.refinement import fit
from caelab.runs.record import RECORD

MODEL = {"latent": 6, "channels": [4, 8], "hidden": []}


@pytest.fixture
def run(tmp_path):
    return leave_run(tmp_path / "run")


def network():
    """The network of ``leave_run``."""
    torch.manual_seed(0)
    return Base([3, 16, 16], **MODEL).eval()


def export(path, net=None, **changes):
    """Write a network as the contract of exported files has it."""
    net = net or network()
    about = {
        "schema": 1,
        "model": {"_target_": f"{type(net).__module__}.{type(net).__qualname__}", **MODEL},
        "shape": list(net.shape),
        "fingerprint": "fedcba9876543210",
        "metrics": {"test/psnr": 20.25},
        "size": {},
        "data": {},
        "config": {},
    } | changes
    kept = {key: value for key, value in about.items() if value is not None}
    save_file(net.state_dict(), path, {"caelab": json.dumps(kept)} if kept else None)
    return path


def skipping():
    torch.manual_seed(0)
    return ImprovedSkip((3, 16, 16), latent=5, channels=(4, 8), skip_levels=(1, 2)).eval()


def test_a_run_gives_its_network(run):
    found = caelab.load(run)
    x = images(7, (3, 16, 16))
    expected = network()
    with torch.no_grad():
        z, x_hat = expected.encode(x / 255).z, expected(x / 255)
    assert torch.allclose(found.encode(x).z, z, atol=1e-6)
    assert torch.allclose(found.decode(found.encode(x)), x_hat, atol=1e-6)
    assert torch.equal(found.reconstruct(x), (255 * x_hat).round().byte())
    assert (found.shape, found.latent, found.skips) == ((3, 16, 16), 6, [])
    assert (found.fingerprint, found.metrics["test/psnr"]) == ("0123456789abcdef", 21.5)
    assert not found.network.training


def test_an_exported_file_gives_the_same(run, tmp_path):
    found = caelab.load(export(tmp_path / "model.safetensors"), device="cpu")
    own = caelab.load(str(run))
    x = images(3, (3, 16, 16))
    assert torch.equal(found.reconstruct(x), own.reconstruct(x))
    assert (found.fingerprint, found.metrics) == ("fedcba9876543210", {"test/psnr": 20.25})
    assert found.weights == own.weights


def test_weights_tell_networks_apart(run, tmp_path):
    other = network()
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-3
    assert caelab.load(export(tmp_path / "o.safetensors", other)).weights != caelab.load(run).weights


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_batches_are_joined_in_order(run, monkeypatch, batch):
    monkeypatch.setattr(trained, "_BATCH", batch)
    found = caelab.load(run)
    assert found.batch == batch
    x = images(7, (3, 16, 16)) / 255
    with torch.no_grad():
        expected = network()(x)
    assert torch.allclose(found.reconstruct(x), expected, atol=1e-6)
    assert torch.allclose(found.decode(found.encode(x)), expected, atol=1e-6)


def test_latents_are_fitted_on_demand(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "_BATCH", 2)
    net = skipping()
    options = {"latent": 5, "channels": [4, 8], "skip_levels": [1, 2]}
    found = caelab.load(leave_network(tmp_path / "run", net, **options))
    x = images(5, (3, 16, 16)) / 255
    code = found.encode(x, refine=3)
    with torch.no_grad():
        expected = fit(net, x, net.encode(x), 3)
        errors = (found.decode(code) - x).square().sum((1, 2, 3))
    assert torch.allclose(code.z, expected.code.z, atol=1e-4)
    assert torch.allclose(errors, expected.errors[3], rtol=1e-4)
    assert (expected.errors[3] < expected.errors[0]).all()
    with pytest.raises(UserError, match="^refine=-1: must be 0 or more steps"):
        found.encode(x, refine=-1)


def test_batches_of_large_images_are_small(tmp_path):
    for side, batch in {8: 256, 64: 85, 1024: 1}.items():
        assert caelab.load(leave_identity(tmp_path / str(side), (3, side, side))).batch == batch


def test_skips_are_part_of_the_code(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "_BATCH", 2)
    net = skipping()
    options = {"latent": 5, "channels": [4, 8], "skip_levels": [1, 2]}
    found = caelab.load(leave_network(tmp_path / "run", net, **options))
    x = images(5, (3, 16, 16)) / 255
    code = found.encode(x)
    with torch.no_grad():
        own = net.encode(x)
        expected = net(x)
    assert [tuple(part.shape) for part in code.skips] == [(5, 4, 8, 8), (5, 8, 4, 4)]
    assert found.skips == [(4, 8, 8), (8, 4, 4)]
    for part, other in zip((code.z, *code.skips), (own.z, *own.skips), strict=True):
        assert torch.allclose(part, other, atol=1e-6)
    assert torch.allclose(found.decode(code), expected, atol=1e-6)
    arrays = Code(code.z.numpy(), tuple(skip.numpy() for skip in code.skips))
    assert torch.equal(found.decode(arrays), found.decode(code))
    short = Code(code.z, (code.skips[0][:4], code.skips[1]))
    with pytest.raises(UserError) as caught:
        found.decode(short)
    assert str(caught.value) == (
        "a code of shapes (5, 5), (4, 4, 8, 8), (5, 8, 4, 4); "
        "this network takes (N, 5), (N, 4, 8, 8), (N, 8, 4, 4)"
    )


def test_images_come_back_as_they_were_given(tmp_path):
    found = caelab.load(leave_identity(tmp_path / "run"))
    pixels = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 3), dtype=np.uint8)
    assert np.array_equal(found.reconstruct(pixels), pixels)
    assert np.array_equal(
        found.encode(pixels).z.numpy(), pixels.transpose(0, 3, 1, 2).reshape(600, -1) / np.float32(255)
    )
    one, two = found.reconstruct([Image.fromarray(pixels[0]), pixels[1] / 255])
    assert np.array_equal(np.asarray(one), pixels[0])
    assert two == pytest.approx(pixels[1] / 255, abs=1e-6)


def test_it_needs_torch_and_numpy_only(run, tmp_path):
    """In a fresh process, where an import of the lab's frameworks fails."""
    exported = export(tmp_path / "model.safetensors")
    code = f"""
import sys

BLOCKED = "hydra omegaconf lightning pytorch_lightning torchmetrics wandb rich matplotlib sklearn skimage"

class Blocker:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in BLOCKED.split():
            raise AssertionError(f"{{name}} is imported")

sys.meta_path.insert(0, Blocker())
import numpy as np
import caelab
for path in {[str(run), str(exported)]!r}:
    model = caelab.load(path)
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    decoded = model.decode(model.encode(grey))
    print(model.reconstruct(grey).sum(), len(decoded), model.metrics["test/psnr"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == ""
    x = torch.arange(256).reshape(1, 1, 16, 16).expand(1, 3, 16, 16) / 255
    with torch.no_grad():
        total = int((255 * network()(x)).round().sum())
    assert done.stdout.splitlines() == [f"{total} 1 21.5", f"{total} 1 20.25"]


def edit(run, **changes):
    record = json.loads((run / RECORD).read_text())
    (run / RECORD).write_text(json.dumps(record | changes))


def no_checkpoint(run):
    (run / "checkpoints/best.ckpt").unlink()


def no_artifact(run):
    no_checkpoint(run)
    edit(run, artifacts={})


def half_a_checkpoint(run):
    path = run / "checkpoints/best.ckpt"
    path.write_bytes(path.read_bytes()[:1000])


def no_weights(run):
    torch.save({"epoch": 3}, run / "checkpoints/best.ckpt")


def builds(target="caelab.models.base.Base", **arguments):
    return lambda run: edit(run, config={"model": {"_target_": target, **arguments}, "dataset": {}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: (run / RECORD).unlink(), "RUN: no result.json there (the run is not"),
        (lambda run: edit(run, status="failed", error="no disk"), "RUN: that run failed (no disk); train"),
        (lambda run: (run / RECORD).write_text("{"), "RUN/result.json is not a readable run"),
        (no_checkpoint, "BEST is missing; train the run again with force=true"),
        (no_artifact, "BEST is missing; train the run again with force=true"),
        (half_a_checkpoint, "BEST is damaged ("),
        (no_weights, "BEST is not a checkpoint of caelab; train the run again"),
        (builds(**MODEL | {"latent": 7}), "BEST does not fit its model: size mismatch for to_latent.0."),
        (builds("os.system"), "BEST: model._target_=os.system: code that is not"),
        (builds("caelab.models.base.nn"), "BEST: model._target_=caelab.models.base.nn: this caelab has no"),
        (
            builds("caelab.models.bsae.Base"),
            "BEST: model._target_=caelab.models.bsae.Base: this caelab has no",
        ),
        (builds(depth=3), "BEST: caelab.models.base.Base refuses its arguments: "),
        (builds(latent=0), "BEST: caelab.models.base.Base refuses its arguments: latent must be at"),
    ],
)
def test_what_is_wrong_with_a_run_is_one_line(run, change, message):
    change(run)
    expected = message.replace("BEST", "RUN/checkpoints/best.ckpt").replace("RUN", str(run))
    with pytest.raises(UserError) as caught:
        caelab.load(run)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_weights_that_may_not_be_read_are_not_called_damaged(run, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("caelab.inference.trained.zipfile.ZipFile", refused)
    with pytest.raises(UserError, match=r"best\.ckpt cannot be read: Permission denied$"):
        caelab.load(run)


def half_a_file(path):
    whole = export(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "FILE: no such file"),
        (half_a_file, "FILE is damaged ("),
        (lambda path: path.write_bytes(b""), "FILE is damaged ("),
        (lambda path: save_file(network().state_dict(), path), "FILE is not an export of caelab: its"),
        (lambda path: save_file({}, path, {"caelab": "{"}), "FILE is damaged ("),
        (lambda path: export(path, model="base"), "FILE: its record has no model._target_"),
        (lambda path: export(path, schema=2), "FILE has schema 2, this caelab reads 1"),
        (lambda path: export(path, shape=None), "FILE is damaged: its metadata has no 'shape'"),
        (lambda path: export(path, sources=["x"]), "FILE is damaged: its sources are not digests of classes"),
        (lambda path: export(path, shape=[3, 8, 8]), "FILE does not fit its model: size mismatch for"),
        (
            lambda path: export(path, model={"_target_": "toys.Linear"}),
            "FILE: model._target_=toys.Linear: code that is not",
        ),
    ],
)
def test_what_is_wrong_with_an_exported_file_is_one_line(tmp_path, make, message):
    path = tmp_path / "model.safetensors"
    make(path)
    with pytest.raises(UserError) as caught:
        caelab.load(path)
    assert str(caught.value).startswith(message.replace("FILE", str(path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({"channels": [40_000, 40_000]}, [3, 16, 16], "does not fit its model: size mismatch for"),
        ({"latent": 10**9}, [3, 16, 16], "does not fit its model: size mismatch for"),
        ({"latent": 10**30}, [3, 16, 16], "caelab.models.base.Base refuses its arguments: "),
        ({"channels": [1] * 10_000}, [3, 16, 16], "refuses its arguments: more than 1"),
        ({}, [3, 10**6, 10**6], "images of shape [3, 1000000, 1000000]; at most 268,435,456 numbers"),
        ({}, [3, -16, 16], "images of shape [3, -16, 16]; "),
        ({}, ["3", 16, 16], {"run": "'data.shape' is '3'", "file": "images of shape ['3', 16, 16]; "}),
    ],
)
@pytest.mark.parametrize("kind", ["run", "file"])
def test_sizes_that_a_file_claims_are_not_allocated(
    run, tmp_path, monkeypatch, arguments, shape, message, kind
):
    record = json.loads((run / RECORD).read_text())
    model = record["config"]["model"] | arguments
    if kind == "run":
        edit(run, config={"model": model}, data=record["data"] | {"shape": shape})
    path = run if kind == "run" else export(tmp_path / "small.safetensors", model=model, shape=shape)
    made = []
    with torch.device("meta"):  # torch lists what a device acts on at the first call, and must find its own
        empty = torch.empty
        empty(1)

    def watched(*sizes, **options):
        found = empty(*sizes, **options)
        if found.device.type != "meta":
            made.append(found.nbytes)
        return found

    monkeypatch.setattr(torch, "empty", watched)
    with pytest.raises(UserError) as caught:
        caelab.load(path)
    assert (message[kind] if isinstance(message, dict) else message) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sum(made) < 1_000_000


def test_a_residual_of_a_billion_blocks_is_refused_at_once(tmp_path):
    model = {"_target_": "caelab.models.residual.Residual", "latent": 6, "channels": 4, "blocks": 10**9}
    with pytest.raises(UserError, match="refuses its arguments: more than 1.. tensors, and the file holds"):
        caelab.load(export(tmp_path / "deep.safetensors", model=model))


def test_a_checkpoint_claims_no_more_than_the_file_holds(run):
    path = run / "checkpoints/best.ckpt"
    torch.save({"state_dict": {"net.w": torch.zeros(1).expand(1 << 34)}}, path)
    with pytest.raises(UserError, match=r"is damaged: tensors of 68,719,476,736 bytes in a file of "):
        caelab.load(run)
    torch.save({"state_dict": {"net.w": torch.zeros(1 << 20)}}, path)
    with (
        zipfile.ZipFile(path) as stored,
        zipfile.ZipFile(run / "packed", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in stored.infolist():
            packed.writestr(member.filename, stored.read(member))
    (run / "packed").replace(path)
    with pytest.raises(UserError, match="is damaged"):
        caelab.load(run)


def test_other_mistakes_are_one_line(run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments, message in {
        (run / "result.json", "cpu"): f"{run}/result.json: give the directory of a finished run, or an ",
        (run / "nothing", "cpu"): f"{run}/nothing: no result.json there (no such directory); give the ",
        (run, "gpu"): "device='gpu': must be 'auto', 'cpu' or 'cuda'",
        (run, "cuda"): "device='cuda': torch finds no GPU here; 'cpu' and 'auto' work",
    }.items():
        with pytest.raises(UserError) as caught:
            caelab.load(*arguments)
        assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "code",
    [
        Code(torch.zeros(2, 7)),
        Code(torch.zeros(12, 7)),
        Code(torch.zeros(6)),
        Code(torch.tensor(1.0)),
        Code(torch.zeros(0, 6)),
        Code(torch.zeros(2, 6), (torch.ones(2, 1),)),
    ],
)
def test_a_code_of_other_shapes_is_refused(run, code):
    with pytest.raises(UserError, match=r"^a code of shapes \(.*; this network takes \(N, 6\)$"):
        caelab.load(run).decode(code)
    found = caelab.load(run)
    assert found.decode(Code(torch.zeros(2, 6))).shape == (2, 3, 16, 16)


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(run):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    x = images(300, (3, 16, 16)) / 255
    there = caelab.load(run, device="cuda")
    assert there.network.weight.device.type == "cuda"
    assert torch.allclose(there.reconstruct(x), caelab.load(run, device="cpu").reconstruct(x), atol=1e-3)

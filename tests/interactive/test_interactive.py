"""The page of an interactive look: what it holds, and what is refused."""

import base64
import gzip
import json
import re
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from toys import images, leave_run, leave_whole_run

from caelab.analysis.look import traversals
from caelab.analysis.look.codes import Directions, encode
from caelab.analysis.sample.priors import save
from caelab.bottlenecks.vq import VQ
from caelab.corruptions import Clean
from caelab.errors import UserError
from caelab.inference import restore
from caelab.interactive import exhibit
from caelab.interactive import interactive as module
from caelab.interactive.interactive import interactive
from caelab.interactive.networks import networks
from caelab.models import outside
from caelab.models.autoencoder import Code
from caelab.models.residual import Residual
from caelab.models.spatial import Spatial
from caelab.runs import results

SKIPS = {
    "_target_": "caelab.models.improved_skip.ImprovedSkip",
    "latent": 6,
    "channels": [2, 4],
    "skip_levels": [1, 2],
}
RUNTIME = {"script": b"export const env = {};", "wasm": b"\0asm"}


@pytest.fixture(autouse=True)
def _runtime(monkeypatch):
    """Something in the place of ONNX Runtime Web, which no test can fetch."""
    monkeypatch.setattr(module.runtime, "runtime", lambda data: RUNTIME)
    monkeypatch.setattr("caelab.export.check.SECONDS", 0.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return leave_whole_run(tmp_path_factory.mktemp("runs") / "skips", SKIPS, 16)


def blobs(page):
    """Name -> bytes of all that the page holds packed."""
    texts = re.findall(r'<script type="text/plain" id="([^"]+)">([^<]*)</script>', page.read_text())
    return {name: gzip.decompress(base64.b64decode(text)) for name, text in texts}


def about(page):
    (text,) = re.findall(r'<script type="application/json" id="about">(.*?)</script>', page.read_text())
    return json.loads(text)


def sessions(held, folder):
    """Encoder and decoder of the first run, from what the page holds."""
    (folder / "weights").write_bytes(held["weights-0"])
    for name in ("encoder", "decoder"):
        (folder / name).write_bytes(held[f"{name}-0"])
        yield onnxruntime.InferenceSession(folder / name)


def test_the_page_holds_the_network_its_runtime_and_test_images(run, tmp_path):
    page = interactive([run], images=30)
    assert page == run / "look" / "interactive.html"
    held, said = blobs(page), about(page)
    assert {name: held[f"runtime-{name}"] for name in RUNTIME} == RUNTIME
    test, net = restore.datamodule(results.finished(run)), restore.load(run)
    test.setup("test")
    rows = said["images"]["rows"]
    shown = test.splits["test"][torch.tensor(rows)]
    assert (len(rows), said["images"]["count"], said["images"]["bands"]) == (30, 30, [0, 1, 2])
    assert held["images"] == shown.numpy().tobytes()
    x = shown.float().numpy() / 255
    encode, decode = sessions(held, tmp_path)
    names = [one.name for one in decode.get_inputs()]
    (x_hat,) = decode.run(None, dict(zip(names, encode.run(names, {"x": x}), strict=True)))
    np.testing.assert_allclose(x_hat, net.reconstruct(shown).numpy(), atol=1e-5)


def places(content):
    """Offset and length of each tensor that an ONNX file has in ``weights``."""
    tensors = onnx.load_from_string(content).graph.initializer
    said = [{one.key: one.value for one in tensor.external_data} for tensor in tensors]
    return {(int(one["offset"]), int(one["length"])) for one in said if one}


def test_what_encoder_and_decoder_share_is_held_once(tmp_path):
    """The encoder of ``residual`` holds the decoder, whose error it looks at."""
    net = Residual((1, 12, 12), 20, channels=8, blocks=1, encoder_channels=8, encoder_blocks=1)
    files = networks(net.eval(), Clean(), images(4, net.shape))
    encoder, decoder = (places(files[name]) for name in ("encoder", "decoder"))
    assert encoder & decoder
    assert sum(length for _, length in encoder | decoder) == len(files["weights"])
    x = torch.rand(2, *net.shape)
    encode, decode = sessions({f"{name}-0": content for name, content in files.items()}, tmp_path)
    (z,) = encode.run(None, {"x": x.numpy()})
    (x_hat,) = decode.run(None, {"z": z})
    np.testing.assert_allclose(x_hat, net.reconstruct(x).numpy(), atol=1e-4)


class Halves(torch.nn.Module):
    """A network from outside the lab that rounds each pixel to 0 or 1, and says which as indices."""

    def encode(self, x):
        z = (x.flatten(1) > 0.5).to(x.dtype)
        return Code(z, indices=z.long()[..., None])

    def decode(self, code):
        return code.z.reshape(-1, 1, 4, 4)


def test_indices_of_an_own_network_are_none_of_the_pages(tmp_path):
    files = networks(outside.network(Halves(), (1, 4, 4)).eval(), Clean(), images(4, (1, 4, 4)))
    assert files.keys() == {"encoder", "decoder", "weights"}
    encode, decode = sessions({f"{name}-0": content for name, content in files.items()}, tmp_path)
    x = images(3, (1, 4, 4)).numpy() / np.float32(255)
    (z,) = encode.run(None, {"x": x})
    assert np.array_equal(decode.run(None, {"z": z})[0], x > 0.5)


def test_axes_are_those_of_the_codes_in_the_order_of_their_effects(run):
    page = interactive([run], images=50)
    (said,) = about(page)["runs"]
    test, net = restore.datamodule(results.finished(run)), restore.load(run)
    test.setup("test")
    z = net.encode(test.splits["test"][:].float() / 255).z.detach().double().numpy()
    _, sizes, axes = np.linalg.svd(z - z.mean(0), full_matrices=False)
    moves = np.frombuffer(blobs(page)["moves-0"], "<f4").reshape(-1, 6)
    ranks = np.array(said["axes"]["names"]) - 1
    assert sorted(ranks) == list(range(6))
    wanted = (axes * sizes[:, None] / np.sqrt(len(z)))[ranks]
    wanted *= np.sign((wanted * moves).sum(1, keepdims=True))
    np.testing.assert_allclose(moves, wanted, rtol=1e-3, atol=1e-5)
    numbers = said["numbers"]["names"]
    np.testing.assert_allclose(said["numbers"]["deviations"], z.std(0)[numbers], rtol=1e-5)
    first = encode(net, test.splits["test"][torch.tensor(about(page)["images"]["rows"][:2])])
    for vectors, deviations in ((moves, np.ones(6)), (np.eye(6)[numbers], z.std(0)[numbers])):
        effects = traversals.effects(net, first, Directions(vectors, deviations))
        assert effects.tolist() == sorted(effects, reverse=True)
    np.testing.assert_allclose(np.frombuffer(blobs(page)["mean-0"], "<f4"), z.mean(0), rtol=1e-4, atol=1e-6)
    assert (said["latent"], said["skips"]) == (6, [[2, 8, 8], [4, 4, 4]])


@pytest.mark.parametrize(("dim", "places"), [(6, {"rows": 2, "columns": 3, "side": 4}), (8, None)])
def test_only_places_that_tokens_do_not_share_are_written(dim, places):
    bottleneck = partial(VQ, dim=dim, entries=4)
    net = Spatial((3, 8, 12), 12, 4, 4, 1, 4, 1, pca=False, bottleneck=bottleneck)
    assert exhibit._places(net) == places


def test_two_runs_lie_on_one_page(run, tmp_path):
    page = interactive([run, leave_run(tmp_path / "base")], images=12, out=tmp_path / "out")
    assert page == tmp_path / "out" / "interactive.html"
    assert {"encoder-0", "decoder-0", "encoder-1", "decoder-1"} <= blobs(page).keys()
    assert [one["skips"] for one in about(page)["runs"]] == [[[2, 8, 8], [4, 4, 4]], []]


def test_what_no_page_can_show_is_refused_in_a_line(run, tmp_path):
    other = leave_run(tmp_path / "other", 12)
    with pytest.raises(UserError, match="one RUN or two side by side, not 3"):
        interactive([run] * 3)
    with pytest.raises(UserError, match="need images of one shape; these take 3x12x12 and 3x16x16"):
        interactive([run, other])
    with pytest.raises(UserError, match="--images 51: the test split has 50 images; ask for 10 to 50"):
        interactive([run], images=51)
    median = {"_target_": "caelab.models.classical.Classical", "filter": "median"}
    classical = leave_whole_run(tmp_path / "median", median, 16)
    with pytest.raises(UserError, match="median: no interactive page: the decoder: torch.export cannot"):
        interactive([classical], images=10)
    assert not (classical / "look").exists()


def test_the_command_writes_it_and_says_where(run, lab, monkeypatch):
    monkeypatch.chdir(run)
    status, out, _ = lab("look", ".", "--interactive", "--images", 10)
    assert status == 0
    assert re.fullmatch(r"look/interactive.html \(\d+\.\d MB\): open it in a browser\n", out)
    status, _, err = lab("look", ".", "--interactive", "--map", "pca")
    assert status == 1
    assert "--map pca: does not apply to --interactive; omit it" in err


def test_a_prior_of_which_an_older_version_kept_no_draws_is_left_out_and_named(tmp_path, capsys):
    run = leave_whole_run(tmp_path / "old", SKIPS, 16)
    save({}, run / "sample.npz")
    result = {"figures": {}, "priors": {"flow": ""}, "seconds": 1.0}
    results.write_analysis(run, "sample", results.finished(run), result)
    page = interactive([run], images=10)
    assert about(page)["runs"][0]["priors"] == {}
    assert "no draws of its flow are kept, so the page has none; caelab sample" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "kind"),
    [("caelab.corruptions.GaussianNoise", "GaussianNoise"), ("mine.GaussianNoise", "mine.GaussianNoise")],
)
def test_a_corruption_of_ones_own_is_never_taken_for_the_labs(target, kind):
    assert exhibit._corruption({"_target_": target, "std": 0.1}) == {"kind": kind, "std": 0.1}

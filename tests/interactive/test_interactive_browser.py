"""The page of an interactive look in a browser: what is set there is what the network decodes."""

import base64
import io
import json
import os
from copy import copy
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch
from browser import CHROMIUM, browser
from PIL import Image
from toys import leave_whole_run

from caelab.analysis.sample.priors import Mixture, save
from caelab.corruptions import Downsample
from caelab.inference import restore
from caelab.interactive.interactive import interactive
from caelab.interactive.runtime import PACKAGE, VERSION
from caelab.models.autoencoder import Code
from caelab.runs import results

DATA = Path(os.environ.get("CAELAB_DATA") or platformdirs.user_cache_path("caelab"))

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.skipif(
        not (DATA / f"{PACKAGE}-{VERSION}" / "cache").is_dir(),
        reason=f"{PACKAGE} {VERSION} is not in {DATA}; caelab look RUN --interactive fetches it",
    ),
]

SKIPS = {
    "_target_": "caelab.models.improved_skip.ImprovedSkip",
    "latent": 6,
    "channels": [4, 8],
    "skip_levels": [1, 2],
}


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAELAB_DATA", str(DATA))
        patch.setattr("caelab.export.check.SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def chromium():
    with browser() as one:
        yield one


class Bench:
    """A page that is open in a browser, and the run that it is of."""

    def __init__(self, chromium, run, page):
        self.chromium, self.page = chromium, page
        data = restore.datamodule(results.finished(run))
        data.setup("test")
        self.net = restore.load(run)
        text = page.read_text()
        start = text.index('id="about">') + len('id="about">')
        self.about = json.loads(text[start : text.index("</script>", start)])
        self.images = data.splits["test"][torch.tensor(self.about["images"]["rows"])].float() / 255

    @torch.no_grad()
    def code(self, image):
        return self.net.encode(self.images[image : image + 1])

    @torch.no_grad()
    def decoded(self, z, skips):
        """Grey levels (H, W, C) of a code."""
        return 255 * self.net.decode(Code(z, tuple(skips)))[0].movedim(0, -1).numpy()

    def open(self, hash=""):
        self.chromium.errors.clear()
        self.chromium.requests.clear()
        self.chromium.call("Page.navigate", url="about:blank")
        self.chromium.call("Page.navigate", url=f"{self.page.resolve().as_uri()}{hash}")
        self.wait("document.getElementById('bench') && !document.getElementById('bench').hidden")
        return self

    def wait(self, condition):
        answer = self.chromium.call(
            "Runtime.evaluate",
            expression=f"""new Promise((done, fail) => {{
                const look = () => ({condition}) ? done(true) : setTimeout(look, 20);
                setTimeout(() => fail("never: " + {json.dumps(condition)}), 60000);
                look();
            }})""",
            awaitPromise=True,
        )
        assert "exceptionDetails" not in answer, answer

    def drawn(self, state):
        self.wait(f"document.documentElement.dataset.drawn === {json.dumps(state)}")
        assert self.chromium.evaluate("location.hash.slice(1)") == state

    def move(self, label, value):
        """Move the slider of that name and let it go."""
        self.chromium.evaluate(
            f"""(() => {{
                const input = document.querySelector('input[aria-label={json.dumps(label)}]');
                input.value = {value};
                input.dispatchEvent(new Event("input"));
                input.dispatchEvent(new Event("change"));
            }})()"""
        )

    def press(self, text):
        """Press the button with that text."""
        find = f"(one) => one.textContent === {json.dumps(text)}"
        self.chromium.evaluate(f"[...document.querySelectorAll('button')].find({find}).click()")

    def pixels(self, kind=".decoded", n=0):
        """Grey levels (H, W, 3) of the n-th picture of a kind: what is decoded, or ``.input``."""
        data = self.chromium.evaluate(
            f"""(() => {{
                const canvas = document.querySelectorAll("{kind} canvas")[{n}];
                const {{ width, height }} = canvas;
                return [...canvas.getContext("2d").getImageData(0, 0, width, height).data];
            }})()"""
        )
        _, height, width = self.about["runs"][0]["shape"]
        return np.array(data).reshape(height, width, 4)[..., :3]


@pytest.fixture(scope="module")
def skipping(chromium, tmp_path_factory):
    """A network with skips, whose pictures differ."""
    run = leave_whole_run(tmp_path_factory.mktemp("runs") / "skips", SKIPS, 16)
    path = run / "checkpoints/best.ckpt"
    state = torch.load(path)
    for name, one in state["state_dict"].items():
        if name.endswith("weight") and one.ndim > 1:
            one *= 3
    torch.save(state, path)
    return Bench(chromium, run, interactive([run], images=50))


@pytest.fixture
def bench(skipping):
    """Its page, just opened, which asks for nothing."""
    yield skipping.open()
    assert skipping.chromium.errors == []
    own = ("file:", "data:", "blob:", "about:")
    assert [one for one in skipping.chromium.requests if not one.startswith(own)] == []


def near(pixels, wanted):
    """Within a grey level of what is decoded, all of them."""
    assert np.abs(pixels - wanted).max() <= 1


def test_the_first_image_is_reconstructed(bench):
    bench.drawn("")
    near(bench.pixels(), 255 * bench.net.reconstruct(bench.images[:1])[0].movedim(0, -1).numpy())


def test_sliders_give_the_pixels_of_decode(bench):
    (said,) = bench.about["runs"]
    code = bench.code(0)
    everything = codes(bench)
    _, sizes, axes = np.linalg.svd(everything - everything.mean(0), full_matrices=False)
    rank = said["axes"]["names"][0] - 1
    axis = axes[rank] * sizes[rank] / np.sqrt(len(everything))
    axis *= np.sign(axis[np.abs(axis).argmax()])
    number = said["numbers"]["names"][1]
    bench.move(f"axis {rank + 1}", 2.5)
    bench.drawn("axes=1:2.5")
    before = bench.pixels()
    near(before, bench.decoded(code.z + 2.5 * torch.tensor(axis).float(), code.skips))
    bench.move(f"z[{number}]", -3)
    bench.drawn("axes=1:2.5&numbers=2:-3")
    moved = code.z + 2.5 * torch.tensor(axis).float()
    moved[0, number] -= 3 * everything.std(0)[number]
    near(bench.pixels(), bench.decoded(moved, code.skips))
    assert np.abs(bench.pixels() - before).max() > 3


def codes(bench):
    """Codes (N, latent) of all test images, by which directions were found."""
    data = restore.datamodule(results.finished(bench.page.parents[1]))
    data.setup("test")
    with torch.no_grad():
        return bench.net.encode(data.splits["test"][:].float() / 255).z.double().numpy()


def test_undo_redo_and_reset(bench):
    (said,) = bench.about["runs"]
    first = bench.pixels()
    bench.move(f"axis {said['axes']['names'][0]}", 3)
    bench.drawn("axes=1:3")
    second = bench.pixels()
    bench.move("to the other image", 0.5)
    bench.drawn("mix=0.5&axes=1:3")
    bench.press("Undo")
    bench.drawn("axes=1:3")
    assert np.array_equal(bench.pixels(), second)
    bench.press("Undo")
    bench.drawn("")
    assert np.array_equal(bench.pixels(), first)
    bench.press("Redo")
    bench.drawn("axes=1:3")
    assert np.array_equal(bench.pixels(), second)
    bench.press("Reset")
    bench.drawn("")


def test_a_link_holds_what_is_set(bench):
    (said,) = bench.about["runs"]
    bench.move(f"axis {said['axes']['names'][2]}", -1.5)
    bench.move("to the other image", 0.25)
    bench.drawn("mix=0.25&axes=3:-1.5")
    wanted = bench.pixels()
    link = bench.chromium.evaluate("location.hash")
    bench.open("#image=7")
    bench.drawn("image=7")
    bench.open(link)
    bench.drawn("mix=0.25&axes=3:-1.5")
    assert np.array_equal(bench.pixels(), wanted)
    slider = f"document.querySelector('input[aria-label=\"axis {said['axes']['names'][2]}\"]').value"
    assert bench.chromium.evaluate(slider) == "-1.5"


def test_a_code_between_two_images(bench):
    bench.open("#image=3&other=9&mix=0.4")
    bench.drawn("image=3&other=9&mix=0.4")
    a, b = bench.code(3), bench.code(9)
    skips = [one.lerp(two, 0.4) for one, two in zip(a.skips, b.skips, strict=True)]
    near(bench.pixels(), bench.decoded(a.z.lerp(b.z, 0.4), skips))


def test_keys_move_a_slider(bench):
    (said,) = bench.about["runs"]
    slider = f"document.querySelector('input[aria-label=\"axis {said['axes']['names'][0]}\"]')"
    bench.chromium.evaluate(f"{slider}.focus()")
    bench.chromium.press("ArrowRight")
    bench.drawn("axes=1:0.05")


def test_arrow_keys_go_along_the_images_and_do_not_scroll(bench):
    bench.chromium.evaluate(
        "addEventListener('keydown', (event) => { window.prevented = event.defaultPrevented; });"
        "document.querySelector('.strip button').focus()"
    )
    for key, state in (("ArrowLeft", ""), ("ArrowRight", "image=1"), ("ArrowRight", "image=2")):
        bench.chromium.press(key)
        bench.drawn(state)
        assert bench.chromium.evaluate("prevented")
    assert bench.chromium.evaluate("document.activeElement.title").startswith(
        f"test image {bench.about['images']['rows'][2]}"
    )
    bench.chromium.press("ArrowUp")
    assert not bench.chromium.evaluate("prevented")


def test_a_skip_is_switched_off_or_given_by_another_image(bench):
    code, other = bench.code(0), bench.code(1)
    bench.press("off")  # of the first skip
    bench.drawn("skips=1:off")
    near(bench.pixels(), bench.decoded(code.z, (torch.zeros_like(code.skips[0]), code.skips[1])))
    bench.press("other image's")
    bench.drawn("skips=1:other")
    near(bench.pixels(), bench.decoded(code.z, (other.skips[0], code.skips[1])))
    bench.press("its own")
    bench.drawn("")


def test_a_picture_of_the_user(bench):
    """Dropped as a PNG of the network's size, transparent in part; the link holds it."""
    x = np.random.default_rng(0).integers(0, 256, (16, 16, 4), np.uint8)
    x[..., 3] = 255
    x[:5, :, 3] = 0
    stream = io.BytesIO()
    Image.fromarray(x).save(stream, "PNG")
    x = x[..., :3]
    x[:5] = 255
    drop = "dispatchEvent(new DragEvent('drop', { dataTransfer: transfer }));"
    handed(bench, b"no picture", drop)
    bench.wait("!document.getElementById('status').hidden")
    handed(bench, stream.getvalue(), drop)
    bench.wait("document.documentElement.dataset.drawn.startsWith('image=-1')")
    assert bench.chromium.evaluate("document.getElementById('status').hidden")
    wanted = 255 * bench.net.reconstruct(torch.from_numpy(x).movedim(-1, 0)[None])[0].movedim(0, -1).numpy()
    near(bench.pixels(), wanted)
    link = bench.chromium.evaluate("location.hash")
    bench.open(link)
    near(bench.pixels(), wanted)
    bench.press("Reset")
    file = "const file = document.getElementById('file'); file.files = transfer.files;"
    for _ in range(2):  # the file input tells no change as long as it holds the file
        bench.chromium.evaluate("document.querySelector('.strip button').click()")
        bench.wait("!document.documentElement.dataset.drawn.startsWith('image=-1')")
        handed(bench, stream.getvalue(), f"{file} file.dispatchEvent(new Event('change'));")
        bench.wait("document.documentElement.dataset.drawn.startsWith('image=-1')")
        assert bench.chromium.evaluate("document.getElementById('file').files.length") == 0


def handed(bench, content, how):
    """Hand the page a file, in ``transfer``."""
    text = base64.b64encode(content).decode()
    bench.chromium.evaluate(
        f"""(() => {{
            const bytes = Uint8Array.from(atob("{text}"), (one) => one.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "x.png", {{ type: "image/png" }}));
            {how}
        }})()"""
    )


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_it_fits_a_narrow_window_in_either_mode(bench, mode):
    call = bench.chromium.call
    call("Emulation.setDeviceMetricsOverride", width=400, height=850, deviceScaleFactor=1, mobile=True)
    call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": mode}])
    try:
        bench.wait("document.documentElement.scrollWidth <= innerWidth")
        ground = bench.chromium.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = sum(map(int, ground[4:-1].split(",")))
        assert brightness > 600 if mode == "light" else brightness < 150
    finally:
        call("Emulation.clearDeviceMetricsOverride")
        call("Emulation.setEmulatedMedia", features=[])


def opened(chromium, run, hash=""):
    return Bench(chromium, run, interactive([run], images=50)).open(hash)


RVQ = {"dim": 4, "entries": 16, "codebooks": 2}


@pytest.mark.slow  # exports networks of its own
def test_an_index_of_a_discrete_code_is_changed(chromium, tmp_path):
    model = {
        "_target_": "caelab.models.base.Base",
        "latent": 8,
        "channels": [4],
        "hidden": [],
        "bottleneck": {"_target_": "caelab.bottlenecks.rvq.RVQ", "_partial_": True, **RVQ},
    }
    bench = opened(chromium, leave_whole_run(tmp_path / "rvq", model, 12))
    indices = bench.code(0).indices.clone()
    assert indices.shape == (1, 2, 2)
    near(bench.pixels(), bench.decoded(bench.net.bottleneck.lookup(indices), ()))
    buttons = "[...document.querySelectorAll('.tokens button')]"
    shown = bench.chromium.evaluate(f"{buttons}.map((one) => Number(one.textContent))")
    assert shown == indices[0].T.flatten().tolist()  # one grid a codebook
    bench.chromium.evaluate(f"{buttons}[3].click()")
    bench.move("index", 13)
    bench.drawn("tokens=0.3:13")
    indices[0, 1, 1] = 13
    near(bench.pixels(), bench.decoded(bench.net.bottleneck.lookup(indices), ()))
    bench.press("Put back")
    bench.drawn("")
    bench.move("index", 13)
    bench.drawn("tokens=0.3:13")
    bench.chromium.evaluate(
        "document.querySelector('input[aria-label=index]').dispatchEvent(new MouseEvent('dblclick'))"
    )
    bench.drawn("")
    indices = bench.code(0).indices
    bench.wait(f"document.querySelector('input[aria-label=index]').value === '{indices[0, 1, 1]}'")


@pytest.mark.slow  # exports networks of its own
@pytest.mark.parametrize(
    "model",
    [
        {"_target_": "caelab.models.spatial.Spatial", "encoder_channels": 4, "encoder_blocks": 1},
        {"_target_": "caelab.models.spatial_auto_decoder.SpatialAutoDecoder", "steps": 2},
    ],
    ids=["spatial", "spatial_auto_decoder"],
)
def test_places_of_a_spatial_code_are_written_with_a_brush(chromium, tmp_path, model):
    model = model | {"latent_channels": 6, "factor": 4, "channels": 4, "blocks": 1}
    bench = opened(chromium, leave_whole_run(tmp_path / "spatial", model, 12), "#other=7")
    z, other = bench.code(0).z.clone(), bench.code(7).z
    bench.press("other image's")
    x, y, width, height = bench.chromium.evaluate(
        "(({ x, y, width, height }) => [x, y, width, height])"
        "(document.querySelector('.decoded canvas').getBoundingClientRect())"
    )
    at = [(x + width * (column + 0.5) / 3, y + height * 0.5) for column in (1, 2)]  # of the middle row
    for kind, place in (("mousePressed", at[0]), ("mouseMoved", at[1]), ("mouseReleased", at[1])):
        bench.chromium.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=place[0],
            y=place[1],
            button="left",
            buttons=1,
            clickCount=1,
        )
    bench.drawn("other=7&painted=0.4:other,0.5:other")
    z[0, 24:36] = other[0, 24:36]
    near(bench.pixels(), bench.decoded(z, ()))
    bench.press("mean code")
    bench.chromium.evaluate("document.querySelector('.places button').click()")  # as Enter does
    bench.drawn("other=7&painted=0.4:other,0.5:other,0.0:mean")
    z[0, :6] = torch.from_numpy(codes(bench).mean(0)[:6])
    near(bench.pixels(), bench.decoded(z, ()))
    bench.press("Reset")
    bench.drawn("other=7")
    start, end = ({"x": one[0], "y": one[1]} for one in at)
    for kind in ("mousePressed", "mouseReleased"):
        bench.chromium.call("Input.dispatchMouseEvent", type=kind, **start, button="right", clickCount=1)
    bench.chromium.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[end])
    bench.chromium.call("Input.dispatchTouchEvent", type="touchCancel", touchPoints=[])
    bench.drawn("other=7&painted=0.5:mean")
    bench.chromium.point(*at[0])
    bench.press("Undo")
    bench.drawn("other=7")


@pytest.fixture(scope="module")
def plain(chromium, tmp_path_factory):
    """A network that was trained to undo a corruption, with a prior: one component without spread."""
    path = tmp_path_factory.mktemp("runs") / "plain"
    run = leave_whole_run(path, {"_target_": "caelab.models.base.Base", "latent": 4, "channels": [4]}, 16)
    record = json.loads((run / "result.json").read_text())
    record["config"]["corruption"] = {"_target_": "caelab.corruptions.Downsample", "factor": 4}
    (run / "result.json").write_text(json.dumps(record))
    prior = Mixture("", torch.ones(1).double(), PRIOR.double(), torch.zeros(1, 4, 4).double())
    save({"gmm": prior, "flow": Listed()}, run / "sample.npz")
    result = {"figures": {}, "priors": {"gmm": "", "flow": ""}, "seconds": 1.0}
    results.write_analysis(run, "sample", results.finished(run), result)
    return Bench(chromium, run, interactive([run], images=50))


PRIOR = torch.tensor([[1.0, -2.0, 0.5, 3.0]])


class Listed:
    """A prior that is no mixture, with three draws."""

    def draw(self, number, seed):
        return PRIOR * torch.tensor([[0.0], [0.5], [-1.0]])


def corrupted(plain, tmp_path, config):
    """Its page, as if the corruption were another one, which draws."""
    text = plain.page.read_text().replace('id="corruption-0"', 'id="none"')
    text = text.replace(
        '"corruption": {"factor": 4, "kind": "Downsample"}', f'"corruption": {json.dumps(config)}'
    )
    bench = copy(plain)
    bench.page = tmp_path / "page.html"
    bench.page.write_text(text)
    return bench.open()


def given(bench):
    """Grey levels (H, W, 3) of what the network is given."""
    return bench.pixels(".input")


def test_a_network_is_given_what_it_was_trained_to_undo(plain):
    bench = plain.open()
    bench.drawn("")
    x = Downsample(4)(bench.images[:1], None)
    near(given(bench), 255 * x[0].movedim(0, -1).numpy())
    near(bench.pixels(), 255 * bench.net.reconstruct(x)[0].movedim(0, -1).numpy())
    bench.chromium.evaluate("document.getElementById('corrupt').click()")
    bench.drawn("corrupt=0")
    near(given(bench), 255 * bench.images[0].movedim(0, -1).numpy())


def test_noise_is_as_strong_as_in_training_and_drawn_again(plain, tmp_path):
    bench = corrupted(plain, tmp_path, {"kind": "GaussianNoise", "std": 0.1})
    clean = 255 * bench.images[0].movedim(0, -1).numpy()
    first = given(bench)
    inner = (clean > 75) & (clean < 180)  # so that nothing is clamped
    noise = (first - clean)[inner] / 255
    assert inner.sum() > 50
    assert abs(noise.mean()) < 5 * 0.1 / np.sqrt(inner.sum())
    assert noise.std() == pytest.approx(0.1, rel=0.3)
    bench.press("Draw again")
    bench.drawn("corrupt=2")
    assert np.abs(given(bench) - first).max() > 5


def test_masks_are_patches(plain, tmp_path):
    bench = corrupted(plain, tmp_path, {"kind": "Masking", "share": 0.5, "patch": 4})
    clean = np.rint(255 * bench.images[0].movedim(0, -1).numpy())
    pairs = zip(
        *(one.reshape(4, 4, 4, 4, 3).swapaxes(1, 2).reshape(16, -1) for one in (given(bench), clean)),
        strict=True,
    )
    states = [("black" if not one.any() else "whole" if (one == two).all() else "cut") for one, two in pairs]
    assert {*states} == {"black", "whole"}


def test_samples_are_drawn_from_a_prior_that_was_fitted(plain):
    bench = plain.open()
    bench.press("Draw from the mixture prior")
    bench.drawn("prior=gmm&sample=1")
    near(bench.pixels(), bench.decoded(PRIOR, ()))
    assert bench.chromium.evaluate("document.querySelector('.decoded figcaption').textContent") == "sample"
    bench.press("Back to the image")
    bench.drawn("")


def test_of_a_flow_the_draws_that_were_kept_come_in_turn_and_the_page_says_so(plain):
    bench = plain.open()
    draws = Listed().draw(256, 0)
    for sample, place in ((1, 0), (2, 1), (3, 2), (4, 0)):
        bench.press("Draw from the flow prior")
        bench.drawn(f"prior=flow&sample={sample}")
        near(bench.pixels(), bench.decoded(draws[place : place + 1], ()))
    text = bench.chromium.evaluate("document.body.textContent")
    assert "Of the flow prior the page has 3 draws by caelab sample, which it shows in turn." in text
    assert "From the mixture prior" not in text


@pytest.mark.slow  # exports networks of its own
def test_a_page_of_two_runs_is_small_enough_and_moves_both(skipping, plain, tmp_path):
    runs = [one.page.parents[1] for one in (skipping, plain)]
    pair = copy(skipping)
    pair.page = interactive(runs, images=50, out=tmp_path / "out")
    assert pair.page.stat().st_size < 16e6
    pair.open("#image=2&other=5&mix=1&corrupt=0")
    pair.drawn("image=2&other=5&mix=1&corrupt=0")
    wanted = skipping.code(5)
    near(pair.pixels(), skipping.decoded(wanted.z, wanted.skips))
    near(pair.pixels(n=1), plain.decoded(plain.code(5).z, ()))
    pair.open()  # each is given what it was trained on
    near(pair.pixels(), 255 * skipping.net.reconstruct(pair.images[:1])[0].movedim(0, -1).numpy())
    x = Downsample(4)(pair.images[:1], None)
    near(given(pair), 255 * x[0].movedim(0, -1).numpy())
    near(pair.pixels(n=1), 255 * plain.net.reconstruct(x)[0].movedim(0, -1).numpy())
    assert "B: Downsample (factor=4)" in pair.chromium.evaluate("document.body.textContent")

"""The page of an interactive look in a browser: what is set there is what the network decodes."""

import json
import os
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch
from browser import CHROMIUM, browser
from toys import leave_run, leave_whole_run

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

    def pixels(self, n=0):
        """Grey levels (H, W, 3) of the picture of run n."""
        data = self.chromium.evaluate(
            f"""(() => {{
                const canvas = document.querySelectorAll(".decoded canvas")[{n}];
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
    """Codes of all test images, by which the axes were found."""
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


def test_a_page_of_two_runs_is_small_enough_and_moves_both(chromium, skipping, tmp_path):
    run = leave_run(tmp_path / "base")
    pair = Bench(chromium, run, interactive([skipping.page.parents[1], run], images=50, out=tmp_path / "out"))
    assert pair.page.stat().st_size < 16e6
    pair.open("#image=2&other=5&mix=1")
    pair.drawn("image=2&other=5&mix=1")
    wanted = skipping.code(5)
    near(pair.pixels(0), skipping.decoded(wanted.z, wanted.skips))
    near(pair.pixels(1), pair.decoded(pair.code(5).z, ()))

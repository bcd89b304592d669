"""The command line of rates: what it leaves beside a run, what it shows, and what mistakes say."""

import json
import re
import shutil
import sys
from dataclasses import replace

import matplotlib.image
import numpy as np
import PIL
import pytest
import torch
from toys import leave_run

import caelab
from caelab.analysis import rate as declared
from caelab.analysis.rate import codecs, floors
from caelab.analysis.rate import rate as module
from caelab.analysis.rate.rate import answer, comparison, table
from caelab.data.datamodule import Split
from caelab.errors import UserError
from caelab.inference.restore import datamodule
from caelab.runs import results
from caelab.runs.analyses import analyses
from caelab.runs.record import save

rate = analyses()["rate"]

FLOORS = ("codecs", "lossless", "measured", "transform")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run directory with what was measured in it."""
    path = leave_run(tmp_path_factory.mktemp("runs") / "one")
    return path, rate(path, bits=[2, 8])


@pytest.fixture
def run(measured, tmp_path):
    """A copy of it, to be spoilt."""
    return shutil.copytree(measured[0], tmp_path / "one")


@pytest.fixture
def command(lab):
    """Call the command line: exit status, stdout, lines on stderr that the command wrote."""

    def call(*words):
        status, out, err = lab("rate", *words)
        return status, out, [line for line in err.splitlines() if "caelab" in line or "measured" in line]

    return call


def test_it_leaves_a_file_tied_to_the_run_and_a_picture(measured):
    path, found = measured
    record = results.read(path)
    written = json.loads((path / "rate.json").read_text())
    tie = {"fingerprint": record.fingerprint, "finished": record.finished}
    assert written == {"schema": 1, **tie, **found}
    assert results.analyses(path, record) == found["figures"]
    assert matplotlib.image.imread(path / "rate.png").std() > 0.01
    assert found["images"] == {"train": 96, "test": 50}
    assert found["image"] == [3, 16, 16]


def test_figures_are_those_of_the_best_checkpoint(measured):
    path, found = measured
    net, data = caelab.load(path), datamodule(results.read(path))
    data.setup()
    x = data.splits["test"][:].float() / 255
    with torch.no_grad():
        code = net.encode(x)
        mse = (net.decode(code) - x).double().square().mean((1, 2, 3))
    figures = found["figures"]
    assert figures["rate/psnr"] == pytest.approx(float((-10 * mse.log10()).mean()), abs=1e-4)
    assert figures["rate/float32_bits"] == 32 * 6
    coarse, fine = found["points"]
    assert figures["rate/bits_2"] == coarse["rate"] < fine["rate"] == figures["rate/bits_8"]
    assert figures["rate/bits_per_number"] == figures["rate/enough_bits"] / 6
    # 50 images end one stream, whose words have 32 bits
    assert fine["rate"] * 50 % 32 == 0
    assert fine["psnr"] == pytest.approx(figures["rate/psnr"], abs=0.01)


def test_codecs_are_measured_on_the_same_images_and_once(measured, monkeypatch):
    path, found = measured
    assert list(found["codecs"]) == ["JPEG", "WebP", "AVIF"]
    assert list(found["lossless"]) == ["WebP", "PNG"]
    assert found["measured"]["pillow"] == PIL.__version__
    assert all(one["payload"] < one["file"] for settings in found["codecs"].values() for one in settings)
    for name in ("codecs.curve", "codecs.lossless", "transform.curve"):
        monkeypatch.setattr(f"caelab.analysis.rate.{name}", lambda *_, **__: pytest.fail("measured again"))
    again = rate(path, bits=[2, 8], force=True)
    assert {key: again[key] for key in FLOORS} == {key: found[key] for key in FLOORS}


def test_floors_are_kept_with_the_data_until_codecs_or_the_lab_change(measured, run, monkeypatch):
    path, found = measured
    folder = path / "data" / "floors"
    assert len([*folder.iterdir()]) == 2
    monkeypatch.setattr("caelab.analysis.rate.codecs.curve", lambda *_: [codecs.Setting(5, 9.0, 8.0, 7.0)])
    monkeypatch.setattr(PIL, "__version__", "0.1")
    again = rate(run, bits=[2, 8], force=True)
    assert again["measured"]["pillow"] == "0.1"
    assert again["codecs"]["JPEG"] == [{"quality": 5, "file": 9.0, "payload": 8.0, "psnr": 7.0}]
    assert again["transform"] == found["transform"]
    assert len([*folder.iterdir()]) == 3
    monkeypatch.setattr("caelab.analysis.rate.transform.curve", lambda *_, **__: [])
    with monkeypatch.context() as changed:
        changed.setattr(floors.source, "digest", lambda code: "other")
        assert rate(run, bits=[2, 8], force=True)["transform"] == []
    assert rate(run, bits=[2, 8], force=True)["transform"] == found["transform"]
    monkeypatch.setattr(floors, "__version__", "0.0.1")
    assert rate(run, bits=[2, 8], force=True)["transform"] == []


def test_the_same_bytes_of_another_size_or_type_are_other_images():
    pixels, row = np.zeros((1, 1, 4, 8), np.uint8), torch.zeros(1, dtype=torch.int64)
    several = (pixels, pixels.reshape(1, 1, 8, 4), pixels.view(np.float32))
    assert len({floors._digest(Split(torch.from_numpy(one), row, row)) for one in several}) == 3


def test_floors_at_as_many_bytes_stand_among_the_figures():
    transform = [
        {"step": 1, "rate": 0, "psnr": 9},
        *({"rate": r, "psnr": p} for r, p in ((40, 20), (160, 24))),
    ]
    codecs = {
        "JPEG": [{"file": 600, "payload": 5, "psnr": 21}],
        "AVIF": [{"file": 9, "payload": 20, "psnr": 22}],
    }
    end = {"enough": {"rate": 80.0, "psnr": 29.9}}
    figures = module._figures(FOUND | end | {"transform": transform, "codecs": codecs})
    # twice 40 bits is half the way to 160 over the logarithm
    assert figures["rate/psnr_over_transform"] == pytest.approx(29.9 - 22)
    assert figures["rate/psnr_over_jpeg"] == pytest.approx(29.9 - 21)
    assert "rate/psnr_over_avif" not in figures  # it takes more


def test_codes_of_an_older_file_stay_and_get_the_floors(run, command, monkeypatch):
    new = json.loads((run / "rate.json").read_text())
    old = {key: value for key, value in new.items() if key not in ("transform", "lossless", "measured")}
    old["codecs"] = {"JPEG": [{"quality": 5, "file": 700.0, "payload": 1.0, "psnr": 60.0}]}
    old["figures"] = {"rate/psnr_over_jpeg": -30.0}
    (run / "rate.json").write_text(json.dumps(old))
    monkeypatch.setattr(module, "_codes", lambda *_: pytest.fail("codes were measured again"))
    assert command(run, "--bits", "8,2")[0] == 0
    assert json.loads((run / "rate.json").read_text()) == new


def test_the_command_line_shows_each_quantiser_and_takes_what_was_measured(run, command, monkeypatch):
    found = json.loads((run / "rate.json").read_text())
    monkeypatch.setattr(module, "_codes", lambda *_: pytest.fail("measured again"))
    status, out, lines = command(run, "--bits", "8,2")
    assert (status, len(lines)) == (0, 1)
    assert lines[0].endswith("measured before; --force measures it again")
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert [line[0] for line in cells] == ["8 sd/4", "8 sd/256", "float32", "the image"]
    fine = found["points"][1]
    assert cells[1][1:6] == [
        f"{fine['rate'] / 6:.2f}",
        f"{fine['rate']:.1f}",
        f"{fine['entropy']:.1f}",
        f"{fine['rate'] / 256:.3f}",
        f"{fine['rate'] / 8:.1f}",
    ]
    assert [line[2] for line in cells[2:]] == ["192", f"{8 * 3 * 16 * 16:,}"]
    assert f"{found['figures']['rate/bits_per_number']:.2f} bits a number" in out


@pytest.mark.parametrize("words", [("--force", "--bits", "2"), ("--bits", "2,5")])
def test_it_measures_again_where_bits_are_missing_or_it_is_told_to(run, command, words):
    assert command(run, *words)[0] == 0
    bits = [point["bits"] for point in json.loads((run / "rate.json").read_text())["points"]]
    assert bits == [int(b) for b in words[-1].split(",")]


def test_runs_that_are_given_together_share_a_table_and_a_picture(run, command, tmp_path):
    other = shutil.copytree(run, tmp_path / "two")
    save(other, replace(results.read(other), seed=4))
    alone = (run / "rate.png").read_bytes()
    status, out, _ = command(run, other)
    assert status == 0
    assert "until 0.1 dB is lost" in out
    pictures = [(path / "rate.png").read_bytes() for path in (run, other)]
    assert pictures[0] == pictures[1] != alone


def test_runs_on_other_classes_are_not_compared(measured, run, monkeypatch):
    monkeypatch.setattr(module, "_draw", lambda group: None)
    one, found = measured
    assert len([*module.compare({one: found, run: found})]) == 1
    record = results.read(run)
    dataset = record.config["dataset"] | {"classes": [0]}
    save(run, replace(record, config=record.config | {"dataset": dataset}))
    assert [*module.compare({one: found, run: found})] == []


def test_mistakes_are_told_in_one_line(run, command, tmp_path):
    for bits in ("9", "0", "2,x", "", "2,,3", "1.5"):
        status, _, lines = command(run, "--bits", bits)
        assert status == 1
        assert lines == [f"caelab: --bits {bits}: give whole numbers from 1 to 8, such as --bits 2,4,8"]
    status, _, lines = command(tmp_path / "nothing", run, "--bits", "2")
    assert status == 1
    assert lines[0].startswith(f"caelab: {tmp_path}/nothing: no result.json there (no such directory)")
    best = run / "checkpoints" / "best.ckpt"
    best.unlink()
    status, _, lines = command(run, "--force")
    assert (status, lines) == (1, [f"caelab: {best} is missing; train the run again with force=true"])


def test_the_missing_library_is_named(run, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    status, _, lines = command(run, "--force")
    message = "caelab: constriction is not installed; pip install 'caelab[rate]'"
    assert (status, lines) == (1, [message])


def test_a_code_that_is_not_finite_names_its_run(run):
    state = torch.load(run / "checkpoints/best.ckpt")
    bias = next(key for key in state["state_dict"] if "encoder" in key and key.endswith("bias"))
    state["state_dict"][bias][:] = float("inf")
    torch.save(state, run / "checkpoints/best.ckpt")
    with pytest.raises(UserError, match=r"one: .*"):
        rate(run, bits=[2], force=True)


def test_bits_are_those_that_there_are():
    assert max(declared.BITS) == declared.FINEST


FOUND = {
    "transform": [],
    "lossless": {},
    "code": {"numbers": 100, "psnr": 30.0},
    "points": [{"bits": 4, "rate": 80.0, "entropy": 79.0, "psnr": 29.0}],
    "enough": None,
    "codecs": {"JPEG": [{"file": 600.0, "payload": 30.0, "psnr": 20.0}]},
    "images": {"train": 1, "test": 1},
    "image": [1, 8, 8],
    "figures": {},
}


def test_the_answer_says_what_is_known():
    (line,) = answer(FOUND)
    assert line == (
        "more than 0.80 bits a number: with these (80 an image) 1.00 dB are still lost, "
        "of 30.00 dB of 100 numbers, 3,200 bits as float32"
    )
    first, *others = answer(FOUND | {"enough": {"rate": 80.0, "psnr": 29.95}})
    assert first.startswith("at most 0.80 bits a number, 80 an image, until 0.1 dB is lost")
    assert others == [
        "at 10 bytes: model 29.95 dB; without headers JPEG takes 30 or more",
        "at 10 bytes: model 29.95 dB; as whole files JPEG takes 600 or more",
    ]
    first, *others = answer(FOUND | {"enough": {"rate": 800.0, "psnr": 29.9}})
    assert first.startswith("8.00 bits a number, 800 an image")
    assert others[0] == "at 100 bytes: model 29.90 dB; without headers JPEG 20.00 dB"


def test_a_table_has_a_dash_where_a_codec_takes_more():
    shown = table(FOUND)
    assert shown.row_count == 3
    assert list(shown.columns[-1].cells) == ["-", "", ""]
    assert np.isclose(float(list(shown.columns[4].cells)[0]), 80 / 64)


def test_the_comparison_names_runs_by_what_tells_them_apart(measured):
    path, found = measured
    shown = comparison({path: found})
    assert [list(column.cells)[0] for column in shown.columns][:3] == [
        "base",
        "6",
        f"{found['code']['psnr']:.2f}",
    ]


def test_runs_of_equal_settings_have_names_of_their_own(measured, run, command):
    status, out, _ = command(measured[0], run)
    assert status == 0
    assert re.findall(r"│ (base\S*(?: \(2\))?) ", out) == ["base", "base (2)"]

"""The command line of the audit: what it leaves beside a run, what it shows, and what mistakes say."""

import json

import matplotlib.image
import numpy as np
import pytest
import torch
from tiny import TINY
from toys import sha256_of

from caelab.analysis.audit.audit import table, verdict
from caelab.errors import UserError
from caelab.inference.restore import datamodule, load
from caelab.runs import results
from caelab.runs.analyses import analyses
from caelab.runs.record import made, save

audit = analyses()["audit"]

SKIPS = (
    *("model=improved_skip", "model.channels=[4,8]", "model.skip_levels=[1,2]"),
    *("optimizer.lr=0.02", "trainer.max_epochs=12"),
)


@pytest.fixture
def run(trained):
    """A tiny run with two skips, good enough to be better than the mean image."""
    return trained(*SKIPS)


def psnr(x_hat, x):
    mse = np.square(x_hat.numpy().astype(np.float64) - x.numpy()).reshape(len(x), -1).mean(1)
    return float(np.mean(-10 * np.log10(mse)))


def test_figures_are_those_of_the_best_checkpoint(run):
    found = audit(run.run_dir)
    figures = found["figures"]
    net, data = load(run.run_dir), datamodule(made(run.record))
    data.setup()
    x = data.splits["test"][:].float() / 255
    mean = (data.splits["train"][:].float() / 255).mean(0)
    with torch.no_grad():
        code, other = net.encode(x), net.encode(x.roll(25, 0))  # 50 images
        mixed = net.decode(code._replace(z=other.z))
    least = psnr(mean.expand_as(x), x)
    assert figures["audit/psnr_everything"] == pytest.approx(run.record["metrics"]["test/psnr"], abs=1e-4)
    assert figures["audit/psnr_other_latent"] == pytest.approx(psnr(mixed, x), abs=1e-4)
    assert figures["audit/psnr_mean_image"] == pytest.approx(least, abs=1e-4)
    whole = figures["audit/psnr_everything"]
    expected = (whole - psnr(mixed, x)) / (whole - least)
    assert 0 < expected < 1
    assert figures["audit/latent_reliance"] == pytest.approx(expected, abs=1e-4)
    assert run.record["metrics"]["test/latent_reliance"] == pytest.approx(expected, abs=1e-4)
    assert figures["audit/effective_code"] == code.numbers == 8 + 4 * 16 * 16 + 8 * 8 * 8
    assert found["skips"] == [[4, 16, 16], [8, 8, 8]]
    # 96 training images have no 1,544 principal components
    assert {key for key in figures if "skip_2" in key or "pca" in key} == {
        "audit/psnr_other_skip_2",
        "audit/skip_2_reliance",
    }


def test_it_leaves_a_file_that_the_report_reads_and_a_picture(run, capfd):
    found = audit(run.run_dir)
    assert "no floor: 96 training images are too few for PCA of 1,544 numbers" in capfd.readouterr().err
    written = json.loads((run.run_dir / "audit.json").read_text())
    tie = {key: run.record[key] for key in ("fingerprint", "finished")}
    assert written == {"schema": 1, **tie, **found}
    assert results.analyses(run.run_dir, made(run.record)) == found["figures"]
    with np.load(run.run_dir / "audit.npz") as kept, np.load(run.run_dir / "reconstructions.npz") as own:
        assert list(kept) == ["originals", "everything", "latent", "skips", "skip 1", "skip 2"]
        assert np.array_equal(kept["originals"], own["originals"])
        assert np.array_equal(kept["everything"], own["reconstructions"])
        assert len({kept[name].tobytes() for name in kept}) == 6
    picture = matplotlib.image.imread(run.run_dir / "audit.png")
    assert picture.std() > 0.01
    assert picture.shape[0] > picture.shape[1] / 2  # originals, all, latent, skips, and each of two skips


def test_the_floor_is_that_of_a_run_beside_it_or_fitted(train, trained):
    tiny = [o for o in TINY if o.startswith(("dataset", "trainer"))]
    net = trained()
    fitted = audit(net.run_dir)["figures"]["audit/psnr_pca"]
    pca = train("model=pca", "model.latent=8", *tiny, tiny=False)
    record = next(r for r in pca.records if r["choices"]["model"] == "pca")
    assert fitted == pytest.approx(record["metrics"]["test/psnr"], abs=1e-4)
    assert audit(net.run_dir)["figures"]["audit/psnr_pca"] == record["metrics"]["test/psnr"]


def test_the_floor_is_of_clean_images_too(train):
    noisy = ("corruption=gaussian_noise", "corruption.std=0.5")
    net = train(*noisy)
    fitted = audit(net.run_dir)["figures"]["audit/psnr_pca"]
    tiny = [o for o in TINY if o.startswith(("dataset", "trainer"))]
    pca = train("model=pca", "model.latent=8", *tiny, *noisy, tiny=False)
    record = next(r for r in pca.records if r["choices"]["model"] == "pca")
    assert audit(net.run_dir)["figures"]["audit/psnr_pca"] == pytest.approx(fitted)
    assert fitted > record["metrics"]["test/psnr"] + 0.1


def test_the_command_line_shows_the_paths_and_goes_on_after_a_mistake(run, command, tmp_path):
    status, out, lines = command(tmp_path / "nothing", run.run_dir)
    assert status == 1
    assert lines == [
        f"caelab: {tmp_path}/nothing: no result.json there (no such directory); "
        "give the directory of a finished run"
    ]
    figures = json.loads((run.run_dir / "audit.json").read_text())["figures"]
    assert f"latent reliance {figures['audit/latent_reliance']:.2f}" in out
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    shown = {line[0]: line[1] for line in cells}
    assert shown["another image's latent"] == f"{figures['audit/psnr_other_latent']:.2f}"
    assert shown["another image's skip 2 (8x8x8)"] == f"{figures['audit/psnr_other_skip_2']:.2f}"
    assert list(shown)[-1] == "nothing: the mean image"
    assert command(run.run_dir)[0] == 0


def test_a_low_reliance_is_named():
    figures = {"audit/psnr_everything": 30.0, "audit/psnr_other_latent": 29.0, "audit/latent_reliance": 0.05}
    assert verdict(figures) == "latent reliance 0.05, bypasses its latent (below 0.5)"
    assert verdict({"audit/latent_reliance": 0.5}) == "latent reliance 0.50"
    assert "no better than the mean image" in verdict({})
    assert table({"figures": figures, "skips": []}).row_count == 2


def test_too_few_images_are_named(trained):
    answer = trained()
    record = answer.record
    record["config"]["dataset"]["test_size"] = 1
    record["data"]["sha256"] = sha256_of(record["config"]["dataset"])
    save(answer.run_dir, made(record))
    with pytest.raises(UserError, match="the test split has 1 image; 2 or more are needed"):
        audit(answer.run_dir)

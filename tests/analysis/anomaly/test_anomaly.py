"""The command line of anomalies: what it leaves beside a run, what it shows, and what mistakes say."""

import json
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
import torch
import toys
from scipy import stats
from tiny import TINY

from caelab.analysis.anomaly import anomaly as module
from caelab.analysis.anomaly.anomaly import table, verdict
from caelab.analysis.anomaly.picture import detections
from caelab.config.fingerprint import CLEAN
from caelab.errors import UserError
from caelab.inference.restore import datamodule, load
from caelab.runs import results
from caelab.runs.analyses import analyses
from caelab.runs.record import save

anomaly = analyses()["anomaly"]

SCORES = ("error", "neighbours", "mahalanobis")
FLOORS = ("pca_error", "pca_neighbours", "pca_mahalanobis", "pixels_neighbours")
DATA = [override for override in TINY if override.startswith(("dataset", "trainer"))]


@pytest.fixture
def run(trained):
    """A tiny run that has seen the first of three classes only."""
    return trained("dataset.classes=[0]")


@pytest.fixture
def drawn(monkeypatch):
    """Draw no picture; keep what the last one was to show."""
    given = {}
    monkeypatch.setattr(
        module, "detections", lambda path, *parts: given.update(zip("cfb", parts, strict=True))
    )
    return given


def share_of_pairs(other, normal):
    return stats.mannwhitneyu(other, normal).statistic / (len(other) * len(normal))


def test_figures_are_those_of_the_images_of_the_other_classes(run, drawn):
    found = anomaly(run.run_dir)
    net, own, whole = (
        load(run.run_dir),
        datamodule(results.finished(run.run_dir)),
        datamodule(results.finished(run.run_dir), classes=None),
    )
    own.setup()
    whole.setup()
    test = whole.splits["test"]
    parts = test[(test.targets != 0).nonzero().flatten()], own.splits["test"][:]
    assert found["images"] == {"train": 96, "normal": 50, "anomalous": len(parts[0])}
    assert 0 < len(parts[0]) < 50
    x = [part.float() / 255 for part in parts]
    errors = [np.square((net.reconstruct(part) - part).numpy()).mean((1, 2, 3)) for part in x]
    assert found["figures"]["anomaly/auroc_error"] == pytest.approx(share_of_pairs(*errors), abs=1e-4)
    with torch.no_grad():
        z, *codes = (net.encode(part).z for part in (own.splits["train"][:].float() / 255, *x))
    near = [torch.cdist(code, z).sort(1).values[:, :5].mean(1).numpy() for code in codes]
    assert found["figures"]["anomaly/auroc_neighbours"] == pytest.approx(share_of_pairs(*near), abs=1e-4)
    kinds = {f"anomaly/{kind}_{name}" for kind in ("auroc", "ap") for name in SCORES + FLOORS}
    assert found["figures"].keys() == found["intervals"].keys() == kinds
    for key, (low, high) in found["intervals"].items():
        assert low <= found["figures"][key] <= high
    assert len(set(found["figures"].values())) > 10


def test_it_leaves_a_file_that_the_report_reads_and_a_picture(run):
    found = anomaly(run.run_dir)
    written = json.loads((run.run_dir / "anomaly.json").read_text())
    tie = {key: run.record[key] for key in ("fingerprint", "finished")}
    assert written == {"schema": 1, **tie, **found}
    assert results.analyses(run.run_dir, results.finished(run.run_dir)) == found["figures"]
    picture = matplotlib.image.imread(run.run_dir / "anomaly.png")
    assert picture.std() > 0.1
    assert picture.shape[0] > 4 * 150  # curves, and four rows of images


def test_runs_on_the_same_images_share_their_floors(train, drawn):
    run = train("dataset.classes=[0]")  # floors belong to one data folder
    first = anomaly(run.run_dir)["figures"]
    before = module._pca.cache_info().hits
    again = train("dataset.classes=[0]", "seed=1")
    (other,) = (path for path in again.run_dirs if path != run.run_dir)
    second = anomaly(other)["figures"]
    assert module._pca.cache_info().hits == before + 1
    same = {name for name in SCORES + FLOORS if first[f"anomaly/ap_{name}"] == second[f"anomaly/ap_{name}"]}
    assert same == set(FLOORS)


def test_pca_is_its_own_floor(train, trained, drawn):
    net = trained("dataset.classes=[0]")
    fitted = anomaly(net.run_dir)["figures"]
    answer = train("model=pca", "model.latent=8", *DATA, "dataset.classes=[0]", tiny=False)
    (path,) = (path for path in answer.run_dirs if path != net.run_dir)
    found = anomaly(path)["figures"]
    assert found.keys() == {f"anomaly/{kind}_{n}" for kind in ("auroc", "ap") for n in (*SCORES, FLOORS[-1])}
    for name in SCORES:
        assert found[f"anomaly/auroc_{name}"] == pytest.approx(fitted[f"anomaly/auroc_pca_{name}"], abs=0.01)


def test_a_constant_code_has_no_distances(train, drawn, capfd):
    answer = train("model=pca", "model.latent=0", *DATA, "dataset.classes=[0]", tiny=False)
    found = anomaly(answer.run_dir)["figures"]
    assert "network: all training images have the same code" in capfd.readouterr().err
    names = ("error", "pixels_neighbours")
    assert found.keys() == {f"anomaly/{kind}_{name}" for kind in ("auroc", "ap") for name in names}
    assert list(drawn["b"]) == ["by reconstruction error (MSE)"]


def test_long_codes_have_no_mahalanobis_distance(train, drawn, capfd, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 7)
    found = anomaly(train("dataset.classes=[0]").run_dir)["figures"]  # whose floors no other test shares
    assert {name for name in SCORES + FLOORS if f"anomaly/auroc_{name}" not in found} == {
        "mahalanobis",
        "pca_mahalanobis",
    }
    told = "its latent has 8 numbers; Mahalanobis distances, which take at most 7, are left out"
    assert f"network: {told}" in capfd.readouterr().err


def test_the_command_line_shows_the_scores_and_goes_on_after_a_mistake(run, command, drawn, tmp_path):
    status, out, lines = command(tmp_path / "nothing", run.run_dir)
    assert status == 1
    assert lines == [
        f"caelab: {tmp_path}/nothing: no result.json there (no such directory); "
        "give the directory of a finished run"
    ]
    figures = json.loads((run.run_dir / "anomaly.json").read_text())["figures"]
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    shown = {line[0]: line[1].partition(" ")[0] for line in cells}
    assert shown["reconstruction error (MSE)"] == f"{figures['anomaly/auroc_error']:.3f}"
    assert (
        shown["PCA of 8 numbers, Mahalanobis distance"] == f"{figures['anomaly/auroc_pca_mahalanobis']:.3f}"
    )
    assert (len(shown), shown["guessing"]) == (8, "0.500")
    assert command(run.run_dir)[0] == 0


@pytest.mark.parametrize(("reliance", "said"), [(0.004, True), (0.006, False), (None, False)])
def test_a_code_that_the_decoder_does_not_use_is_told(tmp_path, monkeypatch, reliance, said):
    metrics = {} if reliance is None else {"test/latent_reliance": reliance}
    save(tmp_path, toys.typed(metrics=metrics, config={"corruption": CLEAN}))
    monkeypatch.setattr(module, "verdict", lambda result: "")
    monkeypatch.setattr(module, "table", lambda result: "")
    line = "latent reliance 0.00: distances of codes measure a vector that the decoder does not use"
    assert any(line in part for part in module.show(tmp_path, {})) == said


@pytest.mark.parametrize("classes", ["null", "[2,0,1]"])
def test_a_run_that_knows_every_class_is_refused(train, command, monkeypatch, classes):
    answer = train(f"dataset.classes={classes}")
    if classes == "null":  # told without a look at the data, which might have to be fetched
        monkeypatch.setattr(module, "_parts", None)
    status, _, lines = command(answer.run_dir)
    assert status == 1
    assert lines == [
        f"caelab: {answer.run_dir}: trained on all classes, so no image is an anomaly; "
        "train a run on some of them: caelab train dataset=shapes 'dataset.classes=[0]'"
    ]
    assert not (answer.run_dir / "anomaly.json").exists()


def test_data_of_one_class_are_refused():
    line = module._no_others(SimpleNamespace(choices={"dataset": "folder"}), ("images",))
    assert line == "dataset=folder has only one class (images); anomalies need another"


def test_a_run_without_its_checkpoint_is_named(run, command):
    best = run.run_dir / "checkpoints" / "best.ckpt"
    best.unlink()
    status, _, lines = command(run.run_dir)
    assert (status, len(lines)) == (1, 1)
    assert f"{best} is missing; train the run again with force=true" in lines[0]


def test_fewer_images_than_neighbours_are_named(train):
    answer = train("dataset.classes=[0]", "dataset.train_size=4", "dataset.batch_size=4")
    with pytest.raises(UserError, match="the training set has 4 images, fewer than the 5 neighbours"):
        anomaly(answer.run_dir)


def test_too_few_images_for_pca_leave_it_out(train, drawn, capfd):
    answer = train("dataset.classes=[0]", "dataset.train_size=6", "dataset.batch_size=6")
    found = anomaly(answer.run_dir)["figures"]
    assert "no PCA: 6 training images are too few for 8 principal components" in capfd.readouterr().err
    assert {key for key in found if "pca" in key} == set()
    assert "anomaly/auroc_mahalanobis" in found


def made(**aurocs):
    values = {f"anomaly/{kind}_{name}": value for name, value in aurocs.items() for kind in ("auroc", "ap")}
    return {
        "figures": values,
        "intervals": {key: [value - 0.01, value + 0.01] for key, value in values.items()},
        "images": {"train": 9, "normal": 30, "anomalous": 10},
        "latent": 16,
    }


def test_the_line_names_the_best_score_and_the_best_without_the_network():
    assert verdict(made(error=0.7, mahalanobis=0.9, pca_error=0.6, pixels_neighbours=0.8)) == (
        "AUROC 0.900 by Mahalanobis distance of the code; without the network 0.800 by pixels, distance to 5 "
        "training images"
    )
    assert "(MSE), no better; without" in verdict(made(error=0.7, pixels_neighbours=0.7))
    shown = table(made(error=0.7, pca_error=0.65))
    assert [list(column.cells) for column in shown.columns] == [
        ["reconstruction error (MSE)", "PCA of 16 numbers, reconstruction error (MSE)", "guessing"],
        ["0.700 [0.690, 0.710]", "0.650 [0.640, 0.660]", "0.500"],
        ["0.700 [0.690, 0.710]", "0.650 [0.640, 0.660]", "0.250"],
    ]


def test_the_picture_has_both_ends_of_both_kinds(drawn, tmp_path):
    anomalous = torch.arange(20) >= 12
    images = torch.arange(20, dtype=torch.uint8).reshape(20, 1, 1, 1).expand(20, 1, 2, 2)
    parts = module.Parts(None, images, anomalous.long(), anomalous, ("cat", "dog"))
    values = np.roll(np.arange(20.0), 3)  # the highest are those of images 0, 1 and 2
    aurocs = dict.fromkeys(("anomaly/auroc_error", "anomaly/auroc_pixels_neighbours"), 0.5)
    module._draw(tmp_path / "x.png", parts, {"error": values, "pixels_neighbours": values}, aurocs)
    assert list(drawn["c"]) == ["reconstruction error (MSE) (0.500)"]
    assert list(drawn["f"]) == ["pixels, distance to 5 training images (0.500)"]
    (rows,) = drawn["b"].values()
    shown = [[round(255 * float(image[0, 0, 0])) for image, _ in row] for row in rows.values()]
    assert shown == [
        [3, 4, 5, 6, 7, 8],
        [2, 1, 0, 11, 10, 9],
        [12, 13, 14, 15, 16, 17],
        [19, 18, 17, 16, 15, 14],
    ]
    assert [row[0][1] for row in rows.values()] == ["cat\n0", "cat\n19", "dog\n9", "dog\n16"]


def test_a_short_row_of_the_picture_has_empty_places(tmp_path):
    tile = (torch.zeros(1, 4, 4), "black")
    path = detections(
        tmp_path / "x.png",
        {"a": (np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0]))},
        {},
        {"block": {"many": [tile] * 3, "one": [tile]}},
    )
    picture = matplotlib.image.imread(path)[..., :3].max(2)
    rows = picture[round(len(picture) * 3.8 / 6.6) :]
    upper, lower = ((part < 0.05).sum() for part in np.array_split(rows, 2))
    assert lower > 1000
    assert upper / lower == pytest.approx(3, rel=0.2)  # black tiles, and some letters

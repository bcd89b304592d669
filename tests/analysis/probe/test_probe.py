"""The command line of the probes: what it leaves in a run, what it shows, and each mistake as one line."""

import json

import matplotlib.image
import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import confusion_matrix
from sklearn.neighbors import KNeighborsClassifier
from toys import sha256_of

from caelab.analysis.probe import probe as module
from caelab.config.build import instantiate
from caelab.errors import UserError
from caelab.inference.restore import datamodule, load
from caelab.runs.analyses import analyses
from caelab.runs.record import made

probe = analyses()["probe"]

CODES = ("z", "untrained", "pca")
KINDS = ("z", "stage1", "stage2", "untrained", "pca", "pixels")
SHAPES = ("dataset=shapes", "dataset.val_size=40", "dataset.test_size=50", "dataset.image_size=16")
MORE = (*SHAPES, "dataset.train_size=400", "dataset.batch_size=100", "trainer.max_epochs=1")
SHAPE = (3, 16, 16)


@pytest.fixture(autouse=True)
def _quick_and_nothing_kept(monkeypatch):
    module._floors.clear()
    monkeypatch.setattr("caelab.analysis.probe.factors.TREES", 2)


def features(answer, net):
    data = datamodule(made(answer.record))
    data.setup()
    z, y = {}, {}
    for name, split in data.splits.items():
        with torch.no_grad():
            z[name] = net.encode(split[:].float() / 255).z.double().numpy()
        y[name] = split.targets.numpy()
    mean, spread = z["train"].mean(0), np.sqrt(z["train"].var(0).mean())
    return {name: (rows - mean) / spread for name, rows in z.items()}, y


def test_a_run_gets_figures_that_scikit_learn_finds_too(train, lab):
    answer = train(*MORE)
    status, out, err = lab("probe", answer.run_dir)
    assert status == 0
    found = json.loads((answer.run_dir / "probe.json").read_text())
    assert found["schema"] == 1
    assert found["fingerprint"] == answer.record["fingerprint"]
    expected = {f"probe/{kind}/{p}{n}" for kind in KINDS for p in ("linear", "knn") for n in ("", "_10pct")}
    expected |= {f"probe/{code}/{name}" for code in CODES for name in module._STRUCTURE}
    assert set(found["figures"]) == expected
    assert all(0 <= value <= 1 for value in found["figures"].values())

    z, y = features(answer, load(answer.run_dir))
    linear = found["features"]["z"]["scores"]["linear"]
    model = RidgeClassifier(alpha=linear["strength"] * 400).fit(z["train"], y["train"])
    assert found["figures"]["probe/z/linear"] == pytest.approx(model.score(z["test"], y["test"]))
    assert (
        found["features"]["z"]["confusion"] == confusion_matrix(y["test"], model.predict(z["test"])).tolist()
    )
    neighbours = KNeighborsClassifier(10).fit(z["train"], y["train"])
    assert found["figures"]["probe/z/knn"] == pytest.approx(neighbours.score(z["test"], y["test"]))
    assert found["images"] == {"train": 400, "val": 40, "test": 50}
    assert found["chance"] == np.bincount(y["test"]).max() / 50
    assert [found["features"][kind]["numbers"] for kind in KINDS] == [8, 256, 128, 8, 8, 768]

    for kind in KINDS:
        assert kind in out
    assert f"{100 * linear['accuracy']:.1f} [{100 * linear['low']:.1f}, {100 * linear['high']:.1f}]" in out
    assert f"{found['figures']['probe/z/disentanglement']:.3f}" in out
    assert "probing pixels" in err
    picture = matplotlib.image.imread(answer.run_dir / "probe.png")
    assert picture.shape[1] == 9 * 150
    assert picture[..., :3].std() > 0.05


def test_untrained_is_the_network_that_the_run_started_from(train):

    answer = train(*MORE, "optimizer.lr=1e-30")  # so it is still what it was, but for its running means
    torch.manual_seed(0)
    config = answer.record["config"]["model"]
    z, y = features(answer, instantiate(config, "model", shape=SHAPE).eval())
    neighbours = KNeighborsClassifier(10).fit(z["train"], y["train"])
    expected = neighbours.score(z["test"], y["test"])
    assert probe(answer.run_dir)["figures"]["probe/untrained/knn"] == pytest.approx(expected)
    first = next(iter(load(answer.run_dir).parameters()))
    torch.manual_seed(0)
    built = next(iter(instantiate(config, "model", shape=SHAPE).parameters()))
    torch.testing.assert_close(first, built)


def test_pca_has_nothing_to_be_untrained_and_is_its_own_floor(train):
    answer = train("model=pca", "model.latent=8", *MORE, tiny=False)
    figures = probe(answer.run_dir)["figures"]
    assert {key.split("/")[1] for key in figures} == {"z", "pca", "pixels"}
    for name in ("linear", "knn", "mig"):
        assert figures[f"probe/z/{name}"] == figures[f"probe/pca/{name}"]


def test_floors_are_found_once_in_a_process(train, monkeypatch):
    from caelab.analysis.probe import features

    first, second = train(*MORE), train(*MORE, "seed=1")
    made = []
    real = features.pixels
    monkeypatch.setattr(features, "pixels", lambda splits: made.append(1) or real(splits))
    one, other = (probe(path)["figures"] for path in second.run_dirs)
    assert first.run_dir in second.run_dirs
    assert len(made) == 1
    assert one["probe/pixels/knn"] == other["probe/pixels/knn"]
    assert one["probe/pca/mig"] == other["probe/pca/mig"]
    assert one["probe/stage1/linear"] != other["probe/stage1/linear"]


def test_floors_on_a_part_of_the_test_images_are_other_floors(train):
    train(*MORE, "dataset.test_size=600")
    found = [
        probe(path) for path in train(*MORE, "dataset.test_size=600", "trainer.limit_test_batches=1").run_dirs
    ]
    assert sorted(one["images"]["test"] for one in found) == [500, 600]
    for one in found:
        for kind in ("z", "pca", "pixels"):
            assert sum(map(sum, one["features"][kind]["confusion"])) == one["images"]["test"]


@pytest.mark.parametrize(
    ("dataset", "line"),
    [
        ({"classes": [1]}, "all its images are of one class, rectangle; a probe needs two or more"),
        ({"train_size": 9, "batch_size": 9}, "it has 9 training images, fewer than the 10 neighbours"),
    ],
)
def test_data_that_cannot_be_probed_are_one_line(trained, lab, dataset, line):
    answer = trained("trainer.max_epochs=1")
    answer.record["config"]["dataset"].update(dataset)
    answer.record["data"]["sha256"] = sha256_of(answer.record["config"]["dataset"])
    (answer.run_dir / "result.json").write_text(json.dumps(answer.record))
    status, _, err = lab("probe", answer.run_dir)
    assert status == 1
    assert line in err
    assert answer.run_dir.name in err
    assert err.count("\n") == 1
    assert not (answer.run_dir / "probe.json").exists()


def test_a_mean_image_has_no_code(train):
    answer = train("model=pca", "model.latent=0", *MORE, tiny=False)
    with pytest.raises(UserError, match="z: the same for every training image"):
        probe(answer.run_dir)


def test_a_constant_code_is_named(trained):
    answer = trained("trainer.max_epochs=1", "dataset.image_size=16")
    path = answer.run_dir / "checkpoints" / "best.ckpt"
    saved = torch.load(path, weights_only=True)
    for key, value in saved["state_dict"].items():
        if "to_latent" in key:
            value.zero_()
    torch.save(saved, path)
    with pytest.raises(UserError, match="z: the same for every training image, or not finite"):
        probe(answer.run_dir)

"""What a run is known by: fingerprints of earlier releases, which must stay."""

import json
from base64 import b64decode
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from toys import config

from caelab.composition import compose
from caelab.config.fingerprint import fingerprint
from caelab.runs.record_file import ARCHIVE

RECORDS = Path(__file__).parents[2] / "docs/results/runs"

# an RGB picture of one pixel
PICTURE = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
CALLBACK = "{_target_: mine.Stop, file: '${paths.data}/x', patience: 3}"
# overrides -> first digits of the fingerprint
FROZEN = {
    (): "e0020db83ecc20ed",
    (
        "paths.data=/other",
        "paths.output=runs",
        "force=true",
        "+trainer.enable_progress_bar=false",
    ): "e0020db83ecc20ed",
    ("dataset.data_dir=/other",): "6ad342e1317bec88",
    ("dataset=cinic10", "dataset.archive=CINIC-10.tar.gz"): "7fc0cbcc8916a64e",
    ("dataset=cinic10", "dataset.root=pictures"): "2a92080c78cbc59c",
    ("dataset=folder", "dataset.path=pictures"): "ffb7c7043edc52ed",
    ("dataset=folder", "dataset.path=pictures", "dataset.fit=crop", "dataset.index=null"): "ffb7c7043edc52ed",
    ("dataset=folder", "+paths.photos=pictures", "dataset.path=${paths.photos}"): "ffb7c7043edc52ed",
    ("dataset=folder", "+paths.photos=missing", "dataset.path=${paths.photos}/all"): "4561a771f05b177f",
    ("dataset=folder", "dataset.path=missing/all"): "5eb39a8c6bdc41f7",
    (
        "dataset._target_=mine.Dataset",
        "+dataset.folders=[pictures,multirun,'${paths.output}']",
    ): "7bed134bf47cb40a",
    (
        "model.latent=${dataset.batch_size}",
        "+trainer.log_every_n_steps=${seed}",
        "seed=7",
    ): "b75e2174764435c0",
    ("model=pca", "model.refine=0", "model.shrinkage=none"): "60e4a6850dd5a73f",
    (
        "model.latent=64",
        "speed=auto",
        "flip=true",
        "ema=0.9",
        "scheduler=cosine",
        "corruption=blur",
    ): "7040f6f7a49908a4",
    (f"+trainer.callbacks=[{CALLBACK}]",): "85447f5bb858f05a",
}


@pytest.mark.parametrize(
    "change",
    [
        {"paths__data": "/b"},
        {"paths__output": "elsewhere"},
        {"logger": {}},
        {"force": True},
        {"keep": "none"},
        {"dataset__archive": "x.tar.gz"},
        {"trainer__enable_progress_bar": False},
    ],
)
def test_fingerprint_ignores_what_cannot_change_a_figure(change):
    assert compose.identity(config(**change)) == compose.identity(config())


@pytest.mark.parametrize("change", [{"seed": 1}, {"model__latent": 9}, {"trainer__max_epochs": 3}])
def test_fingerprint_follows_what_matters(change):
    assert compose.identity(config(**change)) != compose.identity(config())


def test_fingerprint_does_not_know_where_hydra_keeps_a_job():
    node = {"_target_": "mine.Callback", "dirpath": "${hydra:runtime.output_dir}/mine"}
    identity = compose.identity(config(callbacks={"mine": node}))  # which Hydra has not told anybody here
    assert identity == compose.identity(config(callbacks={"mine": node}))
    assert identity != compose.identity(config(callbacks={"mine": node | {"dirpath": "mine"}}))


@pytest.mark.parametrize("change", [{"seeds": 5}, {"budget": "quick"}, {"study": {"title": "x"}}])
def test_fingerprint_does_not_know_what_asked_for_the_run(change):
    assert compose.identity(config(**change)) == compose.identity(config())


def test_fingerprint_follows_the_files_of_a_folder(tmp_path):
    (tmp_path / "one.png").write_bytes(b"1")
    cfg = config(dataset__path=str(tmp_path), paths__data=str(tmp_path / ".data"))
    first = compose.identity(cfg)
    assert compose.identity(cfg) == first
    (tmp_path / "two.png").write_bytes(b"2")
    second = compose.identity(cfg)
    (tmp_path / "two.png").write_bytes(b"22")
    assert len({first, second, compose.identity(cfg)}) == 3


# of runs on record, which the same words must find again
ON_RECORD = {
    "model=base dataset=mnist": "22ef97806c2fe4d14cc72bcfdf2fa58e145f4eaac2efe899a5ab2cfad21a36c7",
    "model=improved_skip dataset=cifar10 seed=2": (
        "59de3cfcbd3c8f6a860129b758473751dd56760a97286825f0a6ccc03efe32cb"
    ),
    "model=improved dataset=cifar10 loss=l1_mse loss.alpha=0.1": (
        "6fe2ab40a950bee44ff5ceb9ffdb02499939cdf293c3bf6c9d8fe469587514fd"
    ),
    "model=honest_skip model.skip_dropout=0 model.budget=512 dataset=mnist": (
        "334660cba01f960a37f3496fa1f6679794265a656ea9733cae923501873567d7"
    ),
    "model=residual dataset=cifar10 dataset.batch_size=64 trainer.max_epochs=16 optimizer=adamw "
    "optimizer.lr=1.5e-3 scheduler=cosine flip=true ema=0.999 speed=auto +trainer.gradient_clip_val=0.01": (
        "f07f4d6411c36e10dad6cc8e41d043e07e8461b7f180b2fb33645ebd96f10823"
    ),
    "model=auto_decoder model.latent=2048 bottleneck=entropy bottleneck.price=0.003 optimizer=muon "
    "scheduler=cosine flip=true ema=0.998 speed=auto dataset=cifar10 dataset.batch_size=64 "
    "+trainer.gradient_clip_val=0.01 "
    "trainer.max_epochs=4 +trainer.check_val_every_n_epoch=4 +trainer.limit_val_batches=4": (
        "6a5b88458b7c83b338db160df603d70efe5979169789380ad82589a940cb416f"
    ),
}


@pytest.mark.parametrize("words", ON_RECORD)
def test_fingerprints_on_record_stay(words):
    common = ["loss=mse", "optimizer=adam", "dataset.batch_size=256", "trainer.max_epochs=10"]
    own = {word.partition("=")[0] for word in words.split()}
    cfg, _ = compose.config([*(o for o in common if o.partition("=")[0] not in own), *words.split()])
    assert compose.identity(cfg) == ON_RECORD[words]


def test_fingerprint_leaves_the_config_alone():
    cfg = config()
    before = OmegaConf.to_yaml(cfg)
    compose.identity(cfg)
    assert OmegaConf.to_yaml(cfg) == before


@pytest.fixture
def _pictures(tmp_path, monkeypatch):
    """Folders in the working directory: one of pictures, and one that runs are written to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAELAB_DATA", str(tmp_path / "data"))
    for name in ("pictures/a/one.png", "pictures/a/two.png", "pictures/three.png", "multirun/four.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(PICTURE)


@pytest.mark.usefixtures("_pictures")
@pytest.mark.parametrize("words", FROZEN, ids=" ".join)
def test_fingerprints_stay(words):
    cfg, _ = compose.config(["logger=none", *words])
    assert compose.identity(cfg)[:16] == FROZEN[words]


def test_records_in_docs_have_the_fingerprint_of_their_config():
    lines = [json.loads(line) for path in RECORDS.rglob(ARCHIVE) for line in path.read_text().splitlines()]
    assert len(lines) > 600
    for line in lines:
        record = line["result.json"]
        config, folder = record["config"], record["config"]["paths"]["data"]
        if "path" in config["dataset"]:
            continue  # known by the content of pictures that are not here
        assert config["dataset"]["data_dir"] == folder
        config["dataset"]["data_dir"] = "data"
        assert fingerprint(config) == record["fingerprint"], line["run"]


def test_a_run_is_known_by_what_chooses_its_checkpoint():
    assert compose.identity(config(select="val/psnr")) == compose.identity(config())
    assert compose.identity(config(select="val/ssim")) != compose.identity(config())


def test_a_run_is_known_by_what_it_is_measured_by_in_any_order():
    plain = compose.identity(config())
    for names in (["psnr", "ssim"], ["ssim", "mse"], []):
        assert compose.identity(config(metrics=names)) == plain
    more = {
        compose.identity(config(metrics=names))
        for names in (["gmsd", "ms_ssim"], ["ms_ssim", "psnr", "gmsd"])
    }
    assert len(more) == 1
    assert plain not in more

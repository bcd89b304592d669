"""Debugging: one word makes a run short, repeats one batch, or says where its time goes."""

import csv
import json

from caelab.composition import compose
from caelab.data.datamodule import EVALUATION_BATCH


def test_fast_takes_one_batch_of_each_split_and_does_so_each_time(train, tmp_path):
    words = ["debug=fast", "trainer.accelerator=cpu", "dataset.val_size=700", "dataset.test_size=600"]
    first, second = (train("model=base", *words, tiny=False) for _ in range(2))
    (path,) = (tmp_path / "debug").rglob("result.json")
    record = json.loads(path.read_text())
    assert first.status == second.status == 0
    assert "finished before" not in second.out
    assert not first.output.exists()
    assert (record["time"]["epochs"], record["time"]["steps"], record["time"]["images_per_epoch"]) == (
        1,
        1,
        32,
    )
    assert [record["data"][split] for split in ("val", "test")] == [EVALUATION_BATCH] * 2


def test_overfit_ends_when_its_one_batch_is_learnt(train, tmp_path):
    small = [
        "model=base",
        "model.channels=[4,8]",
        "model.hidden=[]",
        "model.latent=8",
        "dataset.test_size=50",
    ]
    looks = ["callbacks.learnt.stopping_threshold=0.05", "trainer.check_val_every_n_epoch=2"]
    more = ["trainer.max_epochs=60", "trainer.accelerator=cpu"]
    answer = train("debug=overfit", *small, *looks, *more, tiny=False)
    assert answer.status == 0
    (path,) = (tmp_path / "debug").rglob("result.json")
    record = json.loads(path.read_text())
    with (path.parent / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file)]
    looked = losses[1::2]
    assert looked[-1] <= 0.05 < min(looked[:-1])
    assert record["data"]["train"] == 32
    assert 2 < record["time"]["steps"] == record["time"]["epochs"] == 2 * len(looked) < 60


def test_profile_says_where_the_time_goes(train, tmp_path):
    assert train("debug=profile").status == 0
    (log,) = (tmp_path / "debug").rglob("train.log")
    assert "[Strategy]SingleDeviceStrategy.training_step" in log.read_text()


def test_debugging_wins_over_an_experiment():
    cfg, choices = compose.config(["debug=fast", "experiment=residual"])
    assert (choices["model"], cfg.trainer.max_epochs, cfg.dataset.batch_size) == ("residual", 1, 64)

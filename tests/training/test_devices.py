"""One run on several devices: each process its share of every batch, and the figures of one process."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from tiny import TINY

from caelab.data.datamodule import Batches, Place, Split
from caelab.data.shapes import Shapes
from caelab.errors import UserError

# Without batch norm, whose statistics are each process's own on a CPU; and with uneven last batches.
PLAIN = [o for o in TINY if not o.startswith(("model.channels", "dataset.batch_size"))]
PLAIN += ["model.channels=[4]", "dataset.batch_size=31", "trainer.max_epochs=3"]
TWO = ["trainer.devices=2", "trainer.strategy=ddp"]


def call(environment, tmp_path, *overrides, start=("caelab.train",)):
    command = [sys.executable, "-m", *start, *overrides, f"paths.output={tmp_path}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, cwd=tmp_path)


@pytest.mark.slow
def test_two_processes_end_where_one_does(environment, tmp_path):
    records, weights = {}, {}
    for name, more in (("one", []), ("two", TWO)):
        (tmp_path / name).mkdir()
        start = ("caelab", "train") if more else ("caelab.train",)  # the second process starts it again
        done = call(environment, tmp_path / name, *PLAIN, *more, start=start)
        assert done.returncode == 0, done.stderr
        (path,) = (tmp_path / name).rglob("result.json")
        records[name] = json.loads(path.read_text())
        checkpoint = torch.load(path.parent / "checkpoints" / "last.ckpt", weights_only=True)
        weights[name] = checkpoint["state_dict"]
        assert len((path.parent / "metrics.csv").read_text().splitlines()) == 1 + 3
        assert done.stdout.count("epoch 3/3") == 1
    for key, value in records["one"]["metrics"].items():
        assert records["two"]["metrics"][key] == pytest.approx(value, rel=1e-4), key
    for key, value in weights["one"].items():
        torch.testing.assert_close(weights["two"][key], value, rtol=1e-4, atol=1e-5)
    assert records["two"]["environment"]["devices"] == 2
    assert records["two"]["time"]["steps"] == records["one"]["time"]["steps"] == 3 * 4
    again = call(environment, tmp_path / "two", *PLAIN, *TWO)
    assert "finished before" in again.stdout


def test_every_image_goes_to_one_process():
    images = torch.arange(103, dtype=torch.uint8).reshape(103, 1, 1, 1)
    split = Split(images, torch.zeros(103, dtype=torch.int64), torch.arange(103))
    shares = [Batches(split, 10, place=Place(rank=rank, processes=4)) for rank in range(4)]
    seen = [[batch.flatten().tolist() for batch in share] for share in shares]
    assert [len(one) for one in seen] == [len(share) for share in shares] == [11, 11, 11, 10]
    assert sorted(sum((sum(one, []) for one in seen), [])) == list(range(103))
    assert seen[1][0] == [1, 5, 9]
    assert shares[0].images(0) == 10
    assert shares[0].images(10) == 3


@pytest.mark.slow
def test_a_batch_with_too_few_images_is_named(environment, tmp_path):
    plain = [o for o in PLAIN if "batch_size" not in o]
    done = call(environment, tmp_path, *plain, *TWO, "dataset.batch_size=95")
    assert done.returncode == 1
    assert "dataset.batch_size=95: a batch of 1 images is too few for 2 devices" in done.stderr


@pytest.mark.parametrize(("size", "devices", "least"), [(1, 2, 1), (95, 2, 1), (47, 3, 2), (94, 2, None)])
def test_the_smallest_batch_needs_an_image_a_device(tmp_path, size, devices, least):
    data = Shapes(data_dir=str(tmp_path), batch_size=size, train_size=96, val_size=10, test_size=10)
    data.setup("fit")
    place = {"strategy": SimpleNamespace(root_device=torch.device("cpu")), "global_rank": 0}
    data.trainer = SimpleNamespace(**place, world_size=devices, current_epoch=0)
    if least is None:
        assert [len(batch) for batch in data.train_dataloader()] == [47, 1]  # of 94, and of 2
        return
    words = f"batch_size={size}: a batch of {least} images is too few for {devices} devices"
    with pytest.raises(UserError, match=words):
        data.train_dataloader()

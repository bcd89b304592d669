"""What the check of an export compares, and what it lets pass."""

import pytest
import torch
from toys import images, leave_whole_run

from caelab.errors import UserError
from caelab.export import check as module
from caelab.export.check import check, difference, speed
from caelab.export.formats import FORMATS, metadata
from caelab.export.parts import parts
from caelab.inference import restore
from caelab.runs import results

BASE = {"_target_": "caelab.models.base.Base", "latent": 6, "channels": [2, 3], "hidden": []}


def off(by, only=None):
    """What is wrong by that much, in batches of that size only or in all."""
    return lambda given: (given[0] + by * (only in (None, len(given[0]))),)


@pytest.mark.parametrize(
    ("scale", "by", "only", "want"),
    [
        (1, 0.25, None, 0.25),  # all numbers are within [0, 1]: the plain difference
        (50, 0.25, None, 0.005),  # divided by 50, the largest
        (1, 0.25, 1, 0.25),  # wrong where an image is alone
        (1, 0.25, 4, 0.25),  # wrong in the whole batch
        (1, 0.25, 3, 0.0),
        (1, torch.nan, None, torch.inf),
    ],
)
def test_differences(scale, by, only, want):
    x = torch.ones(4, 2) * scale
    assert difference(off(0), off(by, only), (x,)) == pytest.approx(want, rel=1e-5)


def test_an_output_of_another_shape_is_no_number():
    with pytest.raises(ValueError, match=r"an output is \(3, 1\) in place of \(3, 2\)"):
        difference(off(0), lambda given: (given[0][:, :1],), (torch.ones(3, 2),))


def test_speed_is_the_median_of_passes(monkeypatch):
    clock = [0.0]
    seconds = iter([9.0, 0.1, 0.2, 0.4, 5.0])  # the first is not counted; the last goes beyond the end
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(module, "SECONDS", 1.0)

    def run(given):
        clock[0] += next(seconds)
        return given

    assert speed(run, (torch.zeros(8, 1),)) == pytest.approx(8 / 0.4)  # of 0.1, 0.2, 0.4, 5


@pytest.fixture
def written(tmp_path):
    """A folder with a network's weights, the network's parts, and its file."""
    run = leave_whole_run(tmp_path / "run", BASE)
    pieces = list(parts(restore.load(run)))
    ((name, content),) = FORMATS["safetensors"].write(pieces, metadata(results.finished(run)))
    (tmp_path / name).write_bytes(content)
    return tmp_path, pieces, tmp_path / name


def test_an_intact_file_is_measured(written):
    folder, pieces, path = written
    found = check(folder, FORMATS["safetensors"], pieces, images(3, (3, 28, 28)))
    assert [one.part for one in found] == ["encoder", "decoder", "autoencoder"]
    assert [one.difference for one in found] == [0.0] * 3
    assert {one.megabytes for one in found} == {path.stat().st_size / 1e6}
    assert all(one.speed > 0 < one.original for one in found)


def test_weights_that_changed_are_named(written):
    folder, pieces, path = written
    weight = pieces[-1].module.state_dict()["to_latent.0.weight"].numpy().tobytes()
    path.write_bytes(path.read_bytes().replace(weight, bytes(8) + weight[8:]))
    with pytest.raises(
        UserError, match="the encoder in autoencoder.safetensors differs from the network by 0"
    ):
        check(folder, FORMATS["safetensors"], pieces, images(3, (3, 28, 28)))


def test_a_file_cut_short_is_named(written):
    folder, pieces, path = written
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        UserError, match=r"autoencoder.safetensors cannot be read back \(.+\): nothing is exported"
    ):
        check(folder, FORMATS["safetensors"], pieces, images(3, (3, 28, 28)))

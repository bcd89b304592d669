"""FID over a network of random weights that stands for Inception, against the same by hand."""

import json

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from toys import leave_run

from caelab.analysis.sample import features, inception
from caelab.runs import results

WEIGHTS = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))


class StandIn(nn.Module):
    """Five numbers of an RGB image of any size."""

    num_features = 5

    def forward(self, images):
        assert images.shape[1:2] == (3,)
        assert images.dtype == torch.uint8
        return nn.functional.adaptive_avg_pool2d(images.float() / 255, 2).flatten(1) @ WEIGHTS


def by_hand(real, made):
    """From the definition, with SciPy's root of a matrix."""
    a, b = (StandIn()(x.repeat(1, 3 // x.shape[1], 1, 1)).double().numpy() for x in (real, made))
    (m, c), (n, d) = ((x.mean(0), np.cov(x.T)) for x in (a, b))
    return np.square(m - n).sum() + np.trace(c + d - 2 * scipy.linalg.sqrtm(c @ d).real)


def images(count, channels, seed, high=256):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, high, (count, channels, 8, 6), generator=generator, dtype=torch.uint8)


@pytest.fixture
def metric():
    return FrechetInceptionDistance(StandIn(), reset_real_features=False)


@pytest.fixture
def command(lab):
    """Call ``caelab sample``: exit status, stdout, lines of stderr."""

    def call(*words):
        status, out, err = lab("sample", *words)
        return status, out, err.splitlines()

    return call


@pytest.fixture
def there(monkeypatch):
    monkeypatch.setattr(inception, "installed", lambda package: True)


@pytest.mark.parametrize("channels", [1, 3])
def test_fid_is_that_of_the_definition_for_one_set_after_another(metric, channels):
    real, near, far = (
        images(n, channels, seed, high) for n, seed, high in ((130, 0, 256), (60, 1, 256), (70, 2, 99))
    )
    fid = inception.Fid(metric, torch.split(real, 55), torch.device("cpu"))
    assert fid([near]) == pytest.approx(by_hand(real, near), rel=1e-4)
    assert fid(torch.split(far, 60)) == pytest.approx(by_hand(real, far), rel=1e-4)
    assert fid([real]) == pytest.approx(0, abs=1e-5)
    assert 0 < 10 * by_hand(real, near) < by_hand(real, far)


def test_images_of_more_than_8_bits_are_seen_as_bytes(metric):
    real, other = images(60, 1, 0), images(60, 1, 1, 99)
    fid = inception.Fid(metric, [real / 255], torch.device("cpu"))
    assert fid([other / 255]) == pytest.approx(by_hand(real, other), rel=1e-4)


def test_samples_have_a_fid_on_the_screen_and_on_record(tmp_path, command, monkeypatch, metric):
    monkeypatch.setattr(features, "STEPS", 2)
    monkeypatch.setattr(inception, "metric", lambda: metric)
    run = leave_run(tmp_path / "one")
    status, out, _ = command(run, "--prior", "normal", "--fid")
    assert status == 0
    found = json.loads((run / "sample.json").read_text())
    assert results.analyses(run, results.read(run)) == found["figures"]
    (head,) = [line for line in out.splitlines() if "Fréchet distance" in line and "precision" in line]
    assert [cell.strip() for cell in head.split("┃")[1:4]] == ["images", "Fréchet distance", "FID"]
    for name, key in (("samples, normal prior", "normal"), ("test images", "images")):
        (line,) = [line for line in out.splitlines() if line.startswith(f"│ {name}")]
        assert line.split("│")[3].strip() == f"{found['figures'][f'sample/fid_{key}']:.2f}"


def test_weights_that_are_missing_or_others_are_told_before_data_are_read(
    tmp_path, command, monkeypatch, there
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("caelab.analysis.runner.Subject.data", None)
    run = leave_run(tmp_path / "one")
    status, _, lines = command(run, "--fid")
    file = tmp_path / "hub/checkpoints/weights-inception-2015-12-05-6726825d.pth"
    need = f"--fid needs the weights of Inception; put {inception._URL} there"
    assert (status, lines) == (1, [f"caelab: {file} is missing: {need}"])
    file.parent.mkdir(parents=True)
    file.write_bytes(b"other")
    status, _, lines = command(run, "--fid")
    assert (status, lines) == (1, [f"caelab: {file} is damaged, or another file: {need}"])


def test_the_missing_library_is_named(tmp_path, command, monkeypatch):
    monkeypatch.setattr(inception, "installed", lambda package: package != "torch-fidelity")
    status, _, lines = command(leave_run(tmp_path / "one"), "--fid")
    message = "--fid: torch-fidelity is not installed; pip install 'caelab[fid]'"
    assert (status, lines) == (1, [f"caelab: {message}"])


def test_multispectral_images_have_no_fid(tmp_path, command):
    run = leave_run(tmp_path / "one")
    record = json.loads((run / "result.json").read_text())
    record["data"]["shape"] = [5, 16, 16]
    (run / "result.json").write_text(json.dumps(record))
    status, _, lines = command(run, "--fid")
    assert (status, len(lines)) == (1, 1)
    assert "one: its images have 5 channels; --fid takes grey or RGB images" in lines[0]

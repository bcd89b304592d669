"""The classifier whose features are compared: trained once for a dataset, and kept."""

import pytest
import torch

from caelab.analysis.sample import features
from caelab.analysis.sample.features import WIDTHS, Classifier, classifier, trained
from caelab.data.datamodule import ImageDataModule, Split


class Stripes(ImageDataModule):
    """Noise with a bright upper or left half, by class; the halves of a run are not its dataset's."""

    name = "stripes"
    class_names = ("upper", "left")
    shape = (1, 9, 9)

    def load(self):
        n = 60
        images = torch.randint(0, 60, (2 * n, 1, 9, 9), generator=torch.manual_seed(0), dtype=torch.uint8)
        labels = torch.arange(2 * n) % 2
        images[labels == 0, :, :4] += 150
        images[labels == 1, :, :, :4] += 150
        rows = torch.arange(2 * n)
        return {"train": Split(images, labels, rows[:n]), "val": Split(images, labels, rows[n:])}, "ab" * 32


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr(features, "STEPS", 15)


def test_it_learns_what_it_is_shown_and_is_always_the_same():
    splits, _ = Stripes("/nowhere").load()
    net, again = trained(splits["train"], 2), trained(splits["train"], 2)
    assert all(torch.equal(one, again.state_dict()[name]) for name, one in net.state_dict().items())
    x = net.read([splits["val"][:40], splits["val"][40:]])
    assert x.shape == (60, WIDTHS[-1])
    assert net.accuracy(x, splits["val"].targets) > 0.95
    assert not net.training


def test_features_are_those_before_the_last_layer():
    net = Classifier(3, 5).eval()
    images = torch.randint(0, 256, (4, 3, 13, 10), dtype=torch.uint8)
    x = images.float() / 255
    for stage in net.stages:
        x = stage(x)
    assert x.shape == (4, WIDTHS[-1], 2, 2)  # halved three times, rounding up
    torch.testing.assert_close(net.features(images), x.mean((2, 3)))
    torch.testing.assert_close(net(images), net.features(images) @ net.head.weight.T + net.head.bias)


def test_it_is_trained_once_for_all_runs_on_a_dataset(tmp_path, monkeypatch, capfd):
    first = classifier(Stripes(str(tmp_path)))
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("features-stripes-")
    monkeypatch.setattr(features, "trained", lambda *_: pytest.fail("trained again"))
    fewer = Stripes(str(tmp_path), train_size=20, classes=[1])
    fewer.setup()
    again = classifier(fewer)
    images = fewer.load()[0]["val"][:]
    assert torch.equal(first.features(images), again.features(images))
    assert not again.training


def test_a_damaged_one_is_named_and_trained_anew(tmp_path, capfd):
    first = classifier(Stripes(str(tmp_path))).state_dict()
    (file,) = tmp_path.glob("features-*/cache/head.weight.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    again = classifier(Stripes(str(tmp_path))).state_dict()
    assert "features of stripes" in capfd.readouterr().err
    assert all(torch.equal(first[name], one) for name, one in again.items())


def test_another_recipe_is_another_one(tmp_path, monkeypatch):
    classifier(Stripes(str(tmp_path)))
    monkeypatch.setattr(features, "STEPS", 3)
    classifier(Stripes(str(tmp_path)))
    assert len([*tmp_path.iterdir()]) == 2

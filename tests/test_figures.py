"""Pictures: the right images, and the right figure below each."""

import matplotlib.image
import numpy as np
import pytest
import torch

from caelab import figures
from caelab.corruptions import Blur
from caelab.data.shapes import Shapes
from caelab.models.pca import PCA
from caelab.quality import mse, psnr


def test_first_of_each_class_in_the_order_of_the_classes(tmp_path):
    data = Shapes(str(tmp_path), train_size=300, val_size=10, test_size=40)
    data.setup()
    net = PCA(data.shape, 4)
    net.initialise(data.splits["train"])
    blur = Blur(1.0)
    originals, corrupted, reconstructed = figures.first_of_each_class(data, net, blur)
    test, labels = data.splits["test"], data.splits["test"].targets.tolist()
    firsts = [labels.index(label) for label in (0, 1, 2)]
    assert torch.equal(originals, test[torch.tensor(firsts)].float() / 255)
    assert torch.equal(corrupted, blur(originals, None))
    assert torch.equal(reconstructed, net(corrupted))


def test_kept_images_are_whole_grey_levels(tmp_path):
    levels = torch.arange(256).reshape(1, 1, 16, 16)
    near = (levels + 0.4).clamp(0, 255) / 255
    figures.keep(tmp_path / "x.npz", originals=levels / 255, reconstructions=near)
    with np.load(tmp_path / "x.npz") as kept:
        assert kept["originals"].dtype == np.uint8
        assert np.array_equal(kept["originals"], levels.numpy())
        assert np.array_equal(kept["reconstructions"], levels.numpy())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_shows_originals_and_each_row(tmp_path, channels):
    originals = torch.rand(4, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    path = figures.reconstructions(tmp_path / "x.png", originals, {"a": originals * 0.5, "b": originals * 0})
    picture = matplotlib.image.imread(path)
    assert picture.shape[1] > 4 * 50
    assert picture.shape[0] > 3 * 50
    assert picture[..., :3].min() == 0


def test_psnr_below_each_image():
    x = torch.full((2, 1, 11, 11), 0.5)
    x_hat = x + torch.tensor([0.1, 0.01]).reshape(2, 1, 1, 1)
    assert psnr(mse(x_hat, x)).tolist() == pytest.approx([20.0, 40.0], abs=1e-3)

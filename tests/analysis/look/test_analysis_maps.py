"""Maps keep near what is near, and repeat themselves."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from caelab.analysis import look
from caelab.analysis.look import maps
from caelab.errors import installed

pytestmark = [
    pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning"),  # umap's
]

INSTALLED = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name == "umap" and not installed("umap-learn"), reason="umap-learn is not installed"
        ),
    )
    for name in maps.METHODS
]


def test_the_command_knows_every_map():
    assert list(look.MAPS) == list(maps.METHODS)


def groups(latent=7):
    """Two groups far from each other, 25 points each."""
    z = np.random.default_rng(0).normal(size=(50, latent))
    z[25:] += 40
    return z


@pytest.mark.parametrize("method", INSTALLED)
@pytest.mark.parametrize("latent", [1, 7])
def test_groups_stay_apart(method, latent):
    points = maps.project(groups(latent), method, seed=0)
    assert points.shape == (50, 2)
    assert np.isfinite(points).all()
    centres = points[:25].mean(0), points[25:].mean(0)
    own, other = (np.linalg.norm(points[:25] - centre, axis=1) for centre in centres)
    assert (own < other).all()


@pytest.mark.parametrize("method", INSTALLED)
def test_the_same_seed_gives_the_same_map(method):
    np.testing.assert_array_equal(maps.project(groups(), method, 3), maps.project(groups(), method, 3))


def test_pca_keeps_distances_in_a_plane():
    plane = np.random.default_rng(1).normal(size=(20, 2))
    z = plane @ np.array([[0.6, 0.8, 0, 0], [0, 0, 1, 0]])
    np.testing.assert_allclose(pdist(maps.project(z, "pca", 0)), pdist(plane))


def test_fewer_images_than_perplexity():
    assert maps.project(groups()[:10], "tsne", 0).shape == (10, 2)


def test_an_unknown_method_is_told_with_the_nearest():
    with pytest.raises(ValueError, match="there is no such map; did you mean 'tsne'"):
        look.map_method("tnse")


def test_what_is_installed_goes_by_its_name_in_the_registry():
    assert installed("scikit-learn")
    assert not installed("sklearn-of-another-name")


def test_umap_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr(look, "installed", lambda package: package != "umap-learn")
    with pytest.raises(ValueError, match=r"pip install 'caelab\[umap\]', or take --map tsne"):
        look.map_method("umap")

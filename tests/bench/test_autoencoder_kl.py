"""The bar of codes that keep their place: as many numbers as ``spatial``, all that its decoder gets."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from tiny import TINY

from caelab.bench import autoencoder_kl
from caelab.bench.autoencoder_kl import AutoencoderKL
from caelab.config import CONF
from caelab.config.source import digests
from caelab.errors import UserError
from caelab.models.spatial import Spatial

SMALL = {"channels": (8, 8, 8, 16), "latent_channels": 3}


@pytest.fixture
def _there():
    pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'caelab[bench]'")


@pytest.mark.usefixtures("_there")
def test_it_has_as_many_numbers_as_spatial_and_at_most_three_million_weights():
    net = instantiate(OmegaConf.load(Path(CONF, "model", "autoencoder_kl.yaml")), shape=(3, 64, 64))
    assert net.latent == Spatial((3, 64, 64)).latent == 768
    assert net.size == sum(p.numel() for p in net.parameters()) < 3_000_000


@pytest.mark.usefixtures("_there")
@pytest.mark.parametrize(("shape", "latent"), [((3, 64, 64), 192), ((1, 28, 30), 48), ((3, 37, 16), 30)])
def test_any_size_and_every_weight_learns(shape, latent):
    torch.manual_seed(0)
    net, x = AutoencoderKL(shape, **SMALL), torch.rand(2, *shape)
    x_hat = net(x)
    assert net.latent == latent
    assert net.encode(x).z.shape == (2, latent)
    assert x_hat.shape == x.shape
    assert 0 <= x_hat.min() < x_hat.max() <= 1
    (x_hat - x).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


@pytest.mark.usefixtures("_there")
def test_another_size_has_these_very_weights():
    net = AutoencoderKL((3, 16, 16), **SMALL).eval()
    x = torch.rand(1, 3, 24, 40)
    larger = net.at((3, 24, 40))
    assert (net.latent, larger.latent) == (12, 45)
    moments = net.encoder(2 * x - 1)  # (1, 3, 3, 5)
    expected = (0.5 + 0.5 * net.decoder(moments)).clamp(0, 1)
    assert torch.allclose(larger(x), expected, atol=1e-6)
    assert larger.encode(x).z[0, 3:6].tolist() == moments[0, :, 0, 1].tolist()


@pytest.mark.usefixtures("_there")
def test_its_decoder_gets_its_code_only():
    net, x = AutoencoderKL((3, 16, 16), **SMALL).eval(), torch.rand(4, 3, 16, 16)
    code, x_hat = net.encode(x), net(x)
    net.encode(1 - x)  # what it leaves behind must not matter
    assert torch.allclose(net.decode(code), x_hat, atol=1e-5)


@pytest.mark.usefixtures("_there")
@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"channels": (8, 12)}, r"channels must be multiples of 8, got \(8, 12\)"),
        ({"channels": ()}, r"channels must be multiples of 8, got \(\)"),
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"latent_channels": 0}, "latent_channels must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused(given, line):
    with pytest.raises(ValueError, match=line):
        AutoencoderKL((3, 16, 16), **given)


def test_without_diffusers_a_line_names_the_extra(monkeypatch, train):
    monkeypatch.setattr(autoencoder_kl, "find_spec", lambda name: None)
    rest = (word for word in TINY if not word.startswith("model"))
    answer = train("model=autoencoder_kl", *rest, tiny=False)
    assert answer.status
    assert "diffusers is not installed; pip install 'caelab[bench]'" in answer.err
    with pytest.raises(UserError):
        AutoencoderKL((3, 16, 16))


def test_its_code_counts_although_the_benchmark_acts_on_no_other_run():
    target = "caelab.bench.autoencoder_kl.AutoencoderKL"
    assert list(digests({"model": {"_target_": target}})) == [target]
    assert not digests({"model": {"_target_": "caelab.models.spatial.Spatial"}})

"""The contract that every YAML of conf/bottleneck keeps; each kind has a test file of its own."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from caelab.bottlenecks.bottleneck import Crossing, Discrete
from caelab.config import options
from caelab.draws import keys

CONF = Path(__file__).parents[2] / "conf"
NAMES = sorted(path.stem for path in (CONF / "bottleneck").glob("*.yaml"))
LATENT = 80


def build(name, latent=LATENT, seed=0, **overrides):
    torch.manual_seed(seed)
    made = kind(name, **overrides)(latent)
    if made.needs_places:
        made.grid = 4, 5
        made.at_places(latent // 20)
    return made


def kind(name, **overrides):
    return instantiate(options.node("bottleneck", CONF / "bottleneck" / f"{name}.yaml"), **overrides)


def network(model, name, shape=(3, 32, 32), seed=0):
    torch.manual_seed(seed)
    node = OmegaConf.load(CONF / "model" / f"{model}.yaml")
    return instantiate(node, shape=shape, bottleneck=kind(name))


def latents(bottleneck, n=30, seed=0):
    return torch.randn(
        n, bottleneck.asks * LATENT, generator=torch.Generator().manual_seed(seed), requires_grad=True
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_out(name):
    bottleneck = build(name)
    h = latents(bottleneck)
    crossing = bottleneck(h, keys(torch.arange(30), 0))
    assert isinstance(crossing, Crossing)
    assert crossing.z.shape == (30, LATENT)
    assert crossing.z.dtype == torch.float32
    assert crossing.penalty is None or crossing.penalty.shape == (30,)
    assert isinstance(bottleneck, Discrete) == (crossing.indices is not None) == (bottleneck.bits is not None)
    (crossing.z.sum() + (0 if crossing.penalty is None else crossing.penalty.sum())).backward()
    assert h.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_outside_training_nothing_is_drawn(name):
    bottleneck = build(name).eval()
    h = latents(bottleneck)
    once, again = bottleneck(h), bottleneck(h)
    assert torch.equal(once.z, again.z)
    alone = torch.cat([bottleneck(h[n : n + 1]).z for n in range(30)])
    torch.testing.assert_close(alone, once.z)


@pytest.mark.parametrize("name", NAMES)
def test_draws_are_of_the_image_and_its_key(name):
    bottleneck = build(name, **({"noisy": None} if name == "context" else {}))  # it rounds from the start
    h, key = latents(bottleneck).detach(), keys(torch.arange(30), 3)
    there = bottleneck.state_dict()
    there = {name: value.clone() for name, value in there.items()}
    z = bottleneck(h, key).z
    bottleneck.load_state_dict(there)
    assert torch.equal(bottleneck(h, key).z, z)
    if name in ("variational", "tc"):  # an image's draws do not hang on the others of its step
        assert torch.equal(bottleneck(h[7:9], key[7:9]).z, z[7:9])
    if bottleneck.random and name != "mmd":
        assert not torch.equal(bottleneck(h, keys(torch.arange(30), 4)).z, z)


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(build(name), Discrete)])
def test_a_discrete_code_is_its_indices(name):
    bottleneck = build(name).eval()
    crossing = bottleneck(latents(bottleneck))
    assert crossing.indices.shape == (30, bottleneck.tokens, bottleneck.codebooks)
    assert crossing.indices.dtype == torch.int64
    assert 0 <= crossing.indices.min() <= crossing.indices.max() < bottleneck.entries
    torch.testing.assert_close(bottleneck.lookup(crossing.indices), crossing.z)
    tokens = LATENT // bottleneck.dim
    entries = torch.tensor(float(bottleneck.entries))
    assert bottleneck.bits == pytest.approx(float(tokens * bottleneck.codebooks * entries.log2()))


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(build(name), Discrete)])
def test_outside_training_a_token_gets_the_entry_that_the_library_finds(name):
    bottleneck = build(name)
    for seed in range(3):
        bottleneck(latents(bottleneck, seed=seed))
    bottleneck.eval()
    h = latents(bottleneck, seed=9)
    tokens = h.reshape(30, bottleneck.tokens, bottleneck.dim)
    crossing = bottleneck(h)
    z, penalty, indices = bottleneck.quantise(tokens)
    assert torch.equal(crossing.indices, indices)
    assert len(indices.unique()) > 5
    torch.testing.assert_close(crossing.z, z.flatten(1))
    if penalty is not None:
        torch.testing.assert_close(crossing.penalty, penalty)
    crossing.z.sum().backward()  # the encoder's gradient passes straight through
    if name != "fsq":
        assert torch.equal(h.grad, torch.ones_like(h))


def test_usage_and_perplexity():
    bottleneck = build("vq", entries=8, dim=40)
    indices = torch.tensor([[[0], [0]], [[0], [5]]])
    figures = bottleneck.measure(Crossing(torch.zeros(2, LATENT), None, indices))
    assert figures["usage"] == pytest.approx(2 / 8)
    assert figures["perplexity"] == pytest.approx(4 / 3**0.75)  # 2 to the entropy of (3/4, 1/4)


ANYWHERE = [name for name in NAMES if not build(name).needs_places]


@pytest.mark.parametrize("model", ["base", "improved", "improved_skip", "honest_skip", "internal_skip"])
@pytest.mark.parametrize("name", ANYWHERE)
def test_each_network_takes_each_kind(model, name):
    net = network(model, name)
    x = torch.rand(4, *net.shape)
    code = net.encode(x, keys(torch.arange(4), 0)) if net.bottleneck.random else net.encode(x)
    assert code.z.shape == (4, 256)
    assert code.numbers >= 256
    (net.decode(code).sum() + (0 if code.penalty is None else code.penalty.sum())).backward()
    assert all(weight.grad is not None for weight in net.parameters())


@pytest.mark.parametrize(
    ("model", "name"), [("residual", name) for name in ANYWHERE] + [("spatial", name) for name in NAMES]
)
def test_networks_that_start_as_pca_take_each_kind(model, name):
    net = network(model, name)
    net.initialise((torch.rand(300, *net.shape) * 255).to(torch.uint8))
    x = torch.rand(4, *net.shape)
    code = net.eval().encode(x)
    assert code.z.shape == (4, net.latent)
    assert net.decode(code).shape == x.shape


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ANYWHERE])
@pytest.mark.parametrize("model", ["base", "residual"])
def test_a_code_without_places_is_refused_by_those_that_need_them(model, name):
    with pytest.raises(Exception, match="use model=spatial or spatial_auto_decoder"):
        network(model, name)


def test_none_leaves_a_network_as_it_is():
    torch.manual_seed(0)
    plain = instantiate(OmegaConf.load(CONF / "model" / "improved.yaml"), shape=(3, 32, 32))
    same = network("improved", "none")
    assert plain.state_dict().keys() == same.state_dict().keys()
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(plain(x), same(x))


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("noise", {"std": -1}, "std must be at least 0, got -1"),
        ("variational", {"beta": -0.5}, "beta must be at least 0, got -0.5"),
        ("tc", {"beta": "a"}, "beta must be a number, got 'a'"),
        ("mmd", {"weight": float("nan")}, "weight must be a number, got nan"),
        ("topk", {"k": 81}, "k must be a whole number from 1 to 80, the latent, got 81"),
        ("vq", {"dim": 7}, "dim must divide the 80 numbers of the latent, got 7; 4, 5, 8, 10 would"),
        ("vq", {"entries": 1}, "entries must be a whole number, at least 2, got 1"),
        ("vq", {"decay": 1}, "decay must be below 1, got 1"),
        ("rvq", {"codebooks": 1, "dim": 8}, "codebooks must be at least 2, got 1; bottleneck=vq has one"),
        (
            "fsq",
            {"levels": [8, 5, 5]},
            "the number of levels must divide 80, the latent, got 3",
        ),
        ("fsq", {"levels": [8, 2]}, "levels must be whole numbers, each at least 3, got [8, 2]"),
        ("simvq", {"commitment": -1}, "commitment must be at least 0, got -1"),
        ("entropy", {"price": 0}, "price must be above 0, got 0"),
        ("entropy", {"step": -0.1}, "step must be above 0, got -0.1"),
    ],
)
def test_what_is_refused(name, overrides, message):
    with pytest.raises(ValueError, match="^") as error:
        build(name, **overrides)
    assert str(error.value) == message

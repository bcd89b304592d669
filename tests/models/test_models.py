"""The contract that every YAML of conf/model keeps; what is one model's own stands in its own test file."""

import itertools
from pathlib import Path

import pytest
import torch
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

from caelab.models.autoencoder import Autoencoder, Code

CONF = Path(__file__).parents[2] / "conf" / "model"
LEAVES = {path.stem: OmegaConf.load(path) for path in sorted(CONF.glob("*.yaml"))}
# classical has no latent: no autoencoder; a large one is the class of another YAML in another size
NAMES = [name for name, leaf in LEAVES.items() if "latent" in leaf and not name.endswith("_large")]
SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 37, 29)]


def pictures(shape, count=12, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)


def build(name, shape, seed=0, **overrides):
    """The model of a YAML under a seed, initialised from pictures as a run would do it."""
    torch.manual_seed(seed)
    model = instantiate(OmegaConf.load(CONF / f"{name}.yaml"), shape=shape, **overrides)
    model.initialise(pictures(shape))
    return model


def trainable(model):
    return [p for p in model.parameters() if p.requires_grad]


@pytest.mark.parametrize("name", NAMES)
def test_yaml_builds_its_own_class_and_nothing_but_its_options(name):
    config = OmegaConf.load(CONF / f"{name}.yaml")
    model = build(name, (3, 32, 32), latent=8)
    assert type(model) is get_class(config._target_)
    assert isinstance(model, Autoencoder)
    assert type(model).__module__ == f"caelab.models.{name}"
    assert type(model).__name__.lower() == name.replace("_", "")
    assert "shape" not in config
    assert config.latent == 256
    assert len(config) <= 14


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_output_is_a_float32_image_of_the_same_shape(name, shape):
    model = build(name, shape, latent=8)
    x = pictures(shape, 3) / 255
    for mode in (True, False):
        x_hat = model.train(mode)(x)
        assert x_hat.shape == (3, *shape)
        assert x_hat.dtype == torch.float32
        assert 0 <= x_hat.min() < x_hat.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_output_is_float32_under_bfloat16(name):
    model = build(name, (3, 32, 32), latent=8).eval()
    x = pictures((3, 32, 32), 3) / 255
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x_hat = model(x)
    assert x_hat.dtype == torch.float32
    assert (x_hat - model(x)).abs().max() < 0.02
    assert x_hat.unique().numel() > 256  # more than bfloat16 has between 0.5 and 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_every_parameter(name, shape):
    model = build(name, shape, latent=8)
    x = pictures(shape, 4) / 255
    if not trainable(model):
        assert not model(x).requires_grad
        return
    (model(x) - x).square().mean().backward()
    learnt = {key: p for key, p in model.named_parameters() if p.requires_grad and p.numel()}
    still = [key for key, p in learnt.items() if p.grad is None or not p.grad.abs().sum() > 0]
    # Batch norm takes any constant away, so the bias before it has a gradient of rounding errors only.
    assert [key for key in still if not key.endswith(".0.bias")] == []


@pytest.mark.parametrize("name", NAMES)
def test_code_is_z_and_skips_and_counts_its_numbers(name):
    model = build(name, (3, 32, 32), latent=8)
    code = model.encode(pictures((3, 32, 32), 3) / 255)
    assert isinstance(code, Code)
    assert code.z.shape == (3, 8)
    assert all(len(skip) == 3 for skip in code.skips)
    assert code.numbers == 8 + sum(skip.numel() for skip in code.skips) // 3


@pytest.mark.parametrize("name", NAMES)
def test_decoding_depends_on_the_code_alone(name):
    model = build(name, (3, 32, 32), latent=8).eval()
    x, other = (pictures((3, 32, 32), 3, seed) / 255 for seed in (1, 2))
    with torch.inference_mode():
        code = model.encode(x)
        expected = model(x)
        model.encode(other)
        model(other)
        torch.testing.assert_close(model.decode(code), expected, rtol=0, atol=0)
        fresh = build(name, (3, 32, 32), latent=8).eval()  # has seen no image at all
        torch.testing.assert_close(fresh.decode(code), expected, rtol=0, atol=0)
        assert not torch.equal(model(other), expected)


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_carries_everything(name):
    trained, fresh = build(name, (1, 28, 28), latent=8), build(name, (1, 28, 28), seed=9, latent=8)
    trained(pictures((1, 28, 28)) / 255)  # moves the statistics of batch norm
    fresh.load_state_dict(trained.state_dict())
    x = pictures((1, 28, 28), 3) / 255
    torch.testing.assert_close(fresh.eval()(x), trained.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_reconstruct_takes_bytes_and_floats_and_leaves_the_mode_alone(name):
    model = build(name, (3, 32, 32), latent=8)
    images = pictures((3, 32, 32), 3)
    x_hat = model.train().reconstruct(images)
    assert model.training
    torch.testing.assert_close(model.reconstruct((images / 255).double()), x_hat)
    torch.testing.assert_close(model.eval()(images / 255), x_hat)
    assert not x_hat.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_weights_may_have_any_precision(name, dtype):
    model = build(name, (3, 32, 32), latent=8).eval()
    images = pictures((3, 32, 32), 3)
    expected = model.reconstruct(images)
    x_hat = model.to(dtype).reconstruct(images)
    assert x_hat.dtype == torch.float32
    assert (x_hat - expected).abs().max() < (0.02 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(NAMES, 2)))
def test_no_two_models_give_the_same_output_under_one_seed(first, second):
    x = pictures((3, 32, 32), 8) / 255
    outputs = [build(name, (3, 32, 32), latent=8).eval()(x) for name in (first, second)]
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


@pytest.mark.parametrize("latent", [0, -3, 2.5, "abc", None, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_latent_that_cannot_be_is_named(name, latent):
    kind = get_class(OmegaConf.load(CONF / f"{name}.yaml")._target_)
    if latent == kind.least_latent - 1 or type(latent) is not int or latent < 0:
        what = f"at least {kind.least_latent}" if type(latent) is int else "a whole number"
        with pytest.raises(ValueError, match=rf"^latent must be {what}, got {latent!r}$"):
            kind((3, 32, 32), latent=latent)
    else:
        assert kind((3, 32, 32), latent=latent).latent == latent


@pytest.mark.parametrize("shape", [(32, 32), (0, 32, 32), (3, 32, 0)])
@pytest.mark.parametrize("name", NAMES)
def test_a_shape_that_cannot_be_is_named(name, shape):
    with pytest.raises(ValueError, match=r"^shape must be "):
        get_class(OmegaConf.load(CONF / f"{name}.yaml")._target_)(shape, latent=4)

"""Each optimizer's YAML builds its own class with its own rate, and goes downhill."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

CONF = Path(__file__).parents[1] / "conf" / "optimizer"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
CLASSES = {
    "adadelta": torch.optim.Adadelta,
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


def load(name, parameters, **overrides):
    config = OmegaConf.load(CONF / f"{name}.yaml")
    return instantiate(config, **overrides)(parameters)


@pytest.mark.parametrize("name", NAMES)
def test_yaml_builds_its_own_class_with_its_own_rate(name):
    optimizer = load(name, [nn.Parameter(torch.zeros(2))])
    assert type(optimizer) is CLASSES.get(name, type(optimizer))
    assert type(optimizer).__name__.lower() == name
    assert optimizer.param_groups[0]["lr"] == OmegaConf.load(CONF / f"{name}.yaml").lr > 0


def test_the_seven_of_the_report_are_here():
    assert set(CLASSES) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_override_reaches_the_optimizer(name):
    assert load(name, [nn.Parameter(torch.zeros(2))], lr=0.0125).param_groups[0]["lr"] == 0.0125


@pytest.mark.parametrize("name", NAMES)
def test_steps_lower_the_error_of_a_small_autoencoder(name):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8), nn.Sigmoid())
    x = torch.rand(32, 8)
    optimizer = load(name, net.parameters())
    errors = []
    for _ in range(21):
        error = (net(x) - x).square().mean()
        errors.append(error.item())
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert errors[1] < errors[0]
    assert errors[20] < errors[1]


def test_first_adam_step_in_closed_form():
    w = nn.Parameter(torch.tensor([3.0, -2.0, 0.5], dtype=torch.float64))
    start = w.detach().clone()
    optimizer = load("adam", [w])
    w.square().sum().backward()
    optimizer.step()
    gradient = 2 * start + 1e-5 * start  # weight decay as published, added to the gradient
    expected = start - 1e-3 * gradient / (gradient.abs() + 1e-8)  # both moments corrected: g / |g|
    torch.testing.assert_close(w.detach(), expected, rtol=1e-12, atol=0)


def test_first_two_sgd_steps_in_closed_form():
    w = nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    start = w.detach().clone()
    optimizer = load("sgd", [w], lr=0.1, weight_decay=0)
    for _ in range(2):
        optimizer.zero_grad()
        w.square().sum().backward()
        optimizer.step()
    # w1 = w0 - 0.1 * 2 w0 = 0.8 w0; then the momentum 0.9 of the first gradient: 0.8 - 0.1 (1.6 + 0.9 * 2)
    torch.testing.assert_close(w.detach(), 0.46 * start, rtol=1e-12, atol=0)

"""Each optimizer's YAML builds its own class with its own rate, and goes downhill."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from caelab.optimizers import Muon, orthogonalised

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


def orthogonalised_by_svd(matrix):
    """The five rounds act on singular values alone, so they can be taken one by one."""
    u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / s.square().sum().sqrt()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u * s @ vh


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (1, 9)])
def test_muon_keeps_the_directions_of_a_matrix_and_evens_their_lengths(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalised(matrix)
    torch.testing.assert_close(found.double(), orthogonalised_by_svd(matrix), rtol=1e-4, atol=1e-5)
    lengths = torch.linalg.svdvals(found)
    assert 0.6 < lengths.min() <= lengths.max() < 1.3


def test_muon_evens_lengths_in_float32_whatever_the_weights_are():
    matrix = torch.randn(6, 20, generator=torch.Generator().manual_seed(0)).bfloat16()
    expected = orthogonalised_by_svd(matrix)
    torch.testing.assert_close(orthogonalised(matrix), expected.float(), rtol=1e-4, atol=1e-5)
    weight = nn.Parameter(torch.zeros(6, 20, 1, 1, dtype=torch.bfloat16))
    weight.grad = matrix[..., None, None]
    load("muon", iter([weight]), lr=1.0).step()
    assert torch.equal(weight.detach().flatten(1), -orthogonalised(matrix.add(matrix, alpha=0.9)).bfloat16())


def test_muon_moves_convolutions_by_itself_and_all_else_as_adamw_does():
    torch.manual_seed(0)
    kernel, dense = nn.Parameter(torch.randn(8, 2, 1, 1)), nn.Parameter(torch.randn(3, 5))
    twin, gradients = nn.Parameter(dense.detach().clone()), torch.randn(2, 8, 2, 1, 1)
    ours = load("muon", iter([kernel, dense]), lr=0.1)
    adamw = torch.optim.AdamW([twin], lr=1.5e-3, weight_decay=0.01)
    first, second = gradients.flatten(2)
    expected = kernel.detach().flatten(1).double()
    for ahead in (1.9 * first, second + 0.9 * (0.9 * first + second)):
        expected -= 0.1 * 2 * orthogonalised_by_svd(ahead)  # 8 rows of 2: the root of 4
    for gradient in gradients:
        kernel.grad, dense.grad, twin.grad = gradient, dense.detach() - 1, twin.detach() - 1
        ours.step()
        adamw.step()
    torch.testing.assert_close(kernel.detach().flatten(1).double(), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(dense, twin)


def test_muon_lets_a_closure_clear_every_gradient():
    weights = [nn.Parameter(torch.ones(2, 2, 1, 1)), nn.Parameter(torch.ones(2))]
    optimizer, losses = Muon(weights), []

    def closure():
        optimizer.zero_grad()
        loss = sum(weight.square().sum() for weight in weights)
        loss.backward()
        losses.append(loss)
        return loss

    for _ in range(2):
        before = [weight.detach().clone() for weight in weights]
        assert optimizer.step(closure) is losses[-1]
    for weight, value in zip(weights, before, strict=True):
        torch.testing.assert_close(weight.grad, 2 * value)


def test_muon_goes_on_from_its_state_bit_for_bit():
    torch.manual_seed(0)
    start, gradients = torch.randn(4, 2, 3, 3), torch.randn(3, 4, 2, 3, 3)
    bias = torch.zeros(4)

    def stepped(weights, optimizer, gradients):
        for gradient in gradients:
            weights[0].grad, weights[1].grad = gradient.clone(), gradient.sum((1, 2, 3))
            optimizer.step()
        return [one.detach().clone() for one in weights], optimizer.state_dict()

    def fresh(values):
        weights = [nn.Parameter(value.clone()) for value in values]
        return weights, Muon(weights)

    whole, _ = stepped(*fresh([start, bias]), gradients)
    half, state = stepped(*fresh([start, bias]), gradients[:2])
    weights, optimizer = fresh(half)
    optimizer.load_state_dict(state)
    again, _ = stepped(weights, optimizer, gradients[2:])
    assert all(map(torch.equal, whole, again))


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("momentum", 1, "momentum must be at least 0 and below 1, got 1"),
        ("lr", -0.1, "lr must be above 0, got -0.1"),
        ("adamw_lr", 0, "adamw_lr must be above 0, got 0"),
    ],
)
def test_muon_refuses_what_cannot_be(key, value, line):
    with pytest.raises(ValueError, match=line):
        Muon([nn.Parameter(torch.zeros(2))], **{key: value})

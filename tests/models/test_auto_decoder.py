"""The auto-decoder: steps towards a code, against a loop by hand; and codes that training images keep."""

from functools import partial

import pytest
import torch
from test_residual import pictures
from tiny import TINY
from torch import nn

from caelab.bottlenecks.entropy import Entropy
from caelab.bottlenecks.topk import TopK
from caelab.errors import UserError
from caelab.models.auto_decoder import AutoDecoder
from caelab.models.autoencoder import Code
from caelab.models.spatial_auto_decoder import SpatialAutoDecoder
from caelab.training.module import AutoencoderModule
from caelab.training.parts import _require_place

SHAPE = (3, 10, 14)
SMALL = (
    *(word for word in TINY if not word.startswith("model")),
    "model=auto_decoder",
    "model.latent=8",
    "model.channels=8",
    "model.blocks=1",
)


def started(**keys):
    torch.manual_seed(0)
    net = AutoDecoder(SHAPE, latent=6, channels=8, blocks=1, **keys)
    net.initialise(pictures())
    with torch.no_grad():
        net.decoder.last.weight.mul_(30)  # so that the decoder is not linear any more
    return net


def pull(net, z, x):
    """``J^T (x - x_hat)``, of half the squared error."""
    z = z.detach().requires_grad_()
    error = (x - net.decode(Code(z))).square().sum() / 2
    return -torch.autograd.grad(error, z)[0]


def test_a_linear_decoders_code_is_that_of_least_squares():
    net, x = AutoDecoder(SHAPE, latent=6, blocks=0, steps=60), pictures() / 255
    net.initialise(pictures())
    with torch.no_grad():
        net.from_latent.weight.mul_(1.2)  # so that the projection is not the best code
    weights = (net.from_latent.weight * net.from_latent.scale).detach()
    missing = (x.flatten(1) - net.from_latent.bias).T
    expected = torch.linalg.lstsq(weights, missing).solution.T
    torch.testing.assert_close(net.eval().encode(x).z, expected, rtol=0, atol=1e-4)


def test_steps_have_momentum_and_lower_the_error():
    net, x = started(steps=3, rate=0.4, momentum=0.25).eval(), pictures() / 255
    z, v = net.to_latent(x.flatten(1)).detach(), 0
    errors = []
    for _ in range(3):
        errors.append(float((x - net.decode(Code(z))).detach().square().mean()))
        v = 0.25 * v + 0.4 * pull(net, z, x)
        z = z + v
    with torch.no_grad():
        found = net.encode(x).z
        # the adjoint of the lab's steps takes ReLU's slope along a ramp
        torch.testing.assert_close(found, z, rtol=0, atol=0.02 * float(z.std()))
        errors.append(float((x - net.decode(Code(found))).square().mean()))
    assert errors == sorted(errors, reverse=True)


def test_in_training_an_image_keeps_a_code_that_moves_down_the_gradient():
    net, x = started(stored_rate=0.5).train(), pictures()[:4] / 255
    net.make_room(60)
    places = torch.tensor([7, 3, 60 + 3, 20])  # the third is the mirror image of the second
    first = net.to_latent(x.flatten(1)).detach()
    for z in (first, first + 0.5 * pull(net, first, x)):
        code = net.encode(x, places)
        torch.testing.assert_close(code.z, z)
        loss = (net.decode(code) - x).square().mean()
        loss.backward()
        moved = net.kept.view(-1, 6)[places]
        torch.testing.assert_close(moved, z + 0.5 * pull(net, z, x), rtol=1e-4, atol=1e-6)
    assert net.kept.shape == (2, 60, 6)
    assert int(net.kept.isfinite().all(2).sum()) == 4
    assert net.to_latent.weight.grad is None


def priced(**keys):
    return started(bottleneck=partial(Entropy, price=0.05), **keys)


def cost(net, x, z):
    """Squared error and price of the bits of each image at codes ``z``, without rounding."""
    steps = z / net.bottleneck.step * torch.exp(net.bottleneck.gain) - net.bottleneck.median
    bits = net.bottleneck.density.bits(steps).sum(1)
    return (x - net.decode(Code(z))).square().flatten(1).sum(1) + 0.05 * bits


def test_steps_descend_squared_error_and_the_price_of_bits_and_then_the_code_is_rounded():
    net, x = priced(steps=3, rate=0.4, momentum=0.25).eval(), pictures() / 255
    z, v = net.to_latent(x.flatten(1)).detach(), 0
    costs = []
    for _ in range(3):
        z.requires_grad_()
        each = cost(net, x, z)
        costs.append(float(each.sum().detach()))
        v = 0.25 * v - 0.4 * torch.autograd.grad(each.sum() / 2, z)[0]
        z = (z + v).detach()
    assert costs == sorted(costs, reverse=True)
    reached = []
    hook = net.bottleneck.register_forward_pre_hook(lambda _, given: reached.append(given[0]))
    with torch.inference_mode():
        net.encode(x)
    hook.remove()
    torch.testing.assert_close(reached[0], z, rtol=0, atol=0.02 * float(z.std()))
    with torch.inference_mode():
        steps, rounded = net.bottleneck.whole(net.encode(x).z), net.bottleneck.whole(net.bottleneck(z).z)
    # but where a number lies between two steps, and the adjoint's ramp decides
    assert (steps == rounded).float().mean() > 0.95
    assert (steps - rounded).abs().max() <= 1


def test_in_training_the_stored_code_crosses_with_noise_and_pays_for_its_bits():
    net, x = priced(stored_rate=0.5).train(), pictures()[:4] / 255
    net.make_room(60)
    places = torch.tensor([7, 3, 60 + 3, 20])
    first = net.to_latent(x.flatten(1)).detach()
    torch.manual_seed(5)
    code = net.encode(x, places)
    width = net.bottleneck.step * torch.exp(-net.bottleneck.gain).detach()
    noise = (code.z - first).detach()
    assert (noise.abs() <= width / 2 + 1e-6).all()
    assert float((noise / width).std()) == pytest.approx(12**-0.5, rel=0.3)
    ((net.decode(code) - x).square().mean() + code.penalty.mean() / x[0].numel()).backward()
    at = (first + noise).requires_grad_()
    gradient = torch.autograd.grad(cost(net, x, at).sum() / 2, at)[0]
    expected = first - 0.5 * gradient
    torch.testing.assert_close(net.kept.view(-1, 6)[places], expected, rtol=1e-3, atol=1e-5)
    again = priced().train()
    again.make_room(60)
    torch.manual_seed(5)
    assert torch.equal(again.encode(x, places).z, code.z)


def test_a_bottleneck_whose_cost_no_step_can_follow_is_refused():
    said = "bottleneck: the steps of this model's encoder cannot follow TopK; use none, "
    with pytest.raises(ValueError, match=f"{said}entropy or hyperprior$"):
        AutoDecoder(SHAPE, latent=6, bottleneck=partial(TopK, k=2))
    with pytest.raises(ValueError, match=f"{said}entropy, hyperprior or context$"):
        SpatialAutoDecoder((3, 8, 8), latent_channels=4, factor=4, bottleneck=partial(TopK, k=2))


def test_outside_training_a_code_hangs_on_its_image_alone():
    net, x = started(), pictures()[:3] / 255
    alone = net.eval().encode(x[:1]).z
    net.make_room(3)
    net.train().encode(x, torch.arange(3))
    torch.testing.assert_close(net.eval().encode(x).z[:1], alone)


def test_it_counts_its_projection_among_what_is_learnt():
    net = AutoDecoder(SHAPE, latent=6, channels=8, blocks=1)
    assert net.size == sum(parameter.numel() for parameter in net.parameters())
    assert net.size > 2 * 6 * 420


@pytest.mark.parametrize("bottleneck", ["none", "entropy"])
def test_a_resumed_run_ends_where_a_whole_one_does(train, killed, bottleneck):
    words = [*SMALL, f"bottleneck={bottleneck}", "flip=true", "ema=0.9", "trainer.max_epochs=3"]
    whole = train(*words, "hydra.run.dir=multirun/whole", tiny=False)
    killed(*words, after=1, tiny=False)
    again = train(*words, tiny=False)
    assert "going on after epoch 1" in again.out
    assert [record["metrics"] for record in again.records] == [whole.record["metrics"]] * 2
    files = [torch.load(path / "checkpoints" / "last.ckpt", weights_only=True) for path in again.run_dirs]
    assert torch.equal(files[0]["kept"].nan_to_num(), files[1]["kept"].nan_to_num())
    assert all(
        torch.equal(value, files[1]["state_dict"][key]) for key, value in files[0]["state_dict"].items()
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["augment=crop_shift"],
            "augment: AutoDecoder keeps one code for each unchanged image; use augment=none",
        ),
        (["corruption=blur"], "corruption: AutoDecoder fits its codes to clean images; use corruption=none"),
        (
            ["bottleneck=topk", "bottleneck.k=2"],
            "caelab: bottleneck: the steps of this model's encoder cannot follow TopK",
        ),
        (["bottleneck=entropy", "bottleneck.price=0"], "caelab: bottleneck.price must be above 0, got 0"),
        (["model.rate=0"], "model.rate must be above 0, got 0"),
        (["model.momentum=1.0"], "model.momentum must be at least 0 and below 1, got 1.0"),
    ],
)
def test_what_it_cannot_do_is_told_in_a_line(train, words, line):
    answer = train(*SMALL, *words, tiny=False)
    assert answer.status == 1
    assert line in answer.err


@pytest.mark.parametrize(
    ("loss", "settings", "line"),
    [
        (nn.L1Loss(), {}, "loss: AutoDecoder fits its codes by squared error; use loss=mse"),
        (
            nn.MSELoss(),
            {"accumulate_grad_batches": 2},
            "trainer.accumulate_grad_batches=2: AutoDecoder updates its codes with each batch; leave this",
        ),
        (
            nn.MSELoss(),
            {"precision": "16-mixed"},
            "trainer.precision=16-mixed: float16 scales or loses the gradients that update the codes of",
        ),
    ],
)
def test_it_refuses_what_would_scale_the_steps_of_its_codes(loss, settings, line):
    plain = {"precision": "bf16-mixed", "accumulate_grad_batches": 1}
    _require_place(AutoencoderModule(started(), nn.MSELoss(), torch.optim.Adam), plain, alone=True)
    with pytest.raises(UserError, match=line):
        _require_place(AutoencoderModule(started(), loss, torch.optim.Adam), plain | settings, alone=True)

"""The residual model: exact PCA without its convolutions, PCA at first with them, better when trained."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from caelab.composition import compose
from caelab.models.autoencoder import Code
from caelab.models.pca import PCA
from caelab.models.residual import Block, Correction, Residual, Scaled, shuffled, unshuffled

SHAPE = (3, 10, 14)


def pictures(count=60, seed=0):
    """Grey levels that stay far from 0 and 255: soft blobs, which a few components describe badly."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:10, 0:14]
    y, x = rng.uniform(2, 8, (2, count, 1, 1, 1)) * np.array([1, 1.4]).reshape(2, 1, 1, 1, 1)
    blob = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 6)
    colour = rng.uniform(-60, 60, (count, 3, 1, 1))
    return torch.from_numpy((127 + colour * blob).round().astype(np.uint8))


def pca(images, latent=6):
    floor = PCA(SHAPE, latent)
    floor.initialise(images)
    return floor


def test_without_convolutions_it_starts_as_pca():
    images = pictures()
    net = Residual(SHAPE, latent=6, blocks=0, encoder_blocks=0)
    net.initialise(images)
    torch.testing.assert_close(net.reconstruct(images), pca(images).reconstruct(images), rtol=0, atol=1e-5)
    x = images / 255
    torch.testing.assert_close(net.encode(x).z, pca(images).encode(x).z, rtol=0, atol=1e-4)


def test_with_convolutions_it_starts_within_a_hundredth_of_a_decibel_of_pca():
    images = pictures()
    torch.manual_seed(0)
    net = Residual(SHAPE, latent=6)
    net.initialise(images)
    x = images / 255
    ours, floor = ((m.reconstruct(images) - x).square().mean().item() for m in (net, pca(images)))
    assert ours != floor
    assert abs(10 * np.log10(ours / floor)) < 0.01


def test_training_leads_above_pca():
    images = pictures(40)
    torch.manual_seed(0)
    net = Residual(SHAPE, latent=6, channels=16, encoder_channels=16)
    net.initialise(images)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    x = images / 255
    for _ in range(120):
        loss = (net(x) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ours, floor = ((m.reconstruct(images) - x).square().mean().item() for m in (net, pca(images)))
    assert 10 * np.log10(floor / ours) > 1  # on these images no linear autoencoder of this latent does better


def test_the_encoder_is_shown_the_image_and_what_the_linear_layers_make_of_it():
    images = pictures()
    net = Residual(SHAPE, latent=6, blocks=0, steps=0)
    net.initialise(images)
    net.encoder = Answer()
    x, floor = images / 255, pca(images)
    expected = floor.encode(x + floor.decode(floor.encode(x)) ** 2).z
    torch.testing.assert_close(net.encode(x).z, expected, rtol=0, atol=1e-4)


class Answer(torch.nn.Module):
    """Not linear in x_0, since the projections of x_0 and of the image are the same."""

    def forward(self, images):
        return images[:, SHAPE[0] :] ** 2, None


class Ramp(torch.autograd.Function):
    """ReLU whose slope rises evenly from 0 at -0.015 to 1 at 0.015."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, y):
        (x,) = ctx.saved_tensors
        return y * torch.where(x < -0.015, 0.0, torch.where(x > 0.015, 1.0, (x + 0.015) / 0.03))


def test_a_step_goes_down_the_gradient_of_the_error_of_each_image(monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "relu", Ramp.apply)
    shape = (3, 9, 13)
    torch.manual_seed(0)
    net = Residual(shape, latent=6, steps=1)
    plain = Residual(shape, latent=6, steps=0)
    with torch.no_grad():
        net.decoder.last.weight.mul_(100)  # so that the convolutions count
        net.from_latent.weight.mul_(0.1)
        net.from_latent.bias.fill_(0.5)  # grey: nothing is cut off at 0 or 1
        net.rates.uniform_(0.1, 0.9)
    plain.load_state_dict(net.state_dict() | {"rates": plain.rates})
    x = torch.rand(4, *shape)
    z = plain.encode(x).z.detach().requires_grad_()
    x_hat = net.decode(Code(z))
    assert x_hat.min() > 0
    assert x_hat.max() < 1
    (gradient,) = torch.autograd.grad((x - x_hat).square().sum(), z)
    torch.testing.assert_close(net.encode(x).z, z - net.rates * gradient / 2, rtol=0, atol=1e-5)
    assert gradient.abs().mean() > 0.01


def test_a_rounding_error_of_a_picture_is_none_of_its_code():
    torch.manual_seed(0)
    block, change, answers = Block(4), torch.rand(1, 4, 6, 6), {}
    with torch.no_grad():
        for hidden in (-1.0, -1e-6, 1e-6, 1.0):
            block.inner.bias.fill_(hidden)  # of a black picture, everywhere
            answers[hidden] = block(torch.zeros(1, 4, 6, 6))[1](change)
    assert torch.equal(answers[-1.0], change)
    jump = (answers[1.0] - change).abs().max()
    assert jump > 0.01
    assert (answers[1e-6] - answers[-1e-6]).abs().max() < 1e-3 * jump


def test_two_steps_are_two_steps():
    torch.manual_seed(0)
    net, images = Residual(SHAPE, latent=6, steps=2), pictures()
    net.initialise(images)
    with torch.no_grad():
        net.decoder.last.weight.mul_(30)
        net.rates.fill_(0.2)
    once, never = Residual(SHAPE, latent=6), Residual(SHAPE, latent=6, steps=0)
    once.load_state_dict(net.state_dict() | {"rates": net.rates[:1]})
    never.load_state_dict(net.state_dict() | {"rates": net.rates[:0]})
    x = images / 255
    errors = [(other(x) - x).square().mean().item() for other in (never, once, net)]
    assert errors[0] > errors[1] > errors[2]


def test_training_learns_the_rates():
    torch.manual_seed(0)
    net, images = Residual(SHAPE, latent=6), pictures()
    net.initialise(images)
    (net(images / 255) - images / 255).square().mean().backward()
    assert net.rates.grad.shape == (1, 6)
    assert (net.rates.grad != 0).all()
    assert (net.rates == 0.5).all()


def test_a_correction_is_local_and_sees_all_images():
    torch.manual_seed(0)
    correct = Correction(6, 3, channels=8, blocks=1)
    images = torch.rand(1, 6, 40, 40)
    answer = correct(images)[0]
    assert answer.shape == (1, 3, 40, 40)
    for colours in (slice(3), slice(3, 6)):
        changed = images.clone()
        changed[:, colours, 20, 20] += 1
        rows = (correct(changed)[0] != answer).any(3).any(1)[0].nonzero().flatten().tolist()
        # four 3x3 convolutions on squares of two pixels: four squares a side
        assert rows == list(range(12, 30))


def test_at_random_it_does_not_start_as_pca():
    images = pictures()
    torch.manual_seed(0)
    net = Residual(SHAPE, latent=6, pca=False)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.initialise(images)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_nothing_goes_around_the_latent():
    net = Residual((3, 32, 32))
    code = net.encode(torch.rand(2, 3, 32, 32))
    assert code.skips == ()
    assert code.numbers == 256


def test_parameters_in_closed_form():
    linear = 3072 * 256 + 256 + 256 * 3072 + 3072

    def conv(n_in, n_out, side):
        return n_in * n_out * side**2 + n_out

    decoder = conv(12, 48, 3) + 3 * 2 * conv(48, 48, 3) + conv(48, 12, 3)
    encoder = conv(24, 48, 3) + 3 * 2 * conv(48, 48, 3) + conv(48, 12, 3)
    assert Residual((3, 32, 32)).size == linear + decoder + encoder + 256
    assert Residual((3, 32, 32), encoder_blocks=0, steps=3).size == linear + decoder + 3 * 256
    assert Residual((3, 32, 32), blocks=0, encoder_blocks=0, steps=0).size == linear


def test_a_step_of_adam_moves_a_scaled_weight_by_its_scale():
    layer = Scaled(4, 100)
    with torch.no_grad():
        layer.start(torch.ones(100, 4), torch.zeros(100))
    torch.testing.assert_close(layer(torch.eye(4)), torch.ones(4, 100))
    layer(torch.eye(4)).sum().backward()
    torch.optim.Adam(layer.parameters(), lr=0.5).step()  # the first step of Adam is lr times the sign
    moved = layer(torch.eye(4)) + 0.5  # the bias moved by the whole rate
    torch.testing.assert_close(moved, torch.full((4, 100), 1 - 0.5 / 10))


def test_pixels_become_channels_and_odd_sides_get_zeros():
    x = torch.rand(2, 3, 5, 7)
    cells = unshuffled(x)
    assert torch.equal(shuffled(cells, 5, 7), x)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (0, 1), (0, 1)))
    expected = padded.reshape(2, 3, 3, 2, 4, 2).transpose(0, 1, 3, 5, 2, 4).reshape(2, 12, 3, 4)
    np.testing.assert_array_equal(cells.numpy(), expected)


def test_the_large_one_is_the_same_in_another_size():
    words = ["model=residual"], ["experiment=residual_large"]
    small, large = (compose.config(one)[0].model for one in words)
    assert small.keys() == large.keys()
    nets = [instantiate(leaf, shape=(3, 32, 32)) for leaf in (small, large)]
    decoders = [sum(p.numel() for p in net.decoder.parameters()) for net in nets]
    assert decoders[1] > 3 * decoders[0]
    assert len(nets[1].rates) > len(nets[0].rates)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent": 421}, "latent must be at most 420, the numbers in one image, got 421"),
        ({"latent": 0}, "latent must be at least 1, got 0"),
        ({"blocks": -1}, "blocks must be at least 0, got -1"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"encoder_blocks": 0.5}, "encoder_blocks must be a whole number, got 0.5"),
        ({"steps": -1}, "steps must be at least 0, got -1"),
        ({"encoder_channels": 0}, "encoder_channels must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Residual(SHAPE, **{"latent": 6} | arguments)


def test_fewer_images_than_numbers_in_the_latent_are_refused():
    with pytest.raises(ValueError, match="latent must be at most 5, the number of training images, got 6"):
        Residual(SHAPE, latent=6).initialise(pictures(5))


def test_the_linear_layers_answer_in_float32_beside_half_precision_convolutions():
    net = Residual(SHAPE, latent=6)
    net.initialise(pictures())
    with torch.no_grad():
        net.decoder.last.weight.zero_()
    net.bfloat16()
    code = net.encode((pictures() / 255).bfloat16())
    layer = net.from_latent
    expected = code.z.double() @ (layer.weight.double() * layer.scale).T + layer.bias.double()
    torch.testing.assert_close(net.decode(code).flatten(1), expected.float().clamp(0, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_linear_path_is_float32_whatever_the_precision(dtype):
    net = Residual(SHAPE, latent=6, blocks=0, encoder_blocks=0)
    net.initialise(pictures())
    x = pictures() / 255
    expected = net(x)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype == torch.bfloat16):
        assert torch.equal(net(x), expected)


def test_more_steps_than_trained_repeat_the_last():
    net, x = Residual(SHAPE, latent=6, channels=8, blocks=1, steps=2).eval(), pictures() / 255
    net.initialise(pictures())
    with torch.no_grad():
        net.rates.copy_(torch.tensor([[0.3], [0.2]]).expand_as(net.rates))
        net.steps = 0
        z = net.encode(x).z
        for rate in (0.3, 0.2, 0.2):
            z = z + rate * net._pull(z, x)
        net.steps = 3
        torch.testing.assert_close(net.encode(x).z, z)

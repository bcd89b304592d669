"""Encoder, decoder and both as one, as plain functions of tensors."""

import pytest
import torch

from caelab.export.parts import parts
from caelab.models.base import Base
from caelab.models.classical import Classical
from caelab.models.improved_skip import ImprovedSkip


@pytest.mark.parametrize("n", [1, 3])
def test_a_code_with_skips_goes_from_part_to_part(n):
    torch.manual_seed(0)
    net = ImprovedSkip((1, 13, 18), 5, channels=(2, 3), skip_levels=(1, 2))
    encoder, decoder, autoencoder = parts(net)
    assert (encoder.inputs, autoencoder.inputs, decoder.outputs) == (("x",), ("x",), ("x_hat",))
    assert encoder.outputs == decoder.inputs == ("z", "skip_1", "skip_2")
    assert decoder.shapes == {"z": (5,), "skip_1": (2, 7, 9), "skip_2": (3, 4, 5)}
    x = torch.rand(n, 1, 13, 18)
    code = encoder((x,))
    with torch.no_grad():
        want = net(x)
        assert torch.equal(code[0], net.encode(x).z)
    assert torch.equal(decoder(code)[0], want)
    assert torch.equal(autoencoder((x,))[0], want)


def test_without_skips_the_code_is_z_alone():
    encoder, decoder, _ = parts(Base((3, 28, 28), 4, channels=(2,), hidden=()))
    assert encoder.outputs == decoder.inputs == ("z",)
    assert not encoder.module.training
    assert not decoder.module.net.training


def test_a_network_without_weights_has_parts_too():
    *_, autoencoder = parts(Classical((2, 3, 4), "median"))
    x = torch.rand(3, 2, 3, 4)
    assert torch.equal(autoencoder((x,))[0], Classical((2, 3, 4), "median")(x))

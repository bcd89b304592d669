"""What a record says of a network: sizes and FLOPs, counted by hand from the shapes of its layers."""

from caelab.models.base import Base
from caelab.models.pca import PCA
from caelab.training import describe


def test_flops_of_base_are_two_for_each_weight_and_place():
    # 11x12 pixels -> 6x6 -> 3x3, 5 channels, 45 numbers -> 7 -> 4, and back
    convolutions = 2 * 3 * 3 * (2 * 3 * 6 * 6 + 3 * 5 * 3 * 3)
    # a transposed convolution has its weights at each place of its input
    transposed = 2 * 3 * 3 * (5 * 3 * 3 * 3 + 3 * 2 * 6 * 6)
    linear = 2 * 2 * (45 * 7 + 7 * 4)
    size = describe.network(Base((2, 11, 12), latent=4, channels=[3, 5], hidden=[7]))
    assert size.flops_per_image == convolutions + transposed + linear
    assert (size.latent, size.effective_code, size.input_numbers) == (4, 4, 2 * 11 * 12)


def test_flops_of_pca_are_those_of_two_products():
    assert describe.network(PCA((3, 11, 11), latent=6)).flops_per_image == 2 * 2 * 3 * 11 * 11 * 6

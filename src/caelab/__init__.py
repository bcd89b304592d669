"""A lab bench for convolutional autoencoders."""

__version__ = "0.1.0"

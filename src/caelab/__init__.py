"""A lab bench for convolutional autoencoders."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name == "load":  # imported on use: it brings torch, and a command line must answer before that
        from caelab.trained import load

        return load
    raise AttributeError(f"module 'caelab' has no attribute '{name}'")

"""What the parts of a network put out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def tapped(modules: Sequence[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """Keep what each module put out last: place in the list -> its output."""
    outputs: dict[int, Tensor] = {}

    def keep(place: int) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _input, output: outputs.update({place: output})

    handles = [module.register_forward_hook(keep(place)) for place, module in enumerate(modules)]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()

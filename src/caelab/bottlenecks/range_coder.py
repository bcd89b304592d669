"""Symbols as bits: a range coder with a static model of each place of a code."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caelab.errors import UserError

Whole = NDArray[np.int32]
Words = NDArray[np.uint32]
Columns = Iterable[tuple[int, Whole]]
Reader = Callable[[int, int], Whole]


class RangeCoder:
    """A range coder, carried by the library constriction.

    Args:
        weights: of each place, how likely each of its symbols is, (levels,), all above 0, of any sum. A place
            that has one level costs nothing.

    Raises:
        UserError: constriction is not installed.
    """

    def __init__(self, weights: Sequence[NDArray[Any]]) -> None:
        self._stream = library()
        model = self._stream.model.Categorical
        self._models: dict[int, Any] = {
            place: model(one.astype(np.float32), perfect=False)
            for place, one in enumerate(weights)
            if len(one) > 1
        }
        self._places = len(weights)

    def encode(self, symbols: Whole) -> Words:
        """Map symbols (N, places), each in [0, levels), to the words of one stream."""
        return self.encode_each(enumerate(np.ascontiguousarray(symbols.T, np.int32)))

    def encode_each(self, columns: Columns) -> Words:
        """Map places and their symbols, (n,), of which there may be more at one than at another."""
        encoder = self._stream.queue.RangeEncoder()
        for place, symbols in columns:
            if (model := self._models.get(place)) is not None:
                encoder.encode(symbols, model)
        words: Words = encoder.get_compressed()
        return words

    def decode(self, words: Words, n: int) -> Whole:
        """Read the symbols (N, places) of ``n`` codes from their stream."""
        read = self.reader(words)
        symbols = np.empty((self._places, n), np.int32)
        for place in range(self._places):
            symbols[place] = read(place, n)
        return np.ascontiguousarray(symbols.T)

    def reader(self, words: Words) -> Reader:
        """Return what maps a place and n to its symbols (n,), to be asked place after place."""
        decoder = self._stream.queue.RangeDecoder(words)

        def read(place: int, n: int) -> Whole:
            model = self._models.get(place)
            symbols: Whole = np.zeros(n, np.int32) if model is None else decoder.decode(model, n)
            return symbols

        return read


def library() -> Any:
    """Return the streams of the library constriction.

    Raises:
        UserError: it is not installed.
    """
    try:
        from constriction import stream
    except ImportError:
        raise UserError("constriction is not installed; pip install 'caelab[rate]'") from None
    return stream

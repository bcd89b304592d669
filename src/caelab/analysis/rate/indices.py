"""Discrete codes as bits: their indices, coded by how often training codes take each entry."""

import numpy as np
import torch
from numpy.typing import NDArray

from caelab.analysis.rate.distortion import Curve, Point
from caelab.bottlenecks.bottleneck import Discrete
from caelab.bottlenecks.range_coder import RangeCoder, Whole
from caelab.data.datamodule import EVALUATION_BATCH, Split
from caelab.data.scale import unit
from caelab.errors import UserError
from caelab.metrics.quality import mse, psnr
from caelab.metrics.reliance import Watch, starts
from caelab.models.autoencoder import Autoencoder
from caelab.models.contract import encoded, evaluating, require_contract

MOST = 10_000_000
"""Entries of a codebook, at most: the coder has a table of as many for each place."""

AS_IT_IS = 0
"""Bits of the quantiser of a code that needs none."""

Shares = NDArray[np.float64]


def measure(net: Autoencoder, train: Split, test: Split, watch: Watch = iter) -> Curve:
    """Code the indices of all test images, decode them, and look at what the decoder makes of them.

    Args:
        net: trained, on the CPU, with a discrete bottleneck.
        train: images whose indices alone set the models of the coder.
        test: N images, 2 or more.
        watch: of the passes over training and test images.

    Returns:
        A curve of one point. Its ``entropy`` is the one of the test images' own frequencies at each place.

    Raises:
        UserError: a network that does not keep the ``Code`` contract, numbers that go around the latent,
            more than ``MOST`` entries, or no library to code with.
        RuntimeError: the coder returned other indices than it was given.
    """
    require_contract(net, test)
    bottleneck = net.bottleneck
    assert isinstance(bottleneck, Discrete)
    if bottleneck.entries > MOST:
        raise UserError(
            f"its codebook has {bottleneck.entries:,} entries; caelab rate counts how often each is taken, "
            f"of {MOST:,} at most"
        )
    with evaluating(net):
        require_no_skips(net, test)
        symbols = _indices(net, train, watch)
        coder = RangeCoder(frequencies(symbols, bottleneck.entries, bottleneck.codebooks))
        known, psnrs, bits = [], [], 0
        for start in watch(starts(test)):
            given, clean = test.pairs(slice(start, start + EVALUATION_BATCH))
            symbols = _symbols(net, given)
            words = coder.encode(symbols)
            decoded = coder.decode(words, len(symbols))
            if not (decoded == symbols).all():
                raise RuntimeError("the decoded indices are not those that were coded")
            shape = (len(symbols), bottleneck.tokens, bottleneck.codebooks)
            z = bottleneck.lookup(torch.from_numpy(decoded.astype(np.int64)).reshape(shape))
            code = encoded(net, given)._replace(z=z)
            psnrs.append(psnr(mse(net.decode(code), unit(clean))))
            known.append(symbols)
            bits += 8 * words.nbytes
    mean = torch.cat(psnrs).mean().item()
    rate, least = bits / len(test), entropy(np.concatenate(known))
    return Curve(mean, [Point(AS_IT_IS, rate, least, mean)], net.latent, 0.0, len(train))


def require_no_skips(net: Autoencoder, test: Split) -> None:
    """Refuse a network of whose code the coder would get a part only.

    Raises:
        UserError: numbers go around its latent.
    """
    if skips := encoded(net, test[:1]).skips:
        around = sum(skip[0].numel() for skip in skips)
        raise UserError(
            f"{around:,} numbers go around its latent in skips; "
            "caelab rate codes a discrete or rounded latent only in networks without skips"
        )


def _indices(net: Autoencoder, images: Split, watch: Watch) -> Whole:
    parts = (images.given[start : start + EVALUATION_BATCH] for start in watch(starts(images)))
    return np.concatenate([_symbols(net, part) for part in parts])


def _symbols(net: Autoencoder, images: torch.Tensor) -> Whole:
    """Indices of images as (N, tokens times codebooks)."""
    indices = encoded(net, images).indices
    assert indices is not None
    return indices.flatten(1).int().cpu().numpy()


def frequencies(symbols: Whole, entries: int, codebooks: int = 1) -> list[Shares]:
    """Estimate how likely each entry is at each place of a code.

    There may be fewer images than entries, so that a place has not seen all that may come. Of n symbols, d of
    them different, the share ``d / (n + d)`` is kept for those, as in Witten and Bell, "The zero-frequency
    problem" (1991), method C; it is spread as the places of that codebook together have it.

    Args:
        symbols: (N, places), each in [0, entries); the codebooks take turns.
        entries: of each codebook.
        codebooks: how many there are.

    Returns:
        Of each place, (entries,), which add up to 1; none is 0.
    """
    counts = np.stack([np.bincount(place, minlength=entries) for place in symbols.T])  # (places, entries)
    books = [counts[book::codebooks].sum(0) + 0.5 for book in range(codebooks)]  # Krichevsky and Trofimov
    shares = []
    for place, own in enumerate(counts):
        together, different = books[place % codebooks], np.count_nonzero(own)
        shares.append((own + different * together / together.sum()) / (own.sum() + different))
    return shares


def entropy(symbols: Whole) -> float:
    """Bits a code below which no static model of single places can code these symbols (N, places)."""
    bits = 0.0
    for place in symbols.T:
        shares = np.unique(place, return_counts=True)[1] / len(place)
        bits -= float((shares * np.log2(shares)).sum())
    return max(0.0, bits)

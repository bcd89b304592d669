"""Codes that a bottleneck has rounded and priced, as bits: coded by its own densities."""

import numpy as np
import torch

from caelab.analysis.rate.distortion import Curve, Point
from caelab.analysis.rate.indices import AS_IT_IS, entropy, require_no_skips
from caelab.bottlenecks.entropy import Entropy
from caelab.data.datamodule import EVALUATION_BATCH, Split
from caelab.data.scale import unit
from caelab.metrics.quality import mse, psnr
from caelab.metrics.reliance import Watch, starts
from caelab.models.autoencoder import Autoencoder, Code
from caelab.models.contract import encoded, evaluating, require_contract


def measure(net: Autoencoder, train: Split, test: Split, watch: Watch = iter) -> Curve:
    """Code the numbers of all test images, decode them, and look at what the decoder makes of them.

    Args:
        net: trained, on the CPU, with ``bottleneck=entropy``.
        train: images that its densities were learnt of.
        test: N images, 2 or more.
        watch: of the pass over test images.

    Returns:
        A curve of one point. Its ``entropy`` is that of the test images' own frequencies.

    Raises:
        UserError: a network that does not keep the ``Code`` contract, numbers that go around the latent, or
            no library to code with.
        RuntimeError: the coder returned other numbers than it was given.
    """
    require_contract(net, test)
    bottleneck = net.bottleneck
    assert isinstance(bottleneck, Entropy)
    coder, known, psnrs, size = bottleneck.coder(), [], [], 0
    with evaluating(net):
        require_no_skips(net, test)
        for start in watch(starts(test)):
            given, clean = test.pairs(slice(start, start + EVALUATION_BATCH))
            z = encoded(net, given).z
            whole = bottleneck.whole(z).numpy().astype(np.int32)
            stream = coder.encode(whole)
            try:
                decoded = bottleneck.value(torch.from_numpy(coder.decode(stream, len(whole))).float())
            except ValueError as error:
                raise RuntimeError(str(error)) from None
            psnrs.append(psnr(mse(net.decode(Code(decoded.reshape(z.shape))), unit(clean))))
            known.append(whole)
            size += stream.nbytes
    mean, numbers = torch.cat(psnrs).mean().item(), np.concatenate(known)
    least = entropy(numbers) * len(numbers) / len(test)
    return Curve(mean, [Point(AS_IT_IS, 8 * size / len(test), least, mean)], net.latent, 0.0, len(train))

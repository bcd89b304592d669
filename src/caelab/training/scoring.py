"""The figures of a trained network on a test split: of a run's own, or of any other of its shape."""

from collections.abc import Sequence

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from torch import Tensor, nn

from caelab.bottlenecks.bottleneck import Bottleneck, Crossing
from caelab.config.machine import limit_threads
from caelab.corruptions import Corruption, require_unpaired
from caelab.data.datamodule import EVALUATION_BATCH, ImageDataModule
from caelab.metrics.image_quality import published_protocol
from caelab.metrics.measures import asked
from caelab.metrics.reliance import latent_reliance, starts
from caelab.models import contract
from caelab.models.autoencoder import Autoencoder
from caelab.plotting import figures
from caelab.runs.record import Data
from caelab.training import describe
from caelab.training.module import AutoencoderModule
from caelab.training.trainer import share_log


def measure(
    trainer: Trainer, module: AutoencoderModule, data: ImageDataModule
) -> tuple[dict[str, float], tuple[Tensor, Tensor, Tensor]]:
    """Return test figures under both protocols, latent reliance, and the images of the published one."""
    (full,) = trainer.test(module, datamodule=data, verbose=False)
    images = figures.first_of_each_class(data, module.net, module.corruption)
    originals, _, reconstructions = images
    published = published_protocol(reconstructions, originals)
    found = {**full, **{f"published/{name}": value for name, value in published.items()}}
    reliance = latent_reliance(module.net, data.splits["train"], data.splits["test"], full["test/psnr"])
    if reliance is not None:
        found["test/latent_reliance"] = reliance
    found |= {f"test/{name}": value for name, value in _of_codes(module.net.eval(), data).items()}
    return found, images


@torch.inference_mode()
def _of_codes(net: Autoencoder, data: ImageDataModule) -> dict[str, float]:
    """What the bottleneck says of the codes of all test images, without a corruption."""
    if type(net.bottleneck).measure is Bottleneck.measure:
        return {}
    test = data.splits["test"].given
    codes = [
        net.encode(contract.pixels(net, test[start : start + EVALUATION_BATCH])) for start in starts(test)
    ]
    indices = [code.indices for code in codes if code.indices is not None]
    whole = Crossing(torch.cat([code.z for code in codes]), None, torch.cat(indices) if indices else None)
    return net.bottleneck.measure(whole)


def score(
    net: Autoencoder,
    data: ImageDataModule,
    loss: nn.Module,
    corruption: Corruption,
    metrics: Sequence[str] = (),
) -> tuple[dict[str, float], Data]:
    """Measure a trained network on the test split of any data of its shape.

    Args:
        net: trained.
        data: whose test split is scored.
        loss: that is measured, too.
        corruption: of what the network is given.
        metrics: names of what is measured beside what always is.

    Returns:
        ``test/psnr``, ``published/psnr`` and the other figures, and what the images are.

    Raises:
        UserError: a corruption of pairs of pictures.
    """
    require_unpaired(data.paired, corruption)
    share_log()
    limit_threads()
    data.prepare_data()
    data.setup("test")
    trainer = Trainer(
        devices=1,
        plugins=LightningEnvironment(),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    module = AutoencoderModule(net, loss, torch.optim.Adam, corruption=corruption, measures=asked(metrics))
    if net.weight.dtype == torch.float64:  # as ``trainer.precision`` had it
        module.double()
    found, _ = measure(trainer, module, data)
    return found, describe.dataset(data)

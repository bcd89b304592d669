"""What every contestant is given, and how it is timed."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from caelab.bench.measure import STARTED
from caelab.composition import compose
from caelab.config.build import instantiate
from caelab.config.fingerprint import network_node
from caelab.training.speed import EXACT, choose, device_of

Step = Callable[[Tensor], Tensor]


class Task:
    """What all contestants are given: data, network, loss and optimizer, built from the same overrides."""

    def __init__(self, overrides: list[str], speed: str = EXACT) -> None:
        cfg = compose.plain(compose.config([*overrides, "logger=none"])[0])
        data = instantiate(cfg["dataset"], "dataset")
        data.prepare_data()
        data.setup("fit")
        self.data, self.train = data, data.splits["train"]
        self.batch_size: int = cfg["dataset"]["batch_size"]
        self.epochs: int = cfg["trainer"]["max_epochs"]
        self.device = device_of(cfg["trainer"]["accelerator"])
        factory = instantiate(cfg["optimizer"], "optimizer")
        self.speed = choose(speed, False, "32-true", self.device, factory)
        self.factory = partial(factory, fused=True) if self.speed.fused else factory
        torch.manual_seed(cfg["seed"])
        net = instantiate(network_node(cfg), "model", shape=data.shape).to(self.device)
        self.net: nn.Module = net.to(memory_format=torch.channels_last) if self.speed.channels_last else net
        self.loss: nn.Module = instantiate(cfg["loss"], "loss")

    def step(self) -> Step:
        """One training step of a bare loop on a batch (N, C, H, W) float32 in [0, 1]; returns its loss."""
        optimizer = self.factory(self.net.parameters())
        half = self.speed.precision == "bf16-mixed"

        def step(x: Tensor) -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext():
                x_hat = self.net(x)
            loss: Tensor = self.loss(x_hat.float(), x)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            return loss

        return step


class Clock:
    """Images a second over all epochs but the first, and the seconds to the end of the first step."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.first_step: float | None = None
        self.images = 0
        self.seconds = 0.0

    def stepped(self) -> None:
        """Note the end of a step; only the first counts."""
        if self.first_step is None:
            self.first_step = time.time() - float(os.environ.get(STARTED, "nan"))

    def epochs(self, count: int, images: int) -> Iterator[int]:
        """Go through the epochs, and time all but the first."""
        for epoch in range(count):
            began = time.perf_counter()
            yield epoch
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            if epoch:
                self.seconds += time.perf_counter() - began
                self.images += images

    def figures(self) -> dict[str, float | None]:
        """Return what was measured."""
        return {"images_per_second": self.images / self.seconds, "first_step": self.first_step}

"""Draw what each kind of bottleneck does to codes of two numbers: docs/bottlenecks.png, by ``make figures``.

A network of which nothing is left but its code: each of 120 images is a grey point and wants to come out
where it is. Its code and what the bottleneck learns take 200 steps on the squared error plus the penalty.
Blue is what crosses at the end, in training.
"""

from pathlib import Path

import torch
from hydra.utils import instantiate
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from torch import Tensor

from caelab.config import CONF
from caelab.draws import keys
from caelab.plotting.style import COLOURS, sheet, styled

FILE = Path(__file__).resolve().parents[2] / "docs" / "bottlenecks.png"
KINDS = {
    "none": {},
    "noise": {"std": 0.2},
    "variational": {"beta": 0.1},
    "tc": {"beta": 0.1},
    "mmd": {"weight": 2.0},
    "topk": {"k": 1},
    "vq": {"dim": 2, "entries": 8},
    "rvq": {"dim": 2, "entries": 4, "codebooks": 2},
    "fsq": {"levels": [5, 5]},
    "simvq": {"dim": 2, "entries": 8},
}
"""Name of each kind -> its options."""
STEPS = 200
SMALL = -4.0  # logarithm of the variance that a distribution starts with


def points() -> Tensor:
    """Two arcs that face each other, (120, 2)."""
    angles = torch.linspace(0.1, 3.0, 60)
    arc = torch.stack([angles.cos() - 0.4, angles.sin() - 0.2], 1)
    return torch.cat([arc, -arc]) * 1.2


def crossed(name: str) -> tuple[Tensor, Tensor]:
    """The points, and what crosses a bottleneck of that kind, (120, 2) each."""
    torch.manual_seed(0)
    kind = instantiate(OmegaConf.load(Path(CONF, "bottleneck", f"{name}.yaml")), **KINDS[name])
    bottleneck, x = kind(2).train(), points()
    start = torch.cat([x, torch.full_like(x, SMALL)], 1) if bottleneck.asks == 2 else x
    h = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([h, *(p for p in bottleneck.parameters() if p.requires_grad)], lr=0.04)
    rows = torch.arange(len(x))
    for step in range(STEPS + 1):
        crossing = bottleneck(h, keys(rows, 0, step) if bottleneck.random else None)
        loss = (crossing.z - x).square().sum(1)
        loss = (loss if crossing.penalty is None else loss + crossing.penalty).mean()
        if step < STEPS:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return x, crossing.z.detach()


@styled
def drawn() -> Figure:
    """Draw all kinds side by side."""
    figure = sheet("What crosses: codes of two numbers, before (grey) and behind the bottleneck (blue)", 2.7)
    panels = figure.subplots(2, 5, sharex=True, sharey=True)
    for name, axes in zip(KINDS, panels.flat, strict=True):
        x, z = crossed(name)
        for start, end in zip(x[::4].tolist(), z[::4].tolist(), strict=True):
            axes.plot(*zip(start, end, strict=True), color="#BBBBBB", linewidth=0.5, zorder=1)
        axes.plot(*x.T, ".", color="#999999", markersize=2)
        axes.plot(*z.T, ".", color=COLOURS[0], markersize=4)
        axes.set_title(name, fontsize=9)
        axes.set(aspect="equal", xlim=(-2.2, 2.2), ylim=(-1.8, 1.8))
    return figure


if __name__ == "__main__":
    drawn().savefig(FILE)

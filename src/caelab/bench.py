"""Training speed of the command line against a bare PyTorch loop: ``python -m caelab.bench``.

Both sides train the same network on the same in-memory images with the same batch size and precision, each
in a process of its own, in turn, so that a machine whose speed drifts slows both. The first epoch of each
process is left out. Evaluation, which a bare loop does not do, is outside the timed part on both sides.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from caelab import compose, results, screen
from caelab.errors import UserError

_DEFAULT = ["dataset=cifar10", "dataset.train_size=10000", "trainer.max_epochs=4"]


def _python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{' '.join(arguments)} failed: {done.stderr.strip().rpartition(chr(10))[2]}")
    return done.stdout


def _command_line(overrides: list[str]) -> float:
    """Images per second of a run through the command line."""
    with tempfile.TemporaryDirectory() as output:
        _python("caelab.train", *overrides, f"paths.output={output}", "logger=csv")
        ((_, record),) = results.find(output)
    return float(record["time"]["images_per_second"])


def _bare(overrides: list[str]) -> float:
    return float(_python("caelab.bench", "--bare", *overrides))


def bare_loop(overrides: list[str]) -> float:
    """Images per second of a loop in plain PyTorch over the same tensors, in this process."""
    import torch

    cfg = compose.plain(compose.config([*overrides, "logger=none"])[0])
    data = compose.build(cfg["dataset"], "dataset")
    data.prepare_data()
    data.setup("fit")
    torch.manual_seed(cfg["seed"])
    net = compose.build(cfg["model"], "model", shape=data.shape)
    loss_function = compose.build(cfg["loss"], "loss")
    optimizer = compose.build(cfg["optimizer"], "optimizer")(net.parameters())
    split, size, seconds = data.splits["train"], cfg["dataset"]["batch_size"], []
    images, index = split.images, split.index
    for _ in range(cfg["trainer"]["max_epochs"]):
        order = index[torch.randperm(len(index))]
        began = time.perf_counter()
        for rows in order.split(size):
            x = images.index_select(0, rows).float() / 255  # torch's fastest way to pick rows
            loss = loss_function(net(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - began)
    return float(len(index) * len(seconds[1:]) / sum(seconds[1:]))


def bench(models: list[str], overrides: list[str], pairs: int) -> dict[str, Any]:
    """Measure pairs of runs of each model; print and return images per second and their ratios."""
    found: dict[str, Any] = {}
    for model in models:
        chosen = [f"model={model}", *overrides]
        speeds: list[tuple[float, float]] = []
        for number in range(pairs):
            if number % 2:  # who comes first may meet a cooler machine
                ours, bare = _command_line(chosen), _bare(chosen)
            else:
                bare, ours = _bare(chosen), _command_line(chosen)
            speeds.append((ours, bare))
            screen.say(
                f"{model} {number + 1}/{pairs}: caelab {ours:,.0f}, bare {bare:,.0f}, ratio {ours / bare:.3f}"
            )
        found[model] = {
            "caelab": [ours for ours, _ in speeds],
            "bare": [bare for _, bare in speeds],
            "ratio": [ours / bare for ours, bare in speeds],
        }
    return found


def _show(found: dict[str, Any]) -> None:
    table = Table(title="training images a second, median over pairs", title_justify="left")
    for column in ("model", "caelab", "bare loop", "ratio", "ratio min .. max"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for model, row in found.items():
        middle = {key: statistics.median(values) for key, values in row.items()}
        spread = f"{min(row['ratio']):.3f} .. {max(row['ratio']):.3f}"
        table.add_row(
            model, f"{middle['caelab']:,.0f}", f"{middle['bare']:,.0f}", f"{middle['ratio']:.3f}", spread
        )
    screen.console.print(table)


def main() -> None:
    """Entry point: print a table and write the figures as JSON below multirun/bench/."""
    parser = argparse.ArgumentParser(
        prog="caelab-bench", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--models", default="base,improved_skip", help="comma-separated")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--bare", action="store_true", help="print the speed of one bare loop and stop")
    parser.add_argument("overrides", nargs="*", help=f"as for caelab-train; default: {' '.join(_DEFAULT)}")
    arguments = parser.parse_args()
    overrides = arguments.overrides or _DEFAULT
    with compose.mistakes_told():
        if arguments.bare:
            print(bare_loop(overrides))
            return
        found = bench(arguments.models.split(","), overrides, arguments.pairs)
    _show(found)
    path = Path("multirun", "bench", f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"overrides": overrides, "cores": os.cpu_count(), "models": found}, indent=2) + "\n"
    )
    screen.say(f"  {path}")


if __name__ == "__main__":
    main()

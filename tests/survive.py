"""Kill a sweep at random moments, start it again each time, and compare with one that nobody disturbed.

``make survive``, or ``python tests/survive.py [KILLS] [SEED]``: minutes. A tool, not a test: when a process
dies is chance.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SWEEP = (
    "dataset=shapes",
    "dataset.train_size=2000",
    "model=base,improved",
    "loss=mse,l1",
    "seed=0,1",
    "trainer.max_epochs=3",
    "trainer.accelerator=cpu",
)


def start(output: Path) -> subprocess.Popen[bytes]:
    """Start the sweep in a process group of its own."""
    command = [sys.executable, "-m", "caelab.train", "-m", *SWEEP, f"paths.output={output}"]
    # one thread: sums of floats then do not depend on how work was shared out
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def finished(output: Path) -> dict[str, dict[str, Any]]:
    """Records of finished runs by the name of their directory."""
    records = {path.parent.name: json.loads(path.read_text()) for path in output.rglob("result.json")}
    return {name: record for name, record in records.items() if record["status"] == "finished"}


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on when a run was interrupted."""
    return {"metrics": record["metrics"], "best_epoch": record["best_epoch"], "size": record["size"]}


def main() -> None:
    """Exit with status 1 if a figure differs or a finished run was trained again."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    chance = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    with tempfile.TemporaryDirectory() as folder:
        calm, wild = Path(folder, "calm"), Path(folder, "wild")
        began = time.monotonic()
        assert start(calm).wait() == 0
        duration = time.monotonic() - began
        expected = finished(calm)
        began = time.monotonic()
        start(calm).wait()
        startup = time.monotonic() - began  # everything is finished
        print(f"undisturbed: {len(expected)} runs in {duration:.0f} s")
        stamps: dict[str, tuple[str, str]] = {}
        now, again = finished(wild), []
        for kill in range(kills + 1):
            process = start(wild)
            if kill < kills:
                # beyond the start-up, yet so that the last kill comes before the sweep has ended
                remaining = duration * (1 - len(now) / len(expected))
                time.sleep(startup + chance.uniform(-1.0, 1.5 * remaining / (kills - kill)))
                os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
            now = finished(wild)
            print(f"start {kill + 1}: {'killed' if status < 0 else f'status {status}'}, {len(now)} finished")
            for name, record in now.items():
                stamp = (record["started"], record["finished"])
                again += [name] if stamps.setdefault(name, stamp) != stamp else []
        found = finished(wild)
        differ = [n for n in expected if n not in found or figures(expected[n]) != figures(found[n])]
        print(f"{len(expected) - len(differ)} of {len(expected)} runs have the undisturbed figures")
        print(f"{len(again)} finished runs were trained again")
        sys.exit(bool(differ or again or status))


if __name__ == "__main__":
    main()

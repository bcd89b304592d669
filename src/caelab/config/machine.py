"""What this machine has room for."""

import os
from functools import cache

from caelab import terminal
from caelab.limits import share

RUNS_PER_GPU = 4  # small networks leave most of a GPU idle; what one takes is for the user to say


def devices(accelerator: str) -> list[str]:
    """CUDA devices that runs may use, as CUDA_VISIBLE_DEVICES names them; none where they train elsewhere."""
    if accelerator not in ("auto", "gpu", "cuda"):
        return []
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        named = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        return [name.strip() for name in named if name.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def at_once(accelerator: str) -> int:
    """How many runs this machine has room for: ``RUNS_PER_GPU`` a GPU, else as many as cores.

    One thread a run is the fastest way to many runs; with OMP_NUM_THREADS set, it is that many threads a run.
    """
    runs = max(1, share()[0] // (asked() or 1))
    gpus = len(devices(accelerator))
    return min(runs, RUNS_PER_GPU * gpus) if gpus else runs


def asked() -> int | None:
    """Threads that the user asks for by OMP_NUM_THREADS, of whose list the first counts; None without."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdigit() and int(first) else None


@cache
def limit_threads() -> None:
    """Let torch take as many threads as cores were given, unless OMP_NUM_THREADS says how many. Says so."""
    import torch

    cores, line = share()
    if asked() or not line:
        return
    if cores < torch.get_num_threads():
        torch.set_num_threads(cores)
    terminal.say(line)

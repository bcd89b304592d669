"""What this machine has room for."""

import os

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
    from joblib import cpu_count  # knows of containers and affinity

    cores = max(1, int(cpu_count()) // int(os.environ.get("OMP_NUM_THREADS") or 1))
    gpus = len(devices(accelerator))
    return min(cores, RUNS_PER_GPU * gpus) if gpus else cores

"""Speed, measured against the limit of the machine and against what users would write instead."""

WAYS = {
    "limit": "(a) one resident batch, best settings: the limit",
    "bare": "(b) bare loop over images in memory",
    "exact": "(c) caelab, speed=exact",
    "auto": "(c) caelab, speed=auto",
    "lightning-0": "(d) Lightning, DataLoader, 0 workers",
    "lightning-2": "(d) Lightning, DataLoader, 2 workers",
    "script": "(e) plain script with a DataLoader",
    "pythae": "(f) pythae's trainer, where pythae is installed",
}
"""Name of each way to train a network that is timed -> what it is."""

LOADERS = {
    "memory": "(a) bare loop over pictures in memory",
    "held": "(b) caelab, pictures that fit in memory",
    "warm": "(b) caelab, more than fit; all in the page cache",
    "cold": "(b) caelab, more than fit; none in the page cache",
    "imagefolder-0": "(c) ImageFolder, DataLoader, 0 workers",
    "imagefolder-2": "(c) ImageFolder, DataLoader, 2 workers",
    "webdataset-0": "(d) WebDataset, 0 workers, where it is installed",
    "webdataset-2": "(d) WebDataset, 2 workers, where it is installed",
}
"""Name of each way to load pictures that is timed -> what it is."""

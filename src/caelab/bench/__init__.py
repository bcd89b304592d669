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

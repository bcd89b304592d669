"""Weights of networks that others trained: files in torch's cache that are checked, and never fetched."""

import hashlib
from pathlib import Path

import torch

from caelab.errors import UserError


def checkpoint(url: str, sha256: str, need: str) -> Path:
    """Return where torch's cache keeps a file of weights.

    Args:
        url: of the file, which has the same name in the cache.
        sha256: first digits of its checksum.
        need: who needs which weights, as a sentence.

    Raises:
        UserError: it is not there, or is another file.
    """
    file = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
    if not file.is_file():
        raise UserError(f"{file} is missing: {need}; put {url} there")
    with file.open("rb") as opened:
        if not hashlib.file_digest(opened, "sha256").hexdigest().startswith(sha256):
            raise UserError(f"{file} is damaged, or another file: {need}; put {url} there")
    return file

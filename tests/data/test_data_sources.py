"""Sources in order, the resumable download (from a server of our own) and the npm client (a stand-in)."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from caelab.data import download as downloads
from caelab.data import sources
from caelab.data.cache import checksum
from caelab.data.download import UnavailableError, download, npm_pack
from caelab.data.sources import Source, obtain, reading
from caelab.errors import UserError

CONTENT = np.random.default_rng(1).bytes(1_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
ARRAY = np.arange(6, dtype=np.uint8)
KNOWN = {"images": checksum(ARRAY)}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):  # noqa: N802
        server = self.server
        wanted = self.headers.get("Range")
        server.ranges.append(wanted)
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/slow":
            server.release.wait(10)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.resumes else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else len(CONTENT)
        self.wfile.write(CONTENT[start : start + cut])


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.ranges, server.cuts, server.resumes, server.release = [], [], True, threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(server, target, path="/file", md5=MD5, deadline=5.0):
    download([server.url + path], target, md5, deadline)


def test_a_download_arrives_whole(server, tmp_path):
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert server.ranges == [None]


def test_a_broken_connection_is_taken_up_where_it_broke(server, tmp_path):
    server.cuts = [300_000, 200_000]
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_an_earlier_process_is_taken_up(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:400_000])
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.ranges == ["bytes=400000-"]


def test_a_connection_that_brings_nothing_is_given_up_and_its_part_kept(server, tmp_path):
    server.cuts = [300_000, 0]
    with pytest.raises(UnavailableError, match="broke off after 300,000 of 1,000,000 bytes"):
        fetch(server, tmp_path / "file")
    assert (tmp_path / "file.part").stat().st_size == 300_000
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_complete_part_needs_no_bytes(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_server_that_cannot_resume_starts_again(server, tmp_path):
    server.resumes = False
    (tmp_path / "file.part").write_bytes(CONTENT[:10])
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_damaged_part_is_fetched_anew(server, tmp_path):
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


def test_a_wrong_md5_is_refused(server, tmp_path):
    with pytest.raises(UnavailableError, match=f"md5 {MD5} instead of {'0' * 32}"):
        fetch(server, tmp_path / "file", md5="0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_the_second_address_is_tried(server, tmp_path):
    download([f"{server.url}/missing", f"{server.url}/file"], tmp_path / "file", MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_the_reason_for_each_address_is_given(server, tmp_path):
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:\d+: HTTP Error 404: .*; .*refused"):
        download([f"{server.url}/missing", "http://127.0.0.1:9/file"], tmp_path / "file", MD5)


def test_a_silent_network_is_given_up(server, tmp_path):
    before = time.monotonic()
    with pytest.raises(UnavailableError, match="no answer within 0.3 seconds|timed out"):
        fetch(server, tmp_path / "file", "/slow", deadline=0.3)
    assert time.monotonic() - before < 5


def test_a_link_where_the_part_goes_is_not_followed(server, tmp_path):
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "file.part").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="cannot write into"):
        fetch(server, tmp_path / "file")
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_full_disk_while_downloading_is_named(server, tmp_path, monkeypatch):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    monkeypatch.setattr(downloads, "_not_through_a_link", lambda *_: os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(UserError, match=f"the disk of {tmp_path} is full"):
        fetch(server, tmp_path / "file")


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A stand-in for the npm client, first on the PATH; it is given the body of its script."""

    def install(body):
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "npm").write_text(f"#!/bin/sh\n{body}\n")
        (folder / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return install


def test_npm_pack_brings_the_tarball(npm, tmp_path):
    npm('test "$1 $2" = "pack some-data@1.0.0" && echo content > some-data-1.0.0.tgz')
    target = tmp_path / "data"
    target.mkdir()
    npm_pack("some-data@1.0.0", target)
    assert [path.name for path in target.iterdir()] == ["some-data-1.0.0.tgz"]
    assert (target / "some-data-1.0.0.tgz").read_text() == "content\n"


def test_a_failing_npm_says_why_in_one_line(npm, tmp_path):
    lines = ["warn x", "error code E404", "error 404 no such package", "error A complete log is in"]
    npm("; ".join(f'echo "npm {line}" >&2' for line in lines) + "; exit 1")
    with pytest.raises(UnavailableError, match="^npm error 404 no such package$"):
        npm_pack("some-data@1.0.0", tmp_path)


def test_a_disk_that_is_full_for_npm_is_named(npm, tmp_path):
    npm('echo "npm error code ENOSPC" >&2; exit 1')
    with pytest.raises(UserError, match=f"the disk of {tmp_path} is full"):
        npm_pack("some-data@1.0.0", tmp_path)


def test_npm_that_hangs_is_given_up(npm, tmp_path, monkeypatch):
    npm("exec sleep 20")
    monkeypatch.setattr(downloads, "NPM_SECONDS", 0.2)
    with pytest.raises(UnavailableError, match="did not finish"):
        npm_pack("some-data@1.0.0", tmp_path)


def test_without_npm_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="not installed"):
        npm_pack("some-data@1.0.0", tmp_path)


def source(name, fetch=None):
    """A source of one file that holds the array's bytes."""

    def read(files):
        with reading(files["images"]):
            return {"images": np.frombuffer(files["images"].read_bytes(), np.uint8).reshape(6)}

    return Source(
        name, lambda folder: {"images": folder / name} if (folder / name).exists() else {}, read, fetch
    )


def bring(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def unreachable(_):
    raise UnavailableError("no network")


def get(folder, *sources):
    return obtain("toy", folder, sources, KNOWN, f"Put toy.bin into {folder}")["images"]


def test_files_that_are_there_come_before_any_fetch(tmp_path, capsys):
    (tmp_path / "b").write_bytes(ARRAY.tobytes())
    assert np.array_equal(get(tmp_path, source("a", unreachable), source("b")), ARRAY)
    assert "trying" not in capsys.readouterr().err


def test_sources_are_tried_in_order_each_with_one_line(tmp_path, capsys):
    found = get(tmp_path, source("a", unreachable), source("b", bring("b", ARRAY.tobytes())))
    assert np.array_equal(found, ARRAY)
    assert capsys.readouterr().err.splitlines() == [
        "toy: trying a",
        "toy: could not fetch a: no network",
        "toy: trying b",
        f"toy: reading b in {tmp_path}",
    ]


@pytest.mark.parametrize("data", [b"\1\1\2\3\4\5", b"", b"\0\1\2", b"\0\1\2\3\4\5\6"])
def test_a_damaged_file_is_named_set_aside_and_replaced(tmp_path, capsys, data):
    (tmp_path / "a").write_bytes(data)
    assert np.array_equal(get(tmp_path, source("a", bring("a", ARRAY.tobytes()))), ARRAY)
    assert (tmp_path / "a.damaged").read_bytes() == data
    assert f"{tmp_path / 'a'} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "seen"), [(PermissionError(13, "Permission denied"), UserError), (MemoryError(), MemoryError)]
)
def test_a_file_that_cannot_be_read_here_is_not_damaged(tmp_path, error, seen):
    (tmp_path / "a").write_bytes(ARRAY.tobytes())

    def read(files):
        with reading(files["images"]):
            raise error

    with pytest.raises(seen) as refused:
        get(tmp_path, replace(source("a"), read=read))
    assert seen is MemoryError or str(refused.value) == f"{tmp_path / 'a'} cannot be read: Permission denied"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_fetched_file_with_other_pixels_is_refused_too(tmp_path, capsys):
    found = get(tmp_path, source("a", bring("a", b"654321")), source("b", bring("b", ARRAY.tobytes())))
    assert np.array_equal(found, ARRAY)
    assert "not the expected data" in capsys.readouterr().err


def test_if_none_works_one_line_says_what_to_do(tmp_path):
    with pytest.raises(UserError) as caught:
        get(tmp_path, source("a", unreachable), source("b", bring("b", b"654321")))
    message = str(caught.value)
    assert f"Put toy.bin into {tmp_path}" in message
    assert "\n" not in message


def test_no_more_is_unpacked_than_a_data_set_has(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MOST", 10_240)
    for size in (10_240, 10_241):
        (tmp_path / "plain").write_bytes(bytes(size))
        (tmp_path / "packed.gz").write_bytes(gzip.compress(bytes(size)))
        for name in ("plain", "packed.gz"):
            if size == 10_240:
                assert sources.content(tmp_path / name) == bytes(size)
            else:
                with pytest.raises(ValueError, match="it unpacks to more than 10,240 bytes"):
                    sources.content(tmp_path / name)


def tar_that_claims(path, size, kind=tarfile.REGTYPE):
    """A .tar.gz of one header that claims so many bytes."""
    header = tarfile.TarInfo("large")
    header.size, header.type = size, kind
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(50_000)))
    return path


def test_an_archive_that_claims_a_terabyte_is_not_unpacked(tmp_path):
    path = tar_that_claims(tmp_path / "a.tar.gz", 10**12)
    with pytest.raises(ValueError, match="claims 1,000,000,000,000 bytes; at most 536,870,912 are unpacked"):
        sources.members(path)


def test_a_header_that_goes_on_for_ever_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MOST", 20_480)
    path = tar_that_claims(tmp_path / "a.tar.gz", 10**12, tarfile.GNUTYPE_LONGNAME)
    with pytest.raises(ValueError, match="it unpacks to more than 20,480 bytes"):
        sources.members(path)

"""A server as W&B's library asks it: it keeps the history of one run, and the views that are saved there."""

import gzip
import json
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PROJECT = {
    "id": "P",
    "internalId": "1",
    "name": "caelab",
    "entityName": "me",
    "entity": {"id": "E", "name": "me"},
}


class Server:
    """Listens on this machine as long as its context lasts.

    Attributes:
        history: rows of the run, in the order in which they came.
        views: type -> what was saved of it.
        address: where it listens.
    """

    def __init__(self) -> None:
        self.history: list[dict[str, Any]] = []
        self.views: dict[str, dict[str, Any]] = {}
        self._run: dict[str, Any] | None = None
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "Server":
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def call(self, environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
        """Run a module of Python that takes this server for W&B's, and not a service of this process."""
        own = {"WANDB_BASE_URL": self.address, "WANDB_API_KEY": "k" * 40, "WANDB_MODE": "online"}
        given = {key: value for key, value in environment.items() if key != "WANDB_SERVICE"}
        given |= own | {"WANDB_ERROR_REPORTING": "false"}
        return subprocess.run([sys.executable, "-m", *words], env=given, capture_output=True, text=True)

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Answer what was posted to a path."""
        if path.endswith("file_stream"):
            lines = (body.get("files") or {}).get("wandb-history.jsonl")
            if lines:
                self.history[lines["offset"] :] = map(json.loads, lines["content"])
            return {}
        query, values = body.get("query", ""), body.get("variables") or {}
        kind = re.search(r"(?:query|mutation)\s+(\w+)", query)
        if kind and "Artifact" in kind[1]:  # which W&B's library survives
            return {"data": None, "errors": [{"message": "this server keeps no artifacts"}]}
        return {"data": getattr(self, f"_{kind[1].lower()}" if kind else "", lambda _: {})(values)}

    def _runresumestatus(self, _: Any) -> dict[str, Any]:
        tail = json.dumps([json.dumps(row) for row in self.history[-1:]])
        there = {
            "historyLineCount": len(self.history),
            "historyTail": tail,
            "eventsTail": "[]",
            "config": "{}",
        }
        there |= {"eventsLineCount": 0, "logLineCount": 0, "summaryMetrics": "{}", "wandbConfig": '{"t": 1}'}
        return {"model": _PROJECT | {"bucket": self._run and self._run | there}}

    def _upsertbucket(self, values: dict[str, Any]) -> dict[str, Any]:
        new = self._run is None
        self._run = {"id": "R", "name": values["name"], "displayName": values["name"], "project": _PROJECT}
        return {"upsertBucket": {"bucket": self._run, "inserted": new}}

    def _createrunfiles(self, values: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.address}/files/{name}"} for name in values["files"]]
        return {"createRunFiles": {"runID": "R", "uploadHeaders": [], "files": files}}

    def _viewer(self, _: Any) -> dict[str, Any]:
        return {
            "viewer": {"id": "U", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
        }

    _getdefaultentity = _viewer

    def _getprojects(self, _: Any) -> dict[str, Any]:
        page = {"endCursor": None, "hasNextPage": False}
        node = _PROJECT | {"createdAt": "2026-01-01", "isBenchmark": False, "user": None}
        return {"models": {"pageInfo": page, "edges": [{"node": node}]}}

    def _upsertview(self, values: dict[str, Any]) -> dict[str, Any]:
        self.views[values["type"]] = values
        view = {"id": "V", "type": values["type"], "name": values["name"], "project": _PROJECT}
        view |= {"displayName": values["displayName"], "description": "", "spec": values["spec"]}
        return {"upsertView": {"view": view, "inserted": True}}

    _upsertview2 = _upsertview


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            self._send(server.answer(self.path, json.loads(body or "{}")))

        def do_GET(self) -> None:  # noqa: N802
            self._send({})

        def do_PUT(self) -> None:  # noqa: N802
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._send({})

        def _send(self, found: dict[str, Any]) -> None:
            text = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    return Handler

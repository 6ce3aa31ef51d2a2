"""A server on loopback that takes uploads as Hugging Face does, as far as huggingface_hub needs it for a commit.

Source: huggingface_hub 2.4, hf_api.py (create_repo, model_info, _validate_yaml), _commit_api.py and lfs.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WRITE, READ = "hf_" + "w" * 34, "hf_" + "r" * 34
"""A token of "mika" that may write, and one that may only read."""
OWNERS = {WRITE: ("mika",), READ: ()}


@dataclass
class Repository:
    """A repository: its files by name, whether it is private, and whether it is a model or a dataset."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    kind: str = "model"
    large: set[str] = field(default_factory=set)
    """The names of the files that are stored by their SHA-256."""
    head: str = COMMIT

    def commit(self) -> None:
        """Gives the repository another commit."""
        self.head = hashlib.sha1(self.head.encode(), usedforsecurity=False).hexdigest()


def git_id(content: bytes) -> str:
    """The id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of an upload."""

    protocol_version = "HTTP/1.1"
    server: Hub  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self._begin()
        name, is_tree, below = (
            self.place.removeprefix("/api/models/").removeprefix("/api/datasets/").partition("/tree/")
        )
        found = self.server.repositories.get(name)
        if not self._knows():
            self._say(401, {"error": "Invalid credentials in Authorization header"})
        elif found is None or (found.private and name.partition("/")[0] not in self.owns):
            self._say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        else:
            files = [{"rfilename": each} for each in found.files]
            about = {"id": name, "private": found.private, "siblings": files, "sha": found.head}
            self._tree(found, unquote(below.partition("/")[2])) if is_tree else self._say(200, about)

    def do_POST(self) -> None:
        self._begin()
        if self.server.broken and self.server.broken in self.place:
            self._say(503, {"error": "down"})
        elif not self._knows():
            self._say(401, {"error": "Invalid credentials in Authorization header"})
        elif self.place == "/api/validate-yaml":
            self._say(200, {"errors": [], "warnings": []})
        elif self.place == "/api/repos/create":
            self._create()
        elif "/preupload/" in self.place:
            files = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith((".safetensors", ".png")) else "regular",
                    "shouldIgnore": False,
                }
                for each in self._json()["files"]
            ]
            self._say(200, {"files": files})
        elif self.place.endswith("/info/lfs/objects/batch"):
            objects = [
                each
                if each["oid"] in self.server.stored
                else {
                    **each,
                    "actions": {"upload": {"href": f"{self.server.url}/store/{each['oid']}?X-Amz-Signature=s"}},
                }
                for each in self._json()["objects"]
            ]
            self._say(200, {"objects": objects, "transfer": "basic"})
        elif "/commit/" in self.place:
            self._commit()
        else:
            self._say(404, {"error": "no such route"})

    def do_PUT(self) -> None:
        self._begin()
        if self.server.broken and self.server.broken in self.place:
            return self._say(403, {"error": "refused"})
        self.server.stored[hashlib.sha256(self.body).hexdigest()] = self.body
        return self._say(200, {})

    def _tree(self, found: Repository, below: str) -> None:
        """The files below a folder, as api/models/REPO/tree lists them: a large one with its SHA-256, each with its git id."""
        rows = []
        if self.server.next_page:
            return self._say(200, rows, {"Link": f'<{self.server.next_page}>; rel="next"'})
        for path, content in found.files.items():
            if not path.startswith(f"{below}/"):
                continue
            row: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_id(content)}
            if path in found.large:
                row["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            rows.append(row)
        if not rows:
            return self._say(404, {"error": f"{below} does not exist"}, {"X-Error-Code": "EntryNotFound"})
        return self._say(200, rows)

    def _begin(self) -> None:
        self.place = urlsplit(self.path).path
        self.body = self._read()
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.server.requests.append((self.command, self.path, token))
        self.token, self.owns = token, OWNERS.get(token, ())

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _knows(self) -> bool:
        return self.token in OWNERS

    def _json(self) -> Any:
        return json.loads(self.body)

    def _create(self) -> None:
        asked = self._json()
        owner, name = asked["organization"], asked["name"]
        if owner not in self.owns:
            return self._say(403, {"error": f"You don't have the rights to create a model under the namespace {owner}"})
        repo = f"{owner}/{name}"
        self.server.repositories[repo] = Repository(
            asked.get("visibility") == "private", kind=asked.get("type") or "model"
        )
        return self._say(200, {"url": f"{self.server.url}/{repo}"})

    def _commit(self) -> None:
        plain = self.place.removeprefix("/api/models/").removeprefix("/api/datasets/")
        name = plain.partition("/commit/")[0]
        if name.partition("/")[0] not in self.owns:
            return self._say(
                403, {"error": "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request"}
            )
        found = self.server.repositories[name]
        files = found.files
        for row in map(json.loads, self.body.splitlines()):
            value = row["value"]
            if row["key"] == "header" and value.get("parentCommit", found.head) != found.head:
                return self._say(412, {"error": "A commit has happened since"})
            if row["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif row["key"] == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
                found.large.add(value["path"])
        found.commit()
        return self._say(200, {"commitUrl": f"{self.server.url}/{name}/commit/{found.head}", "commitOid": found.head})

    def _say(self, status: int, told: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        error = {"X-Error-Message": told["error"]} if "error" in told else {}
        for key, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **error,
            **(headers or {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in http.server
        """Prints nothing, because `Hub.requests` contains the requests."""


class Hub(ThreadingHTTPServer):
    """Repositories by id, what was uploaded, and the requests as (method, path, token)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.broken = ""
        """A part of the paths that are answered with a server error."""
        self.next_page = ""
        """Where each list of files is said to go on."""


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that runs until the end of the block."""
    server = Hub()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()

"""A real HTTP server on loopback that serves files correctly, or with the faults that a test chooses.

`Server.put` serves bytes; `faults` are applied to the first requests for them, one per request. `hub` and `civitai` answer
like the interfaces of those sites, with a redirect to another host for each file.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def model(seed: int = 1, size_bytes: int = 200_000, key: str = "weight") -> bytes:
    """A complete safetensors file with one tensor, whose content depends on `seed`."""
    data = (hashlib.sha256(str(seed).encode()).digest() * (size_bytes // 32 + 1))[:size_bytes]
    table = {key: {"dtype": "U8", "shape": [size_bytes], "data_offsets": [0, size_bytes]}}
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + data


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Request:
    """A received request."""

    path: str
    query: str
    headers: dict[str, str]

    @property
    def range(self) -> str:
        return self.headers.get("range", "")


Fault = Callable[["Handler", "Served"], None]


@dataclass
class Served:
    """The bytes at a path, and the faults for the first requests."""

    body: bytes
    faults: list[Fault] = field(default_factory=list)
    always: Fault | None = None
    etag: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    token: str = ""
    """The token that a request needs; "" for none."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request: with the next fault of the path, or with the file if no fault is left."""

    protocol_version = "HTTP/1.1"
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        self.server.requests.append(Request(path, parts.query, {k.lower(): v for k, v in self.headers.items()}))
        served = self.server.files.get(path)
        if served is None:
            self.answer(404, b"not found")
        elif served.token and self.headers.get("Authorization") != f"Bearer {served.token}":
            self.answer(401, b"unauthorized")
        elif served.faults:
            served.faults.pop(0)(self, served)
        else:
            (served.always or send)(self, served)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server requires

    def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, stop_at: int = -1
    ) -> None:
        """Sends an answer, but only `stop_at` bytes of its body. A Content-Length in `headers` is sent unchanged."""
        self.send_response(status)
        sent = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
        for name, value in sent.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if stop_at < 0 else body[:stop_at])
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in http.server
        """Prints nothing, because `Server.requests` contains the requests."""


class Server(ThreadingHTTPServer):
    """Files by path, and the requests for them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, Served] = {}
        self.requests: list[Request] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.elsewhere = f"http://localhost:{self.server_port}"

    def put(self, path: str, body: bytes, *faults: Fault, **more: Any) -> str:
        """Serves `body` at `path` and returns the URL."""
        self.files[path] = Served(body, list(faults), **{"etag": f'"{sha256(body)[:16]}"', **more})
        return self.url + path

    def asked(self, path: str) -> list[Request]:
        """The requests for a path."""
        return [request for request in self.requests if request.path == path]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores errors, because in some tests the client closes the connection."""

    def hub(self, repo: str, files: Mapping[str, bytes], token: str = "", faults: Sequence[Fault] = ()) -> None:
        """Serves a repository like Hugging Face: a listing, and a redirect to another host for each file."""
        siblings = [
            {
                "rfilename": path,
                "size": len(body),
                "lfs": {"sha256": sha256(body), "size": len(body), "pointerSize": 134},
            }
            if path.endswith((".safetensors", ".bin", ".ckpt", ".gguf"))
            else {"rfilename": path, "size": len(body)}
            for path, body in files.items()
        ]
        listing = json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings}).encode()
        for revision in ("", "/revision/main"):
            self.put(
                f"/api/models/{repo}{revision}",
                listing,
                *faults,
                token=token,
                headers={"Content-Type": "application/json"},
            )
        for path, body in files.items():
            self.put(f"/cdn/{repo}/{path}", body)
            linked = {"X-Linked-Etag": f'"{sha256(body)}"', "X-Linked-Size": str(len(body)), "X-Repo-Commit": COMMIT}
            to = redirect(f"{self.elsewhere}/cdn/{repo}/{path}?Signature=secret", linked)
            self.put(f"/{repo}/resolve/{COMMIT}/{path}", b"", always=to, token=token)

    def dataset(self, repo: str, files: Mapping[str, bytes], token: str = "") -> None:
        """Serves a dataset like Hugging Face: a listing, and a redirect to another host for each file."""
        siblings = [
            {
                "rfilename": path,
                "size": len(body),
                "lfs": {"sha256": sha256(body), "size": len(body), "pointerSize": 134},
            }
            if path.endswith((".png", ".zip", ".tar"))
            else {"rfilename": path, "size": len(body)}
            for path, body in files.items()
        ]
        listing = json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings}).encode()
        for revision in ("", "/revision/main"):
            kind = {"Content-Type": "application/json"}
            self.put(f"/api/datasets/{repo}{revision}", listing, token=token, headers=kind)
        for path, body in files.items():
            self.put(f"/cdn/{repo}/{path}", body)
            to = redirect(f"{self.elsewhere}/cdn/{repo}/{path}?Signature=secret")
            self.put(f"/datasets/{repo}/resolve/{COMMIT}/{path}", b"", always=to, token=token)

    def civitai(self, number: int, version: int, name: str, body: bytes, token: str = "", **more: Any) -> None:
        """Serves a model like Civitai."""
        file = {
            "id": 9,
            "name": name,
            "type": "Model",
            "sizeKB": round(len(body) / 1024, 3),
            "primary": True,
            "hashes": {"SHA256": sha256(body).upper()},
            "metadata": {"format": "SafeTensor", "fp": "fp16", "size": "pruned"},
            "downloadUrl": f"{self.url}/api/download/models/{version}",
            **more,
        }
        other = {"id": 8, "name": "training.zip", "type": "Training Data", "sizeKB": 1.0}
        answer = {"id": version, "modelId": number, "name": "v1", "files": [other, file]}
        kind = {"Content-Type": "application/json"}
        self.put(
            f"/api/v1/models/{number}", json.dumps({"id": number, "modelVersions": [answer]}).encode(), headers=kind
        )
        self.put(f"/api/v1/model-versions/{version}", json.dumps(answer).encode(), headers=kind)
        self.put(f"/r2/{version}", body)
        to = redirect(f"{self.elsewhere}/r2/{version}?X-Amz-Signature=secret")
        self.put(f"/api/download/models/{version}", b"", always=to, token=token)


@contextmanager
def running() -> Iterator[Server]:
    """A server that runs until the end of the block."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def described(served: Served) -> dict[str, str]:
    return {"ETag": served.etag, "Accept-Ranges": "bytes", **served.headers}


def part(handler: Handler, served: Served) -> tuple[int, dict[str, str], bytes]:
    """The status, headers and body of a correct answer."""
    whole = len(served.body)
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
    if not found or handler.headers.get("If-Range", served.etag) != served.etag:
        return 200, described(served), served.body
    start, end = int(found.group(1)), min(int(found.group(2) or whole), whole - 1)
    if start >= whole:
        return 416, {"Content-Range": f"bytes */{whole}"}, b""
    headers = {**described(served), "Content-Range": f"bytes {start}-{end}/{whole}"}
    return 206, headers, served.body[start : end + 1]


def send(handler: Handler, served: Served) -> None:
    """Sends the file, or the requested part."""
    status, headers, body = part(handler, served)
    handler.answer(status, body, headers)


def ignores_ranges(handler: Handler, served: Served) -> None:
    """Sends the whole file, even if a part was requested."""
    handler.answer(200, served.body, {"ETag": served.etag, **served.headers})


def drops(after: int, ranges: bool = True) -> Fault:
    """Closes the connection after `after` bytes of the body."""

    def fault(handler: Handler, served: Served) -> None:
        status, headers, body = part(handler, served) if ranges else (200, described(served), served.body)
        handler.answer(status, body, headers, stop_at=after)

    return fault


def stalls(after: int, pause_s: float) -> Fault:
    """Sends `after` bytes of the body, then nothing for `pause_s` seconds."""

    def fault(handler: Handler, served: Served) -> None:
        status, headers, body = part(handler, served)
        handler.answer(status, body, headers, stop_at=after)
        handler.wfile.flush()
        time.sleep(pause_s)

    return fault


def answers(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Fault:
    """Sends this answer instead of the file."""

    def fault(handler: Handler, served: Served) -> None:
        handler.answer(status, body, headers)

    return fault


def redirect(to: str, headers: Mapping[str, str] | None = None, status: int = 302) -> Fault:
    """Redirects to another URL."""
    return answers(status, {"Location": to, **(headers or {})})


def wrong_length(length: int) -> Fault:
    """Sends a wrong Content-Length, then closes the connection."""

    def fault(handler: Handler, served: Served) -> None:
        handler.answer(200, served.body[:length], {**described(served), "Content-Length": str(length)})

    return fault


def other_part(shift: int) -> Fault:
    """Sends a part that does not begin at the requested byte."""

    def fault(handler: Handler, served: Served) -> None:
        status, headers, body = part(handler, served)
        if status != 206:
            handler.answer(status, body, headers)
            return
        start = len(served.body) - len(body) + shift
        changed = {**headers, "Content-Range": f"bytes {start}-{len(served.body) - 1}/{len(served.body)}"}
        handler.answer(206, served.body[start:], changed)

    return fault


def other_file(body: bytes) -> Fault:
    """Sends the requested part of another file, with another ETag."""

    def fault(handler: Handler, served: Served) -> None:
        start = int(re.findall(r"\d+", handler.headers.get("Range", "bytes=0-"))[0])
        headers = {"ETag": '"another"', "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        handler.answer(206, body[start:], headers)

    return fault


def chunked(handler: Handler, served: Served) -> None:
    """Sends the whole file in chunks, without a Content-Length."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for at in range(0, len(served.body), 50_000):
        piece = served.body[at : at + 50_000]
        handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")

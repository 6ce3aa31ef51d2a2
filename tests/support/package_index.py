"""A package index on loopback: a folder of wheels as PEP 503 describes it, with a password if wanted. It records what was asked for."""

from __future__ import annotations

import base64
import contextlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Index:
    """`address` is its root; below it, `simple` and `whl/<build>` list the same wheels."""

    def __init__(self, wheels: Path, password: str) -> None:
        self.asked: list[str] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                expected = "Basic " + base64.b64encode(f"user:{password}".encode()).decode()
                if password and self.headers.get("Authorization") != expected:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", "Basic")
                    self.end_headers()
                    return
                index.asked.append(self.path)
                *_, name = self.path.rstrip("/").split("/")
                if self.path.endswith("/"):
                    files = [file.name for file in wheels.iterdir() if _package(file.name) == name]
                    self.answer("".join(f'<a href="/files/{file}">{file}</a>' for file in files).encode(), "text/html")
                elif self.path.startswith("/files/") and (wheels / name).is_file():
                    self.answer((wheels / name).read_bytes(), "application/octet-stream")
                else:
                    self.send_error(404)

            def do_HEAD(self) -> None:
                self.do_GET()

            def answer(self, data: bytes, kind: str) -> None:
                self.send_response(200 if data else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - its name in the base class
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        user = f"user:{password}@" if password else ""
        self.address = f"http://{user}127.0.0.1:{self.server.server_port}"


def _package(file: str) -> str:
    return re.sub(r"[-_.]+", "-", file.partition("-")[0]).lower() if file.endswith((".whl", ".tar.gz")) else ""


@contextlib.contextmanager
def serving(wheels: Path, password: str = "") -> Iterator[Index]:
    """The index of a folder of wheels."""
    index = Index(wheels, password)
    thread = threading.Thread(target=index.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield index
    finally:
        index.server.shutdown()
        index.server.server_close()

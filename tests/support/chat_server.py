"""A server on loopback with OpenAI's interface, which answers about each image as a test wants.

The question must end with "of {name}", so that the server knows which image it is.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

QUESTION = "Write one caption of {name}"
MODEL = "tiny-vl"
KEY = "sk-" + "k3y" * 12
FINE = "A woman in a red coat stands on a bridge at dawn, with the city behind her."
TEXTS: Mapping[str, tuple[str, str]] = {
    "refusal": ("I'm sorry, but I can't help with that request.", "stop"),
    "loop": ("a red coat, " * 80, "stop"),
    "length": ("A woman in a red coat stands on a bridge at", "length"),
    "thinking": (f"<think>The user wants a caption. The image shows a bridge.</think>\n{FINE}", "stop"),
    "endless": ("<think>The user wants a caption. The image", "length"),
    "filler": ("The image shows a woman in a red coat on a bridge at dawn.", "stop"),
    "json": (json.dumps({"caption": FINE}), "stop"),
    "fence": (f"```json\n{json.dumps({'caption': FINE})}\n```", "stop"),
    "table": (json.dumps({"subject": "woman", "place": "bridge"}), "stop"),
    "list": ("- a woman\n- a bridge\n- a city", "stop"),
    "german": ("Eine Frau mit einem roten Mantel steht auf der Brücke und sieht über die Stadt.", "stop"),
    "chinese": ("一位穿着红色外套的女子在黎明时分站在桥上", "stop"),
    "style": ("An oil painting of a woman on a bridge in vibrant colours.", "stop"),
    "reader": (f"{FINE} Let me know if you would like more details!", "stop"),
    "blank": ("", "stop"),
    "control": (f"\x1b[31m{FINE[:9]}\x00\x9b\u202e{FINE[9:]}\x1b[0m", "stop"),
    "markup": (f"{FINE} <script>alert(1)</script>", "stop"),
}
"""Answers with something wrong, by what it is."""


@dataclass
class Seen:
    """A request: its method, path, headers and body, and the time."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    name: str = ""
    time_s: float = field(default_factory=time.monotonic)


class Handler(BaseHTTPRequestHandler):
    """Answers as its server wants."""

    protocol_version = "HTTP/1.1"
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self.server.seen.append(Seen("GET", self.path, dict(self.headers), None))
        if not self._is_known():
            return
        if self.server.redirect:
            self._say(307, {}, {"Location": self.server.redirect + self.path})
        elif self.path == "/v1/models":
            self._say(200, {"object": "list", "data": [{"id": MODEL}, {"id": "other-vl"}]})
        else:
            self._say(404, {"error": {"message": "no such page"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = Seen("POST", self.path, dict(self.headers), body, _name(body))
        with self.server.lock:
            self.server.seen.append(found)
            self.server.active += 1
            self.server.most_active = max(self.server.most_active, self.server.active)
            wanted = self.server.wanted.get(found.name, ["fine"])
            action = wanted[min(self.server.counts[found.name], len(wanted) - 1)]
            self.server.counts[found.name] += 1
        try:
            time.sleep(self.server.pause_s)
            self._act(action)
        finally:
            with self.server.lock:
                self.server.active -= 1

    def _act(self, action: Any) -> None:
        if not self._is_known():
            return
        if self.server.redirect:
            self._say(307, {}, {"Location": self.server.redirect + self.path})
        elif action == "slow":
            time.sleep(5)
            self._say(200, {})
        elif isinstance(action, int):
            more = {"Retry-After": "0"} if action == 429 else {}
            key = self.headers.get("Authorization", "")
            self._say(action, {"error": {"message": f"status {action} for {key}"}}, more)
        else:
            text, reason = TEXTS.get(action, (action if action != "fine" else FINE, "stop"))
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
            self._say(200, {"choices": [choice], "usage": {"completion_tokens": 20}})

    def _is_known(self) -> bool:
        """Whether the key is right; else the request is refused."""
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            self._say(401, {"error": {"message": f"Incorrect API key provided: {key}"}})
            return False
        return True

    def _say(self, status: int, table: Any, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(table).encode()
        try:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class Server(ThreadingHTTPServer):
    """The server: `wanted` has what is answered about each image, one after another; `seen` are the requests."""

    daemon_threads = True

    def __init__(self, key: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.key, self.redirect, self.pause_s = key, "", 0.0
        self.wanted: dict[str, list[Any]] = {}
        self.counts: dict[str, int] = defaultdict(int)
        self.seen: list[Seen] = []
        self.lock = threading.Lock()
        self.active = self.most_active = 0

    @property
    def url(self) -> str:
        """Its address, with the version of the interface."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def asked(self) -> list[str]:
        """The names of the images in the requests, in order."""
        return [each.name for each in self.seen if each.method == "POST"]


def image_of(seen: Seen) -> Image.Image:
    """The image in a request."""
    url = seen.body["messages"][0]["content"][1]["image_url"]["url"]
    kind, _, data = url.partition(";base64,")
    assert kind == "data:image/jpeg"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def _name(body: Any) -> str:
    return body["messages"][0]["content"][0]["text"].rpartition(" of ")[2].strip()


@contextmanager
def running(key: str = "") -> Iterator[Server]:
    """A server that runs."""
    server = Server(key)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()

"""A proxy before an HTTP server, whose answers a test can refuse, cut, slow down or damage."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import http.server
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any

WINDOW = dt.timedelta(minutes=15)
"""How wrong a clock may be. Source: AWS, "Error responses", RequestTimeTooSkewed."""


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict
    body: bytes = field(repr=False)


@dataclass
class Fault:
    """What is done with the next `times` requests that fit: `method`, a part of `path` and a part of the header Range."""

    method: str = ""
    path: str = ""
    span: str = ""
    times: int = 1
    status: int = 0
    code: str = ""
    headers: dict = field(default_factory=dict)
    extra: str = ""
    cut_answer: int | None = None
    cut_request: bool = False
    lose_answer: bool = False
    slow_s: float = 0
    flip: bool = False
    before: Any = None

    def fits(self, request):
        if self.times <= 0 or (self.method and request.method != self.method) or self.path not in request.path:
            return False
        if self.span not in request.headers.get("Range", ""):
            return False
        self.times -= 1
        return True


class Network:
    """Passes requests on; `faults` are tried in turn. `clock` is the time of the server, as an offset; `region` its only one; `ignored` are headers that it does not see."""

    def __init__(self, port):
        self.to = port
        self.port = 0
        self.seen = []
        self.faults = []
        self.clock = dt.timedelta()
        self.region = ""
        self.ignored = {"connection", "expect"}
        self.lock = threading.Lock()

    def fault(self, **what):
        self.faults.append(Fault(**what))
        return self.faults[-1]

    def of(self, method, part=""):
        return [each for each in self.seen if each.method == method and part in each.path]


def refusal(code, extra=""):
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message>{extra}</Error>".encode()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: Any

    protocol_version = "HTTP/1.1"

    def pass_on(self):
        length = int(self.headers.get("content-length") or 0)
        with self.server.network.lock:
            ahead = Seen(self.command, self.path, dict(self.headers), b"")
            fault = next((each for each in self.server.network.faults if each.fits(ahead)), None)
        if fault and fault.cut_request:
            self.rfile.read(min(length, 1 << 16))
            self.cut()
            return
        body = self.rfile.read(length) if length else b""
        with self.server.network.lock:
            self.server.network.seen.append(Seen(self.command, self.path, dict(self.headers), body))
        if answer := self.of_clock() or self.of_region():
            self.answer(*answer)
            return
        if fault and self.refused(fault):
            return
        status, headers, data = self.forward(body)
        if fault and fault.lose_answer:
            self.cut()
            return
        if fault and fault.flip and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        self.answer(status, headers, data, fault.cut_answer if fault else None)

    def refused(self, fault):
        if fault.before:
            fault.before()
        time.sleep(fault.slow_s)
        if fault.status:
            self.answer(fault.status, fault.headers, refusal(fault.code, fault.extra) if fault.code else b"")
        return bool(fault.status)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on  # noqa: N815

    def forward(self, body):
        there = http.client.HTTPConnection("127.0.0.1", self.server.network.to, timeout=30)
        sent = {name: value for name, value in self.headers.items() if name.lower() not in self.server.network.ignored}
        there.request(self.command, self.path, body or None, sent)
        found = there.getresponse()
        data = found.read()
        headers = {
            name: value for name, value in found.getheaders() if name.lower() not in {"connection", "transfer-encoding"}
        }
        there.close()
        return found.status, headers, data

    def answer(self, status, headers, data, cut=None):
        self.send_response_only(status)
        headers = {name.lower(): value for name, value in headers.items()}
        if self.command != "HEAD":
            headers["content-length"] = str(len(data))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data if cut is None else data[:cut])
        if cut is not None:
            self.cut()

    def cut(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()

    def of_clock(self):
        """The refusal of a request whose time is too far from that of the server."""
        said = self.headers.get("x-amz-date")
        now = dt.datetime.now(dt.UTC) + self.server.network.clock
        if not said or not self.server.network.clock:
            return None
        sent = dt.datetime.strptime(said, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        if abs(now - sent) <= WINDOW:
            return None
        return 403, {}, refusal("RequestTimeTooSkewed", f"<ServerTime>{now:%Y-%m-%dT%H:%M:%SZ}</ServerTime>")

    def of_region(self):
        """The refusal of a request that is signed for another region."""
        found = re.search(r"Credential=[^/]+/\d+/([^/]+)/", self.headers.get("authorization", ""))
        if not self.server.network.region or not found or found[1] == self.server.network.region:
            return None
        headers = {"x-amz-bucket-region": self.server.network.region}
        return 400, headers, refusal("AuthorizationHeaderMalformed", f"<Region>{self.server.network.region}</Region>")

    def log_message(self, format, *args):  # noqa: A002
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, network):
        self.network = network
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request, client_address):
        """Nothing: a client goes away while it is answered whenever a test stops a transfer."""


@contextlib.contextmanager
def bad_network(port):
    """A proxy before the server at this port, for as long as the block runs."""
    network = Network(port)
    server = Server(network)
    network.port = server.server_port
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield network
    finally:
        server.shutdown()
        server.server_close()

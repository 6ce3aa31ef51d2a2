"""Callers that send nothing, or that never end, over sockets on loopback: others are answered meanwhile."""

import contextlib
import resource
import select
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.support import serving
from tests.support.played import until
from tests.support.serving import ask, call
from trainer_core.remote.serve import api, crowding

home, said, server = serving.home, serving.said, serving.server

STATUS, BARE = "/api/ngrok/status", "/api/training-webhook"
SLOW_BODY = b"POST /api/training-webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"


@contextlib.contextmanager
def connected(server, number, sends=b""):
    """So many connections that have sent these bytes."""
    with contextlib.ExitStack() as stack:
        found = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10)) for _ in range(number)
        ]
        for each in found:
            each.sendall(sends)
        yield found


def sends_until_it_is_closed(one, byte):
    """Sends single bytes; fails if the connection stays open for five seconds."""
    one.settimeout(0.05)
    for _ in range(100):
        try:
            one.sendall(byte)
            if one.recv(65536) == b"":
                return
        except TimeoutError:
            pass
        except ConnectionError:
            return
    raise AssertionError("the connection is still open")


@pytest.mark.parametrize(
    "sends", [b"", b"GET /api/ngrok/status HTTP/1.1\r\nX: "], ids=["nothing", "half of the headers"]
)
def test_connections_without_headers_keep_nobody_out(server, sends):
    with connected(server, 200, sends):
        assert ask(server, "GET", STATUS).status == 200
        assert call(server.address, "POST", BARE, b"{}").status == 200


def closed(connections):
    """How many of them the server has closed."""
    poll = select.poll()
    for each in connections:
        poll.register(each, select.POLLIN)
    return len(poll.poll(0))


def test_in_a_burst_the_limit_is_kept_and_a_caller_with_the_token_is_answered_at_once(server):
    with connected(server, 300) as idle:
        begun = time.monotonic()
        assert ask(server, "GET", STATUS).status == 200
        assert time.monotonic() - begun < 1
        until(lambda: closed(idle) >= 300 - crowding.MOST_WAITING)
        # The oldest ones were closed, and no more than needed.
        assert closed(idle) <= 300 - crowding.MOST_WAITING + 1
        assert closed(idle[-crowding.MOST_WAITING + 1 :]) == 0


def test_there_are_never_more_connections_than_may_be_open(server, monkeypatch):
    monkeypatch.setattr(crowding.Connection, "most_open", 5)
    asks = SLOW_BODY.replace(b"\r\n\r\n{", b"\r\nExpect: 100-continue\r\n\r\n")
    with connected(server, 5, asks) as answered:
        for each in answered:
            assert each.recv(64).startswith(b"HTTP/1.1 100")
        with connected(server, 3) as idle:
            until(lambda: closed(idle) == 3)
            assert closed(answered) == 0


def test_few_connections_are_accepted_in_one_turn_of_the_loop(server, monkeypatch):
    """Those that were accepted but not counted yet would otherwise use up the file descriptors."""
    turns, all_are_there = [0], threading.Event()
    made = crowding.Connection.connection_made

    def counted(self, transport):
        made(self, transport)
        # Until then the loop does nothing, and the system keeps the others.
        all_are_there.wait(20)
        if turns[-1] == 0:
            self.loop.call_soon(turns.append, 0)  # in the next turn
        turns[-1] += 1

    monkeypatch.setattr(crowding.Connection, "connection_made", counted)
    with connected(server, 250):
        all_are_there.set()
        until(lambda: sum(turns) >= 250)
    assert max(turns) <= crowding.ACCEPTED_AT_ONCE


def test_the_limit_of_open_files_is_raised_or_kept():
    ask_it = (
        "import resource; from trainer_core.remote.serve import crowding;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (260, 400)); most = crowding.most_open();"
        "print(most, *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", ask_it], capture_output=True, text=True, check=True)
    most, soft, hard = map(int, done.stdout.split())
    assert (soft, hard) == (400, 400)
    assert 0 < most < 400 / 2 - crowding.ACCEPTED_AT_ONCE
    assert crowding.most_open() <= resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_calls_whose_bodies_do_not_arrive_keep_out_other_calls_but_nobody_with_the_token(server):
    with connected(server, api.MOST_AT_ONCE + 6, SLOW_BODY) as waiting:
        # The last one is refused at once, so all others are being answered.
        assert waiting[-1].recv(12) == b"HTTP/1.1 503"
        assert call(server.address, "POST", BARE, b"{}").status == 503
        assert ask(server, "GET", STATUS).status == 200
    until(lambda: call(server.address, "POST", BARE, b"{}").status == 200)


def test_headers_must_arrive_in_time_however_slowly_they_come(server, monkeypatch):
    monkeypatch.setattr(crowding, "HEADERS_S", 0.3)
    with connected(server, 1, b"GET / HTTP/1.1\r\nX: ") as (one,):
        sends_until_it_is_closed(one, b"x")


@pytest.mark.parametrize(
    "first",
    [
        b"GET /api/ngrok/status HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/training/start HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n",
    ],
    ids=["another request", "the rest of a body"],
)
def test_after_an_answer_the_time_begins_anew_and_single_bytes_do_not_extend_it(server, monkeypatch, first):
    monkeypatch.setattr(crowding, "HEADERS_S", 0.3)
    with connected(server, 1, first) as (one,):
        assert one.recv(65536).startswith(b"HTTP/1.1 403")
        sends_until_it_is_closed(one, b"G")


def test_a_request_that_is_answered_slowly_is_not_cut(server, monkeypatch):
    """The time is for headers: a body may take longer."""
    monkeypatch.setattr(crowding, "HEADERS_S", 0.2)
    with connected(server, 1, SLOW_BODY) as (one,):
        one.settimeout(0.5)
        with pytest.raises(TimeoutError):
            one.recv(1)
        one.settimeout(10)
        one.sendall(b" " * 99)
        assert one.recv(12) == b"HTTP/1.1 200"

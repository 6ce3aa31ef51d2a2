"""The tunnel to the receiver: what it exposes, its states, and the errors of the document's troubleshooting.

The tunnel of these tests is a relay on loopback that passes bytes on. The package ngrok itself is tried, where it is installed,
with a service that refuses and one that never answers; no tunnel was opened to the Internet.
"""

import importlib.util
import os
import socket
import subprocess
import sys
import time

import pytest

from tests.support import serving
from tests.support.checkout import ROOT
from tests.support.played import until
from tests.support.relay import Relay
from tests.support.serving import call, process, remote_run
from trainer_core import places
from trainer_core.errors import RemoteError
from trainer_core.remote import credentials, serve
from trainer_core.remote.credentials import Secret
from trainer_core.remote.runpod import webhook
from trainer_core.remote.serve import keys, public, receiver
from trainer_core.remote.serve.ngrok_tunnel import NgrokTunnel
from trainer_core.remote.serve.table import OPERATIONS
from trainer_core.remote.serve.tunnel import FAILED, TIMEOUT, TunnelError

home = serving.home
AUTHTOKEN = "2abcDEFghiJKLmnoPQRstuVWX_" + "9xY" * 8


class RelayTunnel:
    """A tunnel on loopback."""

    def __init__(self, port, token, longest_s):
        self.port, self.token = port, token
        self.relay = Relay(port)
        self.url = f"http://127.0.0.1:{self.relay.port}"

    def close(self):
        self.relay.close()


@pytest.fixture
def opened(home, monkeypatch):
    monkeypatch.setenv("NGROK_AUTHTOKEN", AUTHTOKEN)
    with serve.start(port=0, opener=RelayTunnel) as server:
        yield server, server.tunnel.start().url


def test_only_the_receiver_can_be_reached_through_the_tunnel(opened):
    server, url = opened
    token = server.token.reveal()
    for each in OPERATIONS:
        path = each.path.replace("{id}", "16")
        assert call(url, each.method, path, {} if each.method == "POST" else None, token=token).status == 404
    for path in ("/", "/openapi.json", "/api", "/api/training-webhook/", "/api/training-webhook/../ngrok/status"):
        assert call(url, "GET", path, token=token).status in {404, 405}
    for path in receiver.PATHS:
        assert call(url, "POST", path, b"{}").data == {"received": True}
    assert call(url, "POST", "/api/ngrok/stop", token=token).status == 404
    assert server.tunnel.state().is_running


def test_a_call_through_the_tunnel_has_the_run_ask_now(opened):
    _, url = opened
    run = remote_run(places.runs(), "cat", "cat-0123abcd")
    address = public.webhook_of("cat-0123abcd", credentials.settings())
    assert address == url + webhook.path(keys.webhook_secret(), "cat-0123abcd")
    assert call(address, "POST", "", b"{}").status == 200
    until((run / "remote/ask-now").exists)


def test_start_status_and_stop_over_http(home, monkeypatch):
    monkeypatch.setenv("NGROK_AUTHTOKEN", AUTHTOKEN)
    with serve.start(port=0, opener=RelayTunnel) as server:

        def ask(method, action):
            return call(server.address, method, f"/api/ngrok/{action}", token=server.token.reveal()).data

        assert ask("GET", "status")["state"] == "off"
        first = ask("POST", "start")
        assert (first["running"], first["state"]) == (True, "running")
        assert ask("POST", "start")["url"] == first["url"] == ask("GET", "status")["url"]
        assert AUTHTOKEN not in str(first)
        assert ask("POST", "stop")["running"] is False
        assert public.webhook_of("r1", credentials.settings()) == ""
        with pytest.raises(OSError):
            call(first["url"], "POST", receiver.PATHS[0], b"{}")
        assert ask("POST", "start")["running"]


def test_a_tunnel_is_not_started_unless_it_is_asked_for(home, monkeypatch):
    monkeypatch.setenv("NGROK_AUTHTOKEN", AUTHTOKEN)

    def never(port, token, longest_s):
        raise AssertionError("it was started")

    with serve.start(port=0, opener=never) as server:
        assert server.tunnel.state().state == "off"
        assert server.receiver_address == ""


def test_the_end_of_the_server_closes_the_tunnel(opened):
    server, url = opened
    server.close()
    assert public.webhook_of("r1", credentials.settings()) == ""
    with pytest.raises(OSError):
        call(url, "POST", receiver.PATHS[0], b"{}")


def test_the_note_of_a_server_that_was_killed_does_not_count(home):
    with process(home, "--port", "0", GATEWAY_BASE_URL="https://api.example.com") as found:
        values = credentials.settings(environment={"GATEWAY_BASE_URL": "https://api.example.com"})
        assert public.webhook_of("r1", values).startswith("https://api.example.com/easel/remote-training/r1/")
        found.program.kill()
        found.program.wait()
        assert (keys.folder() / public.FILE).exists()
        assert public.webhook_of("r1", values) == ""


@pytest.mark.parametrize("name", ["GATEWAY_BASE_URL", "BASE_URL"])
def test_with_a_public_address_of_the_user_no_tunnel_is_started(home, monkeypatch, name):
    monkeypatch.setenv(name, "https://api.yourdomain.com/")
    with serve.start(port=0, opener=RelayTunnel) as server:
        state = server.tunnel.start()
        assert (state.state, state.url, state.is_running) == ("given", "https://api.yourdomain.com", True)
        assert server.receiver_address == ""


def test_gateway_base_url_comes_before_base_url(home, monkeypatch):
    monkeypatch.setenv("BASE_URL", "https://second.example")
    monkeypatch.setenv("GATEWAY_BASE_URL", "https://first.example")
    with serve.start(port=0) as server:
        assert server.tunnel.state().url == "https://first.example"


def test_a_public_address_that_is_none_is_refused_at_the_start(home, monkeypatch):
    monkeypatch.setenv("BASE_URL", "https://user:hunter2@x")
    with pytest.raises(RemoteError, match="password") as found:
        serve.start(port=0)
    assert "hunter2" not in str(found.value)


def test_the_receiver_alone_can_have_a_port_for_a_gateway(home):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serve.start(port=0, receiver_port=port) as server:
        assert server.receiver_address == f"http://127.0.0.1:{port}"
        assert call(server.receiver_address, "POST", receiver.PATHS[0], b"{}", headers={"Host": "api.x"}).status == 200
        assert call(server.receiver_address, "GET", "/api/ngrok/status", token=server.token.reveal()).status == 404


def test_failed_to_start_ngrok_without_its_package(home, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TunnelError, match=f"{FAILED}: the Python package ngrok is not installed") as found:
        NgrokTunnel(1, Secret(AUTHTOKEN, "NGROK_AUTHTOKEN", "a test"), 1)
    assert "pip install ngrok" in found.value.hint


def test_failed_to_start_ngrok_without_an_authtoken(home):
    with serve.start(port=0) as server, pytest.raises(TunnelError, match=f"{FAILED}: no authtoken is set"):
        server.tunnel.start()
    assert server.receiver_address == ""


def test_the_command_with_a_tunnel_that_cannot_be_opened_ends_with_the_error(home):
    command = [sys.executable, "-m", "trainer_core.cli", "remote", "serve", "--port", "0", "--tunnel"]
    ended = subprocess.run(
        command,
        check=False,
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Failed to start ngrok: no authtoken is set." in ended.stderr
    assert "Traceback" not in ended.stderr


needs_ngrok = pytest.mark.skipif(importlib.util.find_spec("ngrok") is None, reason="the optional package ngrok")


@needs_ngrok
def test_failed_to_start_ngrok_with_what_its_package_says():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(TunnelError, match=f"{FAILED}: failed to connect session") as found:
        NgrokTunnel(1, Secret(AUTHTOKEN, "NGROK_AUTHTOKEN", "a test"), 5, f"127.0.0.1:{port}")
    assert (found.value.kind, AUTHTOKEN in str(found.value)) == ("server", False)


@needs_ngrok
def test_ngrok_startup_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(TunnelError, match=f"{TIMEOUT}: ngrok gave no address within 1 seconds") as found:
            NgrokTunnel(1, Secret(AUTHTOKEN, "NGROK_AUTHTOKEN", "a test"), 1, f"127.0.0.1:{silent.getsockname()[1]}")
    assert found.value.kind == "slow"
    assert time.monotonic() - began < 10

"""`easel remote serve` on loopback: its fixtures, requests to it, and a process of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import runpod_twin
from tests.support.checkout import ROOT
from trainer_core.remote import credentials, serve
from trainer_core.remote.runpod.connection import BASE_URL_NAME
from trainer_core.remote.style_stores import LocalStore
from trainer_core.remote.styles import Styles


def live_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Works in a folder, with a home in it and without the settings of whoever runs the tests."""
    for name in credentials.KNOWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EASEL_HOME", str(folder / "home"))
    monkeypatch.chdir(folder)


def served(home: Path, said: list[str], **options: Any) -> serve.Server:
    """A server at any free port, with the styles of a folder."""
    return serve.start(port=0, styles=lambda: Styles(LocalStore(home)), say=said.append, **options)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    live_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def twin(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[runpod_twin.Twin]:
    with runpod_twin.running(speed=200) as found:
        monkeypatch.setenv(BASE_URL_NAME, found.url)
        monkeypatch.setenv("RUNPOD_API_KEY", runpod_twin.KEY)
        monkeypatch.setenv("MODEL_TRAINING_RUNPOD_ENDPOINT_ID", runpod_twin.ENDPOINT)
        yield found


@pytest.fixture
def said() -> list[str]:
    """What the server says to the user."""
    return []


@pytest.fixture
def server(home: Path, said: list[str]) -> Iterator[serve.Server]:
    with served(home, said) as made:
        yield made


@dataclass(frozen=True)
class Said:
    """A response. `data` is its JSON, None if the body is empty."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body) if self.body else None


def call(
    address: str,
    method: str,
    path: str,
    body: Any = None,
    *,
    token: str = "",
    headers: Mapping[str, str] | None = None,
) -> Said:
    """Sends a request; a body that is no bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} if raw is not None else {}
    sent |= {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(address + path, raw, sent | dict(headers or {}), method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as answer:
            return Said(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Said(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


def ask(server: serve.Server, method: str, path: str, body: Any = None, **more: Any) -> Said:
    """Sends a request with the token of a server."""
    return call(server.address, method, path, body, **({"token": server.token.reveal()} | more))


@dataclass
class Process:
    """A server in a process of its own."""

    program: subprocess.Popen[str]
    first: Any

    @property
    def address(self) -> str:
        return self.first["address"]

    def end(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Sends a signal; the exit code and the rest of both streams."""
        self.program.send_signal(number)
        out, err = self.program.communicate(timeout=20)
        return self.program.returncode, out, err


@contextlib.contextmanager
def process(folder: Path, *arguments: str, **environment: str) -> Iterator[Process]:
    """`easel remote serve --json` in a folder, at any free port, when it listens."""
    command = [sys.executable, "-m", "trainer_core.cli", "remote", "serve", "--json", "--at", ".", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment}
    program = subprocess.Popen(command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert program.stdout is not None
        lines = ""
        while not lines.rstrip().endswith("}"):
            line = program.stdout.readline()
            assert line, program.communicate()
            lines += line
        yield Process(program, json.loads(lines))
    finally:
        program.kill()
        program.communicate()


def remote_run(runs: Path, name: str, request_id: str) -> Path:
    """The folder of a remote run, as far as the receiver reads it."""
    folder = runs / name
    folder.mkdir(parents=True)
    (folder / "remote.json").write_text(json.dumps({"version": 1, "id": request_id, "target": {"kind": "runpod"}}))
    return folder

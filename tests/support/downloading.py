"""What the tests of downloads begin with: the server, and a download from it that is in a hurry."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.misbehaving import running, sha256
from trainer_core import hub_switch
from trainer_core.errors import DownloadError
from trainer_core.models import downloads, tokens
from trainer_core.models.downloads import http

SECRET = "sehrgeheim0815"
QUICK = downloads.Patience(connect_s=30, read_s=30, attempts=4, first_wait_s=0.01, longest_wait_s=0.3)
"""Tries again at once, and takes no slow machine for a silent server."""


@pytest.fixture(scope="module")
def shared_server():
    """The server, reached without the proxy that a machine may have."""
    from huggingface_hub import close_session

    with pytest.MonkeyPatch.context() as patch, running() as server:
        patch.setenv("NO_PROXY", "*")
        http._client.cache_clear()
        close_session()
        yield server


@pytest.fixture
def server(shared_server, monkeypatch, tmp_path):
    """The server, empty; no token of the person who runs the tests."""
    from huggingface_hub import constants

    shared_server.files.clear()
    shared_server.requests.clear()
    for name in [name for site in tokens.SITES.values() for name in site.names]:
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_ENDPOINT", "CIVITAI_ENDPOINT", *hub_switch.SWITCHES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    yield shared_server
    for site in tokens.SITES:
        tokens.forget(site)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.exists() else []


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) if folder.exists() else []


def fetched(text: str, folder: Path, **more) -> Path:
    return downloads.download(downloads.parse(text), folder, **{"patience": QUICK, "disk_floor_bytes": 0, **more})


def refused(text: str, folder: Path, kind: str, **more) -> DownloadError:
    """The error, with nothing under the final name."""
    with pytest.raises(DownloadError) as error:
        fetched(text, folder, **more)
    assert error.value.kind == kind, error.value
    assert error.value.message.endswith("."), error.value
    assert error.value.hint, error.value
    assert visible(folder) == []
    return error.value


def remote(url: str, body: bytes, known: str | None = None) -> downloads.Remote:
    """What a site would say of a file: its size and hash; `known` "" for one whose hash it does not know."""
    file = downloads.RemoteFile("mika.safetensors", url, len(body), sha256(body) if known is None else known)
    return downloads.Remote("127.0.0.1", file.name, (file,))


def refused_remote(known: downloads.Remote, folder: Path, kind: str) -> DownloadError:
    """The same for what a site has said of a file."""
    with pytest.raises(DownloadError) as error:
        downloads.download(known, folder, patience=QUICK, disk_floor_bytes=0)
    assert error.value.kind == kind, error.value
    assert visible(folder) == []
    return error.value

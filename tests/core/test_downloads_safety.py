"""Downloads: tokens go only to their site, stopped downloads can continue, and nothing shows a secret."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import httpx2
import pytest

from tests.support import misbehaving as bad
from tests.support.downloading import (
    QUICK,
    SECRET,
    fetched,
    hidden,
    refused,
    server,
    shared_server,
    visible,
)
from trainer_core.errors import DownloadCancelled, DownloadError
from trainer_core.models import downloads
from trainer_core.models.downloads import fetch, http, links, refusals

__all__ = ["server", "shared_server"]

MODEL = bad.model()
PATH = "/files/mika.safetensors"


# Redirects and tokens


def test_a_token_in_a_link_goes_only_to_its_own_host(server, tmp_path):
    server.put("/far", MODEL)
    url = server.put(PATH, b"", always=bad.redirect(f"{server.elsewhere}/far"), token=SECRET)
    assert fetched(f"{url}?token={SECRET}", tmp_path).read_bytes() == MODEL
    assert all(request.headers["authorization"] == f"Bearer {SECRET}" for request in server.asked(PATH))
    assert all("authorization" not in request.headers for request in server.asked("/far"))
    assert all(SECRET not in request.query for request in server.requests)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        (PATH, "redirects too many times"),
        ("file:///etc/passwd", "does not follow"),
        ("http://me:pw@127.0.0.1/x", "does not follow"),
        ("http://host:99999999/", "does not follow"),
    ],
)
def test_an_invalid_redirect_is_refused(server, tmp_path, to, said):
    assert said in refused(server.put(PATH, b"", always=bad.redirect(to)), tmp_path, "link").message
    assert len(server.requests) <= 11


def test_a_redirect_from_https_to_http_is_refused():
    request = httpx2.Request("GET", "https://huggingface.co/org/name/resolve/main/m.safetensors")
    answer = httpx2.Response(302, headers={"Location": "http://huggingface.co/m.safetensors"}, request=request)
    with pytest.raises(DownloadError, match="unsafe"):
        http._next(answer, http.Asked(str(request.url), "m.safetensors"), str(request.url))
    assert links.site_of("https://huggingface.co/org/name") == "huggingface"
    assert links.site_of("http://huggingface.co/org/name") == ""
    assert links.site_of("https://huggingface.co.evil.org/x") == ""
    assert links.site_of("https://huggingface.co:8443/x") == ""


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("120", 120),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("Wed, 99 Oct", None),
    ],
)
def test_the_waiting_time_of_a_server_is_read(said, wait_s):
    assert refusals.retry_after_s({"retry-after": said}) == wait_s


# Stopping, disks, other processes


def test_a_stop_keeps_the_part(server, tmp_path):
    cancel = threading.Event()

    def stops_half_way(handler, served):
        bad.stalls(60_000, pause_s=0)(handler, served)
        wait_for_part(tmp_path, 60_000)
        cancel.set()

    url = server.put(PATH, MODEL, bad.send, stops_half_way)
    with pytest.raises(DownloadCancelled):
        fetched(url, tmp_path, cancel=cancel)
    assert visible(tmp_path) == []
    cancel.clear()
    server.requests.clear()
    assert fetched(url, tmp_path, cancel=cancel).read_bytes() == MODEL
    assert server.requests[-1].range == "bytes=60000-"


def test_a_full_disk_is_an_error_before_anything_is_fetched(server, tmp_path):
    url = server.put(PATH, MODEL)
    error = refused(url, tmp_path, "disk", disk_floor_bytes=2**60)
    assert "are free in" in error.message
    assert [request.range for request in server.requests] == ["bytes=0-0"]
    refused(server.put(PATH, MODEL, always=bad.chunked), tmp_path, "disk", disk_floor_bytes=2**60)


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError) as error:
        fetched(server.put(PATH, MODEL), tmp_path / "file")
    assert error.value.kind == "disk"


def wait_for_part(folder, size_bytes):
    """Waits until a part file has a certain size."""
    until = time.monotonic() + 100
    while not any(path.stat().st_size == size_bytes for path in folder.glob(".*.part")):
        assert time.monotonic() < until, hidden(folder)
        time.sleep(0.02)


PULL = """
    import sys
    from pathlib import Path
    from trainer_core.models import downloads
    downloads.download(downloads.parse(sys.argv[1]), Path(sys.argv[2]), disk_floor_bytes=0)
"""


def test_a_killed_download_leaves_no_file_and_continues_later(server, tmp_path):
    url = server.put(PATH, MODEL, bad.send, bad.stalls(90_000, pause_s=100))
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(PULL), url, str(tmp_path)]) as process:
        wait_for_part(tmp_path, 90_000)
        # It holds the part file: a second download of the same file gives an error.
        taken = refused(url, tmp_path, "taken")
        os.kill(process.pid, signal.SIGKILL)
    assert "already" in taken.message
    assert visible(tmp_path) == []
    server.requests.clear()
    assert fetched(url, tmp_path).read_bytes() == MODEL
    assert server.requests[-1].range == "bytes=90000-"
    assert hidden(tmp_path) == []


# Tokens are never shown


@pytest.mark.parametrize(
    "fault",
    [
        bad.answers(401),
        bad.answers(403),
        bad.answers(404),
        bad.answers(500),
        bad.drops(0),
        bad.wrong_length(5),
        bad.redirect("file:///x"),
    ],
)
def test_no_error_log_or_file_contains_a_token(server, tmp_path, caplog, capfd, monkeypatch, fault):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("HF_ENDPOINT", server.elsewhere)
    server.hub("org/name", {"m.safetensors": MODEL}, token=SECRET)
    server.files["/cdn/org/name/m.safetensors"].always = fault
    server.put(PATH, MODEL, bad.send, always=fault)
    shown = []
    for text in ("hf:org/name", f"{server.url}{PATH}?api_key={SECRET}"):
        link = downloads.parse(text)
        shown += [repr(link), repr(link.token)]
        with pytest.raises(DownloadError) as error:
            downloads.download(link, tmp_path, patience=QUICK)
        chain = error.value
        while chain is not None:
            shown += [str(chain), repr(chain), repr(vars(chain))]
            chain = chain.__cause__
    assert any(SECRET in request.headers.get("authorization", "") for request in server.requests)
    shown += [record.getMessage() for record in caplog.records] + list(capfd.readouterr())
    shown += [path.read_bytes().decode("latin1") for path in tmp_path.rglob("*") if path.is_file()]
    shown += [str(path) for path in tmp_path.rglob("*")]
    assert SECRET not in "\n".join(shown)


def test_the_folder_depends_on_the_role():
    from trainer_core.models.detection import Detection

    assert fetch.folder_for(Detection("sdxl", "lora")) == "loras"
    assert fetch.folder_for(Detection("sdxl", "checkpoint", format="diffusers")) == "diffusers"
    assert fetch.folder_for(Detection(None, "unknown")) == "unsorted"

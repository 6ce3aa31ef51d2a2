"""Transfers from a server that misbehaves: the right file, or a clear error, and never half a file under the final name."""

from __future__ import annotations

import gzip
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import httpx2
import pytest

from tests.core import misbehaving as bad
from tests.core.misbehaving import QUICK, SECRET, hidden, server, shared_server, visible
from trainer_core import downloads
from trainer_core.downloads import fetch, http, links, refusals
from trainer_core.errors import DownloadCancelled, DownloadError

__all__ = ["server", "shared_server"]

MODEL = bad.model()
PATH = "/files/mika.safetensors"


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


def remote(url: str, body: bytes, sha256: str | None = None, size: int | None = -1) -> downloads.Remote:
    """What a site would say of a file: its size and hash."""
    size = len(body) if size == -1 else size
    known = bad.sha256(body) if sha256 is None else sha256
    return downloads.Remote(
        "127.0.0.1", "mika.safetensors", (downloads.RemoteFile("mika.safetensors", url, size, known),)
    )


# What a good server sends


def test_a_whole_file_under_its_own_name_and_nothing_else(server, tmp_path):
    told = []
    path = fetched(server.put(PATH, MODEL), tmp_path, progress=told.append)
    assert path == tmp_path / "mika.safetensors"
    assert path.read_bytes() == MODEL
    assert hidden(tmp_path) == []
    assert told[-1].done_bytes == told[-1].total_bytes == len(MODEL)
    assert len(told) < 10


def test_one_that_is_there_is_not_fetched_again(server, tmp_path):
    url = server.put(PATH, bad.model(size_bytes=400_000))
    first = fetched(url, tmp_path)
    server.requests.clear()
    assert fetched(url, tmp_path) == first
    assert all(request.range for request in server.requests), "samples only"
    known = remote(url, first.read_bytes())
    server.requests.clear()
    assert downloads.download(known, tmp_path) == first
    assert server.requests == []


def test_another_file_of_that_name_stays_and_the_new_one_gets_a_number(server, tmp_path):
    (tmp_path / "mika.safetensors").write_bytes(b"mine")
    (tmp_path / "mika-2.safetensors").write_bytes(bad.model(seed=2))
    path = fetched(server.put(PATH, MODEL), tmp_path)
    assert path.name == "mika-3.safetensors"
    assert (tmp_path / "mika.safetensors").read_bytes() == b"mine"
    assert fetched(server.url + PATH, tmp_path) == path


def test_the_name_is_the_servers_and_stays_in_the_folder(server, tmp_path):
    said = {"Content-Disposition": "attachment; filename=\"x\"; filename*=UTF-8''..%2F..%2F.Mika%20%C3%84.safetensors"}
    path = fetched(server.put("/download", MODEL, headers=said), tmp_path / "here")
    assert path == tmp_path / "here" / "Mika Ä.safetensors"


def test_a_name_without_an_ending_gets_that_of_its_content(server, tmp_path):
    assert fetched(server.put("/download", MODEL), tmp_path).name == "download.safetensors"


# Connections that break


def test_it_goes_on_where_the_connection_broke(server, tmp_path):
    url = server.put(PATH, MODEL, bad.well, bad.drops(50_000), bad.drops(30_000), bad.drops(1))
    assert fetched(url, tmp_path).read_bytes() == MODEL
    assert [request.range for request in server.asked(PATH)] == [
        "bytes=0-0",
        "",
        "bytes=50000-",
        "bytes=80000-",
        "bytes=80001-",
    ]
    assert all(request.headers["if-range"] == server.files[PATH].etag for request in server.asked(PATH)[2:])


def test_a_server_that_always_breaks_off_is_given_up_and_the_half_is_kept(server, tmp_path):
    url = server.put(PATH, MODEL, bad.well, *[bad.drops(1000)] + [bad.drops(0)] * 4)
    assert "broke off" in refused(url, tmp_path, "broken").message
    server.requests.clear()
    assert fetched(url, tmp_path).read_bytes() == MODEL
    assert "bytes=1000-" in [request.range for request in server.requests]
    assert hidden(tmp_path) == []


def test_a_server_without_ranges_begins_anew(server, tmp_path):
    url = server.put(PATH, MODEL, bad.ignores_ranges, bad.drops(50_000), always=bad.ignores_ranges)
    assert fetched(url, tmp_path).read_bytes() == MODEL


def test_a_server_without_ranges_that_breaks_off_at_one_place_is_given_up(server, tmp_path):
    refused(server.put(PATH, MODEL, bad.well, always=bad.drops(50_000, ranges=False)), tmp_path, "broken")
    assert len(server.asked(PATH)) == 1 + 1 + QUICK.attempts - 1


def test_a_server_that_stops_sending_is_asked_again(server, tmp_path):
    url = server.put(PATH, MODEL, bad.well, bad.stalls(70_000, pause_s=0.6))
    assert fetched(url, tmp_path).read_bytes() == MODEL
    assert server.asked(PATH)[-1].range == "bytes=70000-"


def test_a_file_of_unknown_length(server, tmp_path):
    assert fetched(server.put(PATH, MODEL, always=bad.chunked), tmp_path).read_bytes() == MODEL


# Servers that lie


def test_a_length_that_is_too_short(server, tmp_path):
    url = server.put(PATH, MODEL, always=bad.lies(1000))
    assert "cut short" in refused(url, tmp_path, "content").message
    assert "1000" in refused_remote(remote(url, MODEL), tmp_path, "length").message


def test_a_length_that_is_too_long(server, tmp_path):
    refused(server.put(PATH, MODEL, always=bad.lies(len(MODEL) + 10)), tmp_path, "broken")


def test_more_than_the_file_has(server, tmp_path):
    refused_remote(remote(server.put(PATH, MODEL + b"more", always=bad.chunked), MODEL), tmp_path, "length")
    assert hidden(tmp_path) == []


def refused_remote(known: downloads.Remote, folder: Path, kind: str) -> DownloadError:
    with pytest.raises(DownloadError) as error:
        downloads.download(known, folder, patience=QUICK, disk_floor_bytes=0)
    assert error.value.kind == kind, error.value
    assert visible(folder) == []
    return error.value


def test_a_wrong_hash_leaves_nothing(server, tmp_path):
    url = server.put(PATH, bad.model(seed=2))
    assert "SHA-256" in refused_remote(remote(url, MODEL), tmp_path, "hash").message
    assert hidden(tmp_path) == []


def test_halves_of_two_files_are_not_put_together(server, tmp_path):
    other = bad.model(seed=2)
    url = server.put(PATH, MODEL, bad.drops(50_000), bad.other_file(other))
    assert downloads.download(remote(url, MODEL), tmp_path, patience=QUICK).read_bytes() == MODEL
    # No hash is known, and the server sends the rest of another file without being asked: its ETag tells.
    url = server.put(PATH, MODEL, bad.drops(50_000), bad.other_file(other))
    known = remote(url, MODEL, sha256="")
    assert downloads.download(known, tmp_path / ".unknown", patience=QUICK).read_bytes() == MODEL
    # The server has another file by now and says so: the old half is dropped.
    (tmp_path / "mika.safetensors").unlink()
    server.put(PATH, MODEL, bad.well, bad.drops(50_000), bad.says(503), bad.says(503), bad.says(503), bad.says(503))
    refused(url, tmp_path, "server")
    server.put(PATH, other)
    assert fetched(url, tmp_path).read_bytes() == other


def test_a_half_whose_end_has_changed_is_fetched_once_more(server, tmp_path):
    """The ETag stays, the content does not: only the hash tells."""

    def swap(handler: bad.Handler, served: bad.Served) -> None:
        served.body = MODEL
        bad.well(handler, served)

    url = server.put(PATH, bad.model(seed=2), bad.drops(50_000), swap, etag='"same"')
    assert downloads.download(remote(url, MODEL), tmp_path, patience=QUICK).read_bytes() == MODEL
    assert [request.range for request in server.asked(PATH)] == ["", "bytes=50000-", ""]


@pytest.mark.parametrize("shift", [-1000, 1000])
def test_another_part_than_was_asked_for(server, tmp_path, shift):
    url = server.put(PATH, MODEL, bad.drops(50_000), bad.other_part(shift))
    assert downloads.download(remote(url, MODEL, sha256=""), tmp_path, patience=QUICK).read_bytes() == MODEL


def test_nothing_more_than_the_half_that_is_here(server, tmp_path):
    """The half is longer than the file that is there by now."""
    url = server.put(PATH, MODEL, bad.drops(150_000))
    server.files[PATH].faults += [bad.says(416, {"Content-Range": "bytes */1000"})]
    assert downloads.download(remote(url, MODEL), tmp_path, patience=QUICK).read_bytes() == MODEL


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (b"<!DOCTYPE html><p>Log in", {"Content-Type": "text/html; charset=utf-8"}, "web page"),
        (b"<!DOCTYPE html><p>Log in", {"Content-Type": "application/octet-stream"}, "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n", {}, "Git LFS pointer"),
        (b'{"error": "Unauthorized"}', {"Content-Type": "application/json"}, ""),
        (b"\x00" * 5000, {}, ""),
        (MODEL[:-5], {}, "cut short"),
    ],
)
def test_what_is_no_model_is_not_kept(server, tmp_path, body, headers, said):
    error = refused(server.put(PATH, body, headers=headers), tmp_path, "content")
    assert said in error.message
    assert hidden(tmp_path) == []


def test_an_empty_file(server, tmp_path):
    refused(server.put(PATH, b"", always=bad.ignores_ranges), tmp_path, "content")


def test_a_packed_body_is_not_taken(server, tmp_path):
    packed = bad.says(200, {"Content-Encoding": "gzip"}, gzip.compress(MODEL))
    refused(server.put(PATH, MODEL, bad.well, always=packed), tmp_path, "content")
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}


# Refusals


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "missing"), (401, "token"), (403, "gated"), (404, "missing"), (410, "missing"), (451, "missing")],
)
def test_a_refusal_is_not_asked_again(server, tmp_path, status, kind):
    refused(server.put(PATH, MODEL, always=bad.says(status)), tmp_path, kind)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_passing_fault_is_waited_for(server, tmp_path, status):
    url = server.put(PATH, MODEL, bad.says(status), bad.well, bad.says(status), bad.says(status))
    assert downloads.download(
        downloads.resolve(downloads.parse(url), patience=QUICK), tmp_path, patience=QUICK
    ).exists()


def test_retry_after_is_waited_for_and_not_for_ever(server, tmp_path):
    known = remote(server.put(PATH, MODEL, bad.says(429, {"Retry-After": "0"})), MODEL)
    assert downloads.download(known, tmp_path, patience=QUICK).exists()
    began = time.monotonic()
    known = remote(server.put(PATH, MODEL, bad.says(429, {"Retry-After": "3600"})), MODEL)
    error = refused_remote(known, tmp_path / "other", "busy")
    assert "3600 seconds" in error.hint
    assert time.monotonic() - began < 1


def test_a_server_that_is_not_there(tmp_path):
    known = remote("http://127.0.0.1:1/mika.safetensors", MODEL)
    assert "cannot be reached" in refused_remote(known, tmp_path, "offline").message
    known = remote("http://nowhere.invalid/mika.safetensors", MODEL)
    assert "not found" in refused_remote(known, tmp_path, "offline").message


def test_a_certificate_that_is_not_there(server, tmp_path):
    known = remote(server.url.replace("http:", "https:") + PATH, MODEL)
    assert "certificate" in refused_remote(known, tmp_path, "tls").message


# Redirects and tokens


def test_a_token_in_a_link_goes_to_its_own_host_only(server, tmp_path):
    server.put("/far", MODEL)
    url = server.put(PATH, b"", always=bad.redirect(f"{server.elsewhere}/far"), token=SECRET)
    assert fetched(f"{url}?token={SECRET}", tmp_path).read_bytes() == MODEL
    assert all(request.headers["authorization"] == f"Bearer {SECRET}" for request in server.asked(PATH))
    assert all("authorization" not in request.headers for request in server.asked("/far"))
    assert all(SECRET not in request.query for request in server.requests)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        (PATH, "without an end"),
        ("file:///etc/passwd", "not followed"),
        ("http://me:pw@127.0.0.1/x", "not followed"),
        ("http://host:99999999/", "not followed"),
    ],
)
def test_a_redirect_that_leads_nowhere(server, tmp_path, to, said):
    assert said in refused(server.put(PATH, b"", always=bad.redirect(to)), tmp_path, "link").message
    assert len(server.requests) <= 11


def test_nothing_is_followed_from_a_safe_connection_to_an_unsafe_one():
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
def test_how_long_a_server_asks_to_wait(said, wait_s):
    assert refusals.retry_after_s({"retry-after": said}) == wait_s


# Stopping, disks, other processes


def test_a_stop_keeps_the_half(server, tmp_path):
    cancel = threading.Event()
    url = server.put(PATH, MODEL, bad.well, bad.stalls(60_000, pause_s=0.3))
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(DownloadCancelled):
        fetched(url, tmp_path, cancel=cancel)
    assert visible(tmp_path) == []
    cancel.clear()
    server.requests.clear()
    assert fetched(url, tmp_path, cancel=cancel).read_bytes() == MODEL
    assert server.requests[-1].range == "bytes=60000-"


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(server, tmp_path):
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


PULL = """
    import sys
    from pathlib import Path
    from trainer_core import downloads
    downloads.download(downloads.parse(sys.argv[1]), Path(sys.argv[2]), disk_floor_bytes=0)
"""


def test_a_killed_download_leaves_no_file_and_goes_on_later(server, tmp_path):
    url = server.put(PATH, MODEL, bad.well, bad.stalls(90_000, pause_s=3))
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(PULL), url, str(tmp_path)]) as process:
        until = time.monotonic() + 20
        while time.monotonic() < until and not any(
            path.suffix == ".part" and path.stat().st_size == 90_000 for path in tmp_path.iterdir()
        ):
            time.sleep(0.02)
        # It holds the part: a second download of the same file says so.
        taken = refused(url, tmp_path, "taken")
        os.kill(process.pid, signal.SIGKILL)
    assert "already" in taken.message
    assert visible(tmp_path) == []
    server.requests.clear()
    assert fetched(url, tmp_path).read_bytes() == MODEL
    assert server.requests[-1].range == "bytes=90000-"
    assert hidden(tmp_path) == []


# Nothing shows a token


@pytest.mark.parametrize(
    "fault",
    [
        bad.says(401),
        bad.says(403),
        bad.says(404),
        bad.says(500),
        bad.drops(0),
        bad.lies(5),
        bad.redirect("file:///x"),
    ],
)
def test_no_error_log_or_file_holds_a_token(server, tmp_path, caplog, capfd, monkeypatch, fault):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("HF_ENDPOINT", server.elsewhere)
    server.hub("org/name", {"m.safetensors": MODEL}, token=SECRET)
    server.files["/cdn/org/name/m.safetensors"].always = fault
    server.put(PATH, MODEL, bad.well, always=fault)
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


def test_the_folder_follows_from_the_role():
    from trainer_core.detection import Detection

    assert fetch.folder_for(Detection("sdxl", "lora")) == "loras"
    assert fetch.folder_for(Detection("sdxl", "checkpoint", format="diffusers")) == "diffusers"
    assert fetch.folder_for(Detection(None, "unknown")) == "unsorted"

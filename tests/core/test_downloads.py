"""Transfers from a faulty server give the right file or a clear error, and never part of a file with the final name."""

from __future__ import annotations

import dataclasses
import gzip
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import misbehaving as bad
from tests.support.downloading import (
    QUICK,
    fetched,
    hidden,
    refused,
    refused_remote,
    remote,
    server,
    shared_server,
    visible,
)
from trainer_core.errors import DownloadError
from trainer_core.models import downloads

__all__ = ["server", "shared_server"]

MODEL = bad.model()
PATH = "/files/mika.safetensors"
HASTY = dataclasses.replace(QUICK, first_wait_s=0.001)


# A correct server


def test_a_download_gives_one_complete_file_with_its_own_name(server, tmp_path):
    told = []
    path = fetched(server.put(PATH, MODEL), tmp_path, progress=told.append)
    assert path == tmp_path / "mika.safetensors"
    assert path.read_bytes() == MODEL
    assert hidden(tmp_path) == []
    assert told[-1].done_bytes == told[-1].total_bytes == len(MODEL)
    assert len(told) < 10


def test_an_existing_file_is_not_fetched_again(server, tmp_path):
    url = server.put(PATH, bad.model(size_bytes=400_000))
    first = fetched(url, tmp_path)
    server.requests.clear()
    assert fetched(url, tmp_path) == first
    assert all(request.range for request in server.requests), "samples only"
    known = remote(url, first.read_bytes())
    server.requests.clear()
    assert downloads.download(known, tmp_path) == first
    assert server.requests == []


def test_a_different_file_of_that_name_is_kept_and_the_new_one_gets_a_number(server, tmp_path):
    (tmp_path / "mika.safetensors").write_bytes(b"mine")
    (tmp_path / "mika-2.safetensors").write_bytes(bad.model(seed=2))
    path = fetched(server.put(PATH, MODEL), tmp_path)
    assert path.name == "mika-3.safetensors"
    assert (tmp_path / "mika.safetensors").read_bytes() == b"mine"
    assert fetched(server.url + PATH, tmp_path) == path


def test_the_name_from_the_server_stays_in_the_folder(server, tmp_path):
    said = {"Content-Disposition": "attachment; filename=\"x\"; filename*=UTF-8''..%2F..%2F.Mika%20%C3%84.safetensors"}
    path = fetched(server.put("/download", MODEL, headers=said), tmp_path / "here")
    assert path == tmp_path / "here" / "Mika Ä.safetensors"


def test_a_name_without_an_extension_gets_that_of_its_format(server, tmp_path):
    assert fetched(server.put("/download", MODEL), tmp_path).name == "download.safetensors"


# Lost connections


def test_a_download_continues_after_a_lost_connection(server, tmp_path):
    url = server.put(PATH, MODEL, bad.send, bad.drops(50_000), bad.drops(30_000), bad.drops(1))
    assert fetched(url, tmp_path).read_bytes() == MODEL
    assert [request.range for request in server.asked(PATH)] == [
        "bytes=0-0",
        "",
        "bytes=50000-",
        "bytes=80000-",
        "bytes=80001-",
    ]
    assert all(request.headers["if-range"] == server.files[PATH].etag for request in server.asked(PATH)[2:])


def test_easel_gives_up_on_a_server_that_always_disconnects_and_keeps_the_part(server, tmp_path):
    url = server.put(PATH, MODEL, bad.send, *[bad.drops(1000)] + [bad.drops(0)] * 4)
    assert "was lost" in refused(url, tmp_path, "broken").message
    server.requests.clear()
    assert fetched(url, tmp_path).read_bytes() == MODEL
    assert "bytes=1000-" in [request.range for request in server.requests]
    assert hidden(tmp_path) == []


def test_a_download_without_ranges_restarts(server, tmp_path):
    url = server.put(PATH, MODEL, bad.ignores_ranges, bad.drops(50_000), always=bad.ignores_ranges)
    assert fetched(url, tmp_path).read_bytes() == MODEL


def test_easel_gives_up_on_a_server_without_ranges_that_always_disconnects(server, tmp_path):
    refused(server.put(PATH, MODEL, bad.send, always=bad.drops(50_000, ranges=False)), tmp_path, "broken")
    assert len(server.asked(PATH)) == 1 + 1 + QUICK.attempts - 1


def test_a_stalled_download_is_retried(server, tmp_path):
    url = server.put(PATH, MODEL, bad.send, bad.stalls(70_000, pause_s=2.5))
    patience = dataclasses.replace(QUICK, read_s=1)
    assert fetched(url, tmp_path, patience=patience).read_bytes() == MODEL
    assert server.asked(PATH)[-1].range == "bytes=70000-"


def test_a_file_of_unknown_length_is_downloaded(server, tmp_path):
    assert fetched(server.put(PATH, MODEL, always=bad.chunked), tmp_path).read_bytes() == MODEL


# Servers with false information


def test_a_length_that_is_too_short(server, tmp_path):
    url = server.put(PATH, MODEL, always=bad.wrong_length(1000))
    assert "cut short" in refused(url, tmp_path, "content").message
    assert "1000" in refused_remote(remote(url, MODEL), tmp_path, "length").message


def test_a_length_that_is_too_long(server, tmp_path):
    refused(server.put(PATH, MODEL, always=bad.wrong_length(len(MODEL) + 10)), tmp_path, "broken")


def test_too_much_data(server, tmp_path):
    refused_remote(remote(server.put(PATH, MODEL + b"more", always=bad.chunked), MODEL), tmp_path, "length")
    assert hidden(tmp_path) == []


def test_a_wrong_hash_leaves_nothing(server, tmp_path):
    url = server.put(PATH, bad.model(seed=2))
    assert "SHA-256" in refused_remote(remote(url, MODEL), tmp_path, "hash").message
    assert hidden(tmp_path) == []


def test_parts_of_two_files_are_not_joined(server, tmp_path):
    other = bad.model(seed=2)
    url = server.put(PATH, MODEL, bad.drops(50_000), bad.other_file(other))
    assert downloads.download(remote(url, MODEL), tmp_path, patience=QUICK).read_bytes() == MODEL
    # The hash is unknown, and the server ignores If-Range and sends the rest of another file: its ETag differs.
    url = server.put(PATH, MODEL, bad.drops(50_000), bad.other_file(other))
    known = remote(url, MODEL, known="")
    assert downloads.download(known, tmp_path / ".unknown", patience=QUICK).read_bytes() == MODEL
    # The server has another file by now and says so: the old part is dropped.
    (tmp_path / "mika.safetensors").unlink()
    server.put(
        PATH, MODEL, bad.send, bad.drops(50_000), bad.answers(503), bad.answers(503), bad.answers(503), bad.answers(503)
    )
    refused(url, tmp_path, "server")
    server.put(PATH, other)
    assert fetched(url, tmp_path).read_bytes() == other


def test_a_part_whose_rest_has_changed_is_fetched_once_more(server, tmp_path):
    """The content changes but the ETag does not: only the hash shows it."""

    def swap(handler: bad.Handler, served: bad.Served) -> None:
        served.body = MODEL
        bad.send(handler, served)

    url = server.put(PATH, bad.model(seed=2), bad.drops(50_000), swap, etag='"same"')
    assert downloads.download(remote(url, MODEL), tmp_path, patience=QUICK).read_bytes() == MODEL
    assert [request.range for request in server.asked(PATH)] == ["", "bytes=50000-", ""]


def test_a_download_restarts_without_etag_or_hash(server, tmp_path):
    def swap(handler: bad.Handler, served: bad.Served) -> None:
        served.body = OTHER
        bad.send(handler, served)

    known = remote(server.put(PATH, MODEL, bad.drops(50_000), swap, etag=""), MODEL, known="")
    assert downloads.download(known, tmp_path, patience=QUICK).read_bytes() == OTHER
    assert [request.range for request in server.requests] == ["", ""]


def test_parts_of_two_files_with_one_name_are_kept_separately(server, tmp_path):
    other = bad.model(seed=2)
    first = remote(server.put(PATH, MODEL, *[bad.drops(50_000)] + [bad.drops(0)] * 4), MODEL)
    refused_remote(first, tmp_path, "broken")
    second = remote(server.put("/other/mika.safetensors", other), other)
    assert downloads.download(second, tmp_path, patience=QUICK).read_bytes() == other
    server.requests.clear()
    assert downloads.download(first, tmp_path, patience=QUICK).read_bytes() == MODEL
    assert server.requests[-1].range == "bytes=50000-"


@pytest.mark.parametrize("shift", [-1000, 1000])
def test_another_part_than_requested(server, tmp_path, shift):
    url = server.put(PATH, MODEL, bad.drops(50_000), bad.other_part(shift))
    assert downloads.download(remote(url, MODEL, known=""), tmp_path, patience=QUICK).read_bytes() == MODEL


def test_a_part_that_is_longer_than_the_file(server, tmp_path):
    """The part file is longer than the current file on the server."""
    url = server.put(PATH, MODEL, bad.drops(150_000))
    server.files[PATH].faults += [bad.answers(416, {"Content-Range": "bytes */1000"})]
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
def test_a_file_that_is_not_a_model_is_not_kept(server, tmp_path, body, headers, said):
    error = refused(server.put(PATH, body, headers=headers), tmp_path, "content")
    assert said in error.message
    assert hidden(tmp_path) == []


def test_an_empty_file(server, tmp_path):
    refused(server.put(PATH, b"", always=bad.ignores_ranges), tmp_path, "content")


def test_a_compressed_body_is_refused(server, tmp_path):
    packed = bad.answers(200, {"Content-Encoding": "gzip"}, gzip.compress(MODEL))
    refused(server.put(PATH, MODEL, bad.send, always=packed), tmp_path, "content")
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}


OTHER = bad.model(seed=2)
FAULTS = (
    *(bad.drops(after) for after in (0, 1, 50_000, 199_999)),
    bad.drops(70_000, ranges=False),
    bad.wrong_length(1000),
    bad.wrong_length(len(MODEL) + 10),
    bad.other_part(-7),
    bad.other_part(7),
    bad.other_file(OTHER),
    bad.other_file(bad.model(seed=2, size_bytes=300_000)),
    bad.ignores_ranges,
    bad.chunked,
    bad.answers(416, {"Content-Range": "bytes */5"}),
    bad.answers(206, {"Content-Range": "nonsense"}, b"x" * 500),
    bad.answers(429),
    bad.answers(503),
    bad.answers(404),
    bad.answers(200, {"Content-Type": "text/html"}, b"<html>"),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(faults=st.lists(st.sampled_from(FAULTS), max_size=6), known=st.sampled_from(["", None]))
def test_any_sequence_of_faults_gives_the_right_file_or_none(server, tmp_path_factory, faults, known):
    folder = tmp_path_factory.mktemp("models")
    wanted = remote(server.put(PATH, MODEL, *faults), MODEL, known)
    for _ in range(len(faults) + 1):
        try:
            path = downloads.download(wanted, folder, patience=HASTY, disk_floor_bytes=0)
        except DownloadError:
            assert visible(folder) == []
        else:
            # Without a hash a different but complete file cannot be detected; a mixture of files is never right.
            assert path.read_bytes() in ([MODEL, OTHER] if known == "" else [MODEL])
            assert visible(folder) == [path.name]
            assert hidden(folder) == []
            return
    pytest.fail("the download failed although no fault was left")


# Refusals


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "missing"), (401, "token"), (403, "gated"), (404, "missing"), (410, "missing"), (451, "missing")],
)
def test_a_refusal_is_not_retried(server, tmp_path, status, kind):
    refused(server.put(PATH, MODEL, always=bad.answers(status)), tmp_path, kind)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_temporary_error_is_retried(server, tmp_path, status):
    url = server.put(PATH, MODEL, bad.answers(status), bad.send, bad.answers(status), bad.answers(status))
    assert downloads.download(
        downloads.resolve(downloads.parse(url), patience=QUICK), tmp_path, patience=QUICK
    ).exists()


def test_retry_after_is_respected_up_to_a_limit(server, tmp_path):
    known = remote(server.put(PATH, MODEL, bad.answers(429, {"Retry-After": "0"})), MODEL)
    assert downloads.download(known, tmp_path, patience=QUICK).exists()
    began = time.monotonic()
    known = remote(server.put(PATH, MODEL, bad.answers(429, {"Retry-After": "3600"})), MODEL)
    error = refused_remote(known, tmp_path / "other", "busy")
    assert "3600 seconds" in error.hint
    assert time.monotonic() - began < 60


def test_a_server_that_does_not_exist(tmp_path):
    known = remote("http://127.0.0.1:1/mika.safetensors", MODEL)
    assert "cannot be reached" in refused_remote(known, tmp_path, "offline").message
    known = remote("http://nowhere.invalid/mika.safetensors", MODEL)
    assert "not found" in refused_remote(known, tmp_path, "offline").message


def test_a_server_without_a_certificate(server, tmp_path):
    known = remote(server.url.replace("http:", "https:") + PATH, MODEL)
    assert "certificate" in refused_remote(known, tmp_path, "tls").message

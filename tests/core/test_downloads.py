"""Transfers from a server that misbehaves: the right file, or a clear error, and never half a file under the final name."""

from __future__ import annotations

import dataclasses
import gzip
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core import misbehaving as bad
from tests.core.downloading import (
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
from trainer_core import downloads
from trainer_core.errors import DownloadError

__all__ = ["server", "shared_server"]

MODEL = bad.model()
PATH = "/files/mika.safetensors"
HASTY = dataclasses.replace(QUICK, first_wait_s=0.001)


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
    url = server.put(PATH, MODEL, bad.well, bad.stalls(70_000, pause_s=2.5))
    patience = dataclasses.replace(QUICK, read_s=1)
    assert fetched(url, tmp_path, patience=patience).read_bytes() == MODEL
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
    known = remote(url, MODEL, known="")
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


def test_where_nothing_tells_files_apart_it_begins_anew(server, tmp_path):
    def swap(handler: bad.Handler, served: bad.Served) -> None:
        served.body = OTHER
        bad.well(handler, served)

    known = remote(server.put(PATH, MODEL, bad.drops(50_000), swap, etag=""), MODEL, known="")
    assert downloads.download(known, tmp_path, patience=QUICK).read_bytes() == OTHER
    assert [request.range for request in server.requests] == ["", ""]


def test_halves_of_two_files_of_one_name_lie_side_by_side(server, tmp_path):
    other = bad.model(seed=2)
    first = remote(server.put(PATH, MODEL, *[bad.drops(50_000)] + [bad.drops(0)] * 4), MODEL)
    refused_remote(first, tmp_path, "broken")
    second = remote(server.put("/other/mika.safetensors", other), other)
    assert downloads.download(second, tmp_path, patience=QUICK).read_bytes() == other
    server.requests.clear()
    assert downloads.download(first, tmp_path, patience=QUICK).read_bytes() == MODEL
    assert server.requests[-1].range == "bytes=50000-"


@pytest.mark.parametrize("shift", [-1000, 1000])
def test_another_part_than_was_asked_for(server, tmp_path, shift):
    url = server.put(PATH, MODEL, bad.drops(50_000), bad.other_part(shift))
    assert downloads.download(remote(url, MODEL, known=""), tmp_path, patience=QUICK).read_bytes() == MODEL


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


OTHER = bad.model(seed=2)
FAULTS = (
    *(bad.drops(after) for after in (0, 1, 50_000, 199_999)),
    bad.drops(70_000, ranges=False),
    bad.lies(1000),
    bad.lies(len(MODEL) + 10),
    bad.other_part(-7),
    bad.other_part(7),
    bad.other_file(OTHER),
    bad.other_file(bad.model(seed=2, size_bytes=300_000)),
    bad.ignores_ranges,
    bad.chunked,
    bad.says(416, {"Content-Range": "bytes */5"}),
    bad.says(206, {"Content-Range": "nonsense"}, b"x" * 500),
    bad.says(429),
    bad.says(503),
    bad.says(404),
    bad.says(200, {"Content-Type": "text/html"}, b"<html>"),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(faults=st.lists(st.sampled_from(FAULTS), max_size=6), known=st.sampled_from(["", None]))
def test_after_any_faults_there_is_the_right_file_or_none(server, tmp_path_factory, faults, known):
    folder = tmp_path_factory.mktemp("models")
    wanted = remote(server.put(PATH, MODEL, *faults), MODEL, known)
    for _ in range(len(faults) + 1):
        try:
            path = downloads.download(wanted, folder, patience=HASTY, disk_floor_bytes=0)
        except DownloadError:
            assert visible(folder) == []
        else:
            # Without a hash nobody can tell that the server has served another file all along; a mixture is never right.
            assert path.read_bytes() in ([MODEL, OTHER] if known == "" else [MODEL])
            assert visible(folder) == [path.name]
            assert hidden(folder) == []
            return
    pytest.fail("no fault was left, and still it did not arrive")


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
    assert time.monotonic() - began < 60


def test_a_server_that_is_not_there(tmp_path):
    known = remote("http://127.0.0.1:1/mika.safetensors", MODEL)
    assert "cannot be reached" in refused_remote(known, tmp_path, "offline").message
    known = remote("http://nowhere.invalid/mika.safetensors", MODEL)
    assert "not found" in refused_remote(known, tmp_path, "offline").message


def test_a_certificate_that_is_not_there(server, tmp_path):
    known = remote(server.url.replace("http:", "https:") + PATH, MODEL)
    assert "certificate" in refused_remote(known, tmp_path, "tls").message

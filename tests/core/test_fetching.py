"""Links to datasets: an archive on the web and a repository on the Hub arrive whole, within limits, and go on after a break."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.support import misbehaving as bad
from tests.support.downloading import QUICK, SECRET, server, shared_server  # noqa: F401 - fixtures
from tests.support.incoming import ZIP, files, png
from trainer_core import places
from trainer_core.curation import fetching, importing, unpacking
from trainer_core.errors import DatasetError, DownloadCancelled, DownloadError
from trainer_core.models import tokens
from trainer_core.models.downloads import http

WAY = fetching.Way(QUICK, disk_floor_bytes=0)
FILES = {
    "README.md": b"---\nlicense: mit\n---",
    "train/a.png": png("red"),
    "train/b.png": png("blue"),
    "train/metadata.jsonl": json.dumps({"file_name": "a.png", "text": "a red square"}).encode(),
    "model.bin": b"x",
    "../evil.png": png("black"),
    "con.png": png("black"),
}


@pytest.fixture
def hub(server, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def imported(root, text, way=WAY):
    found = fetching.look(fetching.parse(text), way)
    with fetching.fetched(found, way) as here:
        done = importing.add(root, here.sources, importing.Wishes(origin=here.origin))
    assert list(places.incoming().glob("link-*")) == []
    return found, done


def test_a_dataset_on_the_hub_comes_in_with_the_captions_of_its_table(hub, tmp_path):
    hub.dataset("mika/cats", FILES)
    found, done = imported(tmp_path / "d", "mika/cats")
    assert files(tmp_path / "d") == ["train/a.png", "train/a.txt", "train/b.png"]
    assert (tmp_path / "d/train/a.txt").read_text() == "a red square"
    assert done.edit.title == "Add 2 images from hf:datasets/mika/cats" or "mika/cats" in done.edit.title
    assert [name for name, _ in found.left_out] == ["../evil.png", "con.png", "model.bin"]


@pytest.mark.parametrize(
    "text",
    [
        "hf:datasets/mika/cats",
        "datasets/mika/cats",
        "https://huggingface.co/datasets/mika/cats",
        "hf.co/datasets/mika/cats",
    ],
)
def test_all_spellings_of_a_dataset_are_read(text):
    assert fetching.parse(text).repo == "mika/cats"


def test_a_folder_and_a_file_of_a_dataset_are_fetched_alone(hub, tmp_path):
    hub.dataset("mika/cats", {**FILES, "other/c.png": png("green"), "all.zip": ZIP})
    imported(tmp_path / "folder", f"{hub.url}/datasets/mika/cats/tree/main/other")
    assert files(tmp_path / "folder") == ["c.png"]
    imported(tmp_path / "file", f"{hub.url}/datasets/mika/cats/resolve/main/all.zip")
    assert files(tmp_path / "file") == ["a.png", "a.txt"]


def test_a_private_dataset_is_fetched_with_the_token_which_goes_nowhere_else(hub, tmp_path):
    hub.dataset("mika/cats", FILES, token=SECRET)
    with pytest.raises(DownloadError) as error:
        imported(tmp_path / "d", "mika/cats")
    assert error.value.kind == "token"
    tokens.remember("huggingface", SECRET)
    imported(tmp_path / "d", "mika/cats")
    assert files(tmp_path / "d") == ["train/a.png", "train/a.txt", "train/b.png"]
    assert not [one for one in hub.requests if one.path.startswith("/cdn/") and "authorization" in one.headers]


def test_a_dataset_in_parquet_and_one_without_images_say_so(hub, tmp_path):
    hub.dataset("mika/parquet", {"data/train-00000.parquet": b"PAR1"})
    with pytest.raises(DownloadError, match="Parquet files, which Easel does not read"):
        imported(tmp_path / "d", "mika/parquet")
    hub.dataset("mika/text", {"a.txt": b"x"})
    with pytest.raises(DownloadError, match="contains no image"):
        imported(tmp_path / "d", "mika/text")
    assert not (tmp_path / "d").exists()


def test_a_zip_on_the_web_comes_in(server, tmp_path):  # noqa: F811
    url = server.put("/files/set.zip", ZIP, bad.drops(100))
    _, done = imported(tmp_path / "d", url)
    assert files(tmp_path / "d") == ["a.png", "a.txt"]
    assert "set.zip" in done.edit.title
    imported(tmp_path / "single", server.put("/files/one.png", png("red")))
    assert files(tmp_path / "single") == ["one.png"]


REFUSED = {
    "ftp://example.org/a.zip": "does not follow links",
    "http://example.org/a.zip": "not encrypted",
    "https://user:secret@example.org/a.zip": "user name or a password",
    "https://huggingface.co/mika/model": "page of a model",
    "civitai:12": "not a dataset",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_link_that_is_not_followed_is_refused_without_its_secret(text):
    with pytest.raises(DownloadError, match=REFUSED[text]) as error:
        fetching.parse(text)
    assert "secret" not in str(error.value)


def test_a_path_on_this_machine_is_no_link(tmp_path, monkeypatch):
    (tmp_path / "datasets" / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert fetching.parse("datasets/org/name") is None
    assert fetching.parse(str(tmp_path / "none.zip")) is None


@pytest.mark.parametrize("to", ["http://127.0.0.1:1/x", "https://localhost/x", "https://10.0.0.8/x", "https://[::1]/x", "https://169.254.169.254/x"])  # fmt: skip
def test_no_redirect_leads_from_the_internet_into_the_own_network(to):
    import httpx2

    request = httpx2.Request("GET", "http://example.org/a.zip")
    answer = httpx2.Response(302, headers={"Location": to}, request=request)
    with pytest.raises(DownloadError, match="into your own network"):
        http._next(answer, http.Asked(str(request.url), "a.zip"), str(request.url))


def test_a_dataset_that_is_too_large_is_refused_before_and_while_it_comes(hub, tmp_path):
    hub.dataset("mika/cats", FILES)
    for limits, words in (
        (unpacking.Limits(entries=1), "1 are the most"),
        (unpacking.Limits(total_bytes=20), "are the most"),
    ):
        with pytest.raises(DownloadError, match=words):
            imported(tmp_path / "d", "mika/cats", fetching.Way(QUICK, limits, disk_floor_bytes=0))

    def endless(handler, served):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        for _ in range(300):
            handler.wfile.write(bytes(1 << 16))
        handler.close_connection = True

    url = hub.put("/files/endless.zip", b"x" * 10, always=endless).replace(hub.url, hub.elsewhere)
    with pytest.raises(DownloadError, match="larger than"):
        imported(tmp_path / "d", url, fetching.Way(QUICK, unpacking.Limits(total_bytes=1 << 20), disk_floor_bytes=0))
    assert not (tmp_path / "d").exists()


def test_a_stopped_transfer_goes_on_without_asking_again_for_what_is_here(hub, tmp_path):
    many = {f"{n:02}.png": png((n, 0, 0)) for n in range(12)}
    hub.dataset("mika/many", many)
    cancel = threading.Event()
    told = []

    def progress(now):
        told.append(now)
        if now.done_bytes > 300:
            cancel.set()

    found = fetching.look(fetching.parse("mika/many"), WAY)
    with pytest.raises(DownloadCancelled), fetching.fetched(found, fetching.Way(QUICK, progress=progress, cancel=cancel, disk_floor_bytes=0)):  # fmt: skip
        raise AssertionError
    (folder,) = places.incoming().glob("link-*")
    here = {one.name for one in (folder / "files").iterdir() if not one.name.startswith(".")}
    assert 0 < len(here) < 12
    hub.requests.clear()
    imported(tmp_path / "d", "mika/many")
    assert len(files(tmp_path / "d")) == 12
    assert not {name for name in here if hub.asked(f"/datasets/mika/many/resolve/{bad.COMMIT}/{name}")}


def test_what_was_only_looked_at_is_not_fetched_again(hub, tmp_path):
    hub.dataset("mika/cats", FILES)
    found = fetching.look(fetching.parse("mika/cats"), WAY)
    with (
        fetching.fetched(found, dataclasses.replace(WAY, keeps=True)) as here,
        importing.Incoming(tmp_path / "d", here.sources) as ready,
    ):
        assert ready.preview.images == 2
    assert not (tmp_path / "d").exists()
    hub.requests.clear()
    imported(tmp_path / "d", "mika/cats")
    assert not [one for one in hub.requests if "/resolve/" in one.path]


def test_what_cannot_be_unpacked_is_fetched_anew_the_next_time(server, tmp_path):  # noqa: F811
    url = server.put("/files/set.zip", ZIP[:-30])
    with pytest.raises(DatasetError, match="not a whole zip"):
        imported(tmp_path / "d", url)
    assert list(places.incoming().glob("link-*")) == []
    server.put("/files/set.zip", ZIP)
    imported(tmp_path / "d", url)
    assert files(tmp_path / "d") == ["a.png", "a.txt"]


def test_an_import_by_link_that_is_killed_leaves_nothing_in_the_dataset_and_goes_on(hub, tmp_path):
    many = {f"{n:02}.png": png((n, 0, 0)) for n in range(8)}
    hub.dataset("mika/many", many)
    slow = "/cdn/mika/many/07.png"
    hub.files[slow].faults.append(bad.stalls(10, 30))
    code = (
        "import sys; from pathlib import Path; from trainer_core.cli import main; "
        f"sys.argv = ['easel', 'dataset', 'import', {str(tmp_path / 'd')!r}, 'mika/many']; main()"
    )
    environment = {**os.environ, "NO_PROXY": "*"}
    program = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while not hub.asked(slow) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.3)
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert hub.asked(slow)
    assert not (tmp_path / "d").exists() or files(tmp_path / "d") == []
    hub.requests.clear()
    imported(tmp_path / "d", "mika/many")
    assert len(files(tmp_path / "d")) == 8
    assert len([one for one in hub.requests if one.path.startswith("/cdn/")]) <= 3

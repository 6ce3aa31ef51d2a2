"""Captions by an endpoint: a server on loopback that refuses, is busy, repeats itself, redirects, and never sees the key elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.support import chat_server
from tests.support.chat_server import FINE, KEY, MODEL, QUESTION, TEXTS
from trainer_core.captioning import applying, asking, checks, endpoint, keys, progress
from trainer_core.errors import DownloadError
from trainer_core.jobs.state import JobState

LIMIT_S = 90


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(keys.VARIABLE, raising=False)
    root = tmp_path / "images"
    root.mkdir()
    return root


@pytest.fixture
def server():
    with chat_server.running() as found:
        yield found


def put(root: Path, *names: str, size=(8, 8)) -> None:
    for number, name in enumerate(names):
        Image.new("RGB", size, (number % 256, number // 256, len(name))).save(root / f"{name}.png")


def settings(root, server, **more) -> asking.Settings:
    base = {"dataset": str(root), "model": MODEL, "endpoint": server.url, "text": QUESTION, "first_wait_s": 0.05}
    return asking.Settings(**{**base, **more})


def ran(wanted: asking.Settings, tmp_path: Path, monkeypatch) -> str:
    """The log of the program of a job, which is run here; without its supervisor."""
    lines: list[str] = []
    folder = tmp_path / "program"
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(asking.own_program, "report", lines.append)
    asking.run(wanted)
    return "\n".join(lines)


def test_a_job_asks_about_each_image_and_keeps_the_captions(images, server):
    put(images, "one", "two")
    wanted = settings(images, server, template="style", trigger="style_16")
    job = asking.start(wanted)
    assert job.wait(LIMIT_S) is JobState.COMPLETED
    assert sorted(server.asked) == ["one", "two"]
    found = asking.known(wanted)
    assert {each.text for each in found.values()} == {FINE.rstrip(".") + ", style_16"}
    assert (job.summary.step, job.summary.total) == (2, 2)
    assert sorted(path.name for path in images.rglob("*")) == ["one.png", "two.png"]


def test_an_image_is_sent_small_upright_and_without_its_metadata(images, server, tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Secret camera"
    image = Image.new("RGBA", (3000, 1500), (200, 10, 10, 0))
    image.save(images / "clear.png", exif=exif, pnginfo=None)
    Image.new("RGB", (64, 64)).save(images / "noted.jpg", comment=b"Secret note")
    ran(settings(images, server, most_at_once=1), tmp_path, monkeypatch)
    request, noted = (each for each in server.seen if each.method == "POST")
    assert "comment" not in chat_server.image_of(noted).info
    sent = chat_server.image_of(request)
    assert sent.size == (512, 1024)
    assert sent.getpixel((5, 5)) == (255, 255, 255)
    assert not sent.getexif()
    assert "Secret" not in json.dumps(request.body)
    assert request.body["model"] == MODEL


@pytest.mark.parametrize("kind", list(TEXTS))
def test_what_is_wrong_with_an_answer_is_marked_and_never_written_in_silence(
    kind, images, server, tmp_path, monkeypatch
):
    put(images, "one")
    server.wanted["one"] = [kind]
    wanted = settings(images, server, template="style" if kind == "style" else "scene")
    ran(wanted, tmp_path, monkeypatch)
    (caption,) = asking.known(wanted).values()
    expected = {
        "refusal": {"refusal"},
        "loop": {"loop"},
        "length": {"length"},
        "thinking": {"thinking"},
        "endless": {"thinking", "length", "empty"},
        "filler": {"filler"},
        "json": {"unwrapped"},
        "fence": {"unwrapped"},
        "table": {"wrapped"},
        "list": {"wrapped"},
        "german": {"language"},
        "chinese": {"language"},
        "style": {"style"},
        "reader": {"question"},
        "blank": {"empty"},
        "control": {"control"},
        "markup": {"markup"},
    }
    assert set(caption.marks) == expected[kind]
    is_mended = kind in ("thinking", "filler", "json", "fence", "control")
    assert bool(asking.writable({"one.png": caption})) is is_mended
    if kind in ("thinking", "json", "fence", "control"):
        assert caption.text == FINE
    if kind == "filler":
        assert caption.text == "A woman in a red coat on a bridge at dawn."
    assert caption.said == TEXTS[kind][0]


def test_a_busy_server_gets_fewer_requests_and_every_image_its_caption(images, server, tmp_path, monkeypatch):
    names = [f"n{number:02}" for number in range(20)]
    put(images, *names)
    server.pause_s = 0.02
    for name in names[5:9]:
        server.wanted[name] = [429, 429, "fine"]
    log = ran(settings(images, server), tmp_path, monkeypatch)
    assert len(asking.known(settings(images, server))) == 20
    assert "at most 1 at once now" in log
    assert "429" in log
    assert 1 <= server.most_active <= 4
    assert all(server.counts[name] == 3 for name in names[5:9])


def test_an_error_of_the_server_and_a_missing_answer_are_tried_again(images, server, tmp_path, monkeypatch):
    put(images, "fails", "hangs", "fine")
    server.wanted = {"fails": [500, "fine"], "hangs": ["slow", "fine"]}
    ran(settings(images, server, read_s=0.5), tmp_path, monkeypatch)
    assert len(asking.known(settings(images, server))) == 3
    assert server.counts["hangs"] == 2


def test_one_image_that_the_server_refuses_is_named_with_the_words_of_the_server(images, server):
    put(images, "a", "b", "c", "d")
    server.wanted["b"] = [400]
    job = asking.start(settings(images, server))
    assert job.wait(LIMIT_S) is JobState.COMPLETED
    (failed,) = progress.failures(job.folder)
    assert failed[0] == "b.png"
    assert "400: status 400" in failed[1]
    assert "1 image was left out" in job.result["notices"][0]


def test_a_wrong_model_ends_the_job_with_the_words_of_the_server(images, server):
    put(images, *"abcdef")
    server.wanted = {name: [404] for name in "abcdef"}
    job = asking.start(settings(images, server))
    assert job.wait(LIMIT_S) is JobState.FAILED
    assert "404: status 404" in job.result["diagnosis"]["cause"]
    assert len(server.asked) <= 4


def test_a_server_that_is_gone_ends_the_job_and_nothing_is_lost(images, tmp_path, monkeypatch):
    put(images, "a", "b")
    with chat_server.running() as server:
        wanted = settings(images, server, images=("a.png",))
        ran(wanted, tmp_path, monkeypatch)
    with pytest.raises(asking.DatasetError.__mro__[1], match="cannot be reached"):
        ran(dataclasses.replace(wanted, images=()), tmp_path, monkeypatch)
    assert list(asking.known(wanted)) == ["a.png"]


def test_a_server_that_hangs_up_is_told_with_one_full_stop():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up():
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller:
                    caller.recv(1 << 16)

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        found = endpoint.parse(f"http://127.0.0.1:{server.getsockname()[1]}/v1")
        with pytest.raises(endpoint.Refused) as error, contextlib.closing(endpoint.Client(found)) as client:
            client.models()
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    assert "without sending a response." in error.value.message
    assert ".." not in error.value.message


def test_a_stop_after_37_images_and_a_new_start_asks_about_no_image_twice(images, server):
    names = [f"n{number:03}" for number in range(100)]
    put(images, *names)
    server.pause_s = 0.03
    job = asking.start(settings(images, server))
    until = time.monotonic() + LIMIT_S
    while len(server.asked) < 37 and time.monotonic() < until:
        time.sleep(0.005)
    assert job.stop() is JobState.CANCELLED
    done = set(asking.known(settings(images, server)))
    first = list(server.asked)
    assert 20 <= len(done) < 100
    server.pause_s = 0
    again = asking.start(settings(images, server))
    assert again.wait(LIMIT_S) is JobState.COMPLETED
    second = server.asked[len(first) :]
    assert not {f"{name}.png" for name in second} & done
    assert len(second) == len(set(second)) == 100 - len(done)
    assert len(asking.known(settings(images, server))) == 100


def test_another_question_is_asked_anew_and_the_old_answer_stays(images, server, tmp_path, monkeypatch):
    put(images, "one")
    first, second = settings(images, server), settings(images, server, text="Name the colour of {name}")
    for wanted in (first, second, first, second):
        ran(wanted, tmp_path, monkeypatch)
    assert len(server.asked) == 2


def test_after_the_captions_were_written_nothing_is_asked_again_unless_wanted(images, server, tmp_path, monkeypatch):
    put(images, "one", "two")
    (images / "one.txt").write_text("1girl, bridge")
    wanted = settings(images, server, text="These tags may help: {tags}\nWrite one caption of {name}")
    ran(wanted, tmp_path, monkeypatch)
    applying.apply(images, asking.writable(asking.known(wanted)), "all", wanted.author, "Captions")
    assert (images / "one.txt").read_text() == FINE
    ran(wanted, tmp_path, monkeypatch)
    assert sorted(server.asked) == ["one", "two"]
    again = asking.start(dataclasses.replace(wanted, again=True))
    assert again.wait(LIMIT_S) is JobState.COMPLETED
    assert sorted(server.asked) == ["one", "one", "two", "two"]
    # What it wrote itself is not sent as tags.
    texts = [each.body["messages"][0]["content"][0]["text"] for each in server.seen if each.method == "POST"]
    assert [("1girl" in text, FINE in text) for text in texts].count((True, False)) == 1
    assert not any(FINE in text for text in texts)


def test_the_key_is_sent_and_is_in_no_file_argument_or_message(images, monkeypatch, tmp_path):
    put(images, "a", "b", "c")
    monkeypatch.setenv(keys.VARIABLE, KEY)
    with chat_server.running(KEY) as server:
        server.wanted = {"b": [400], "c": [429, "fine"]}
        job = asking.start(settings(images, server))
        words = ""
        while job.state not in (JobState.COMPLETED, JobState.FAILED):
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    words += (folder / "cmdline").read_bytes().decode("utf-8", "replace")
                except OSError:
                    continue
            time.sleep(0.1)
        assert job.state is JobState.COMPLETED
        assert {each.headers.get("Authorization") for each in server.seen} == {f"Bearer {KEY}"}
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert len(files) > 5
    assert all(KEY.encode() not in path.read_bytes() for path in files)
    assert KEY not in words
    assert KEY[3:] not in json.dumps(job.result)


def test_a_wrong_key_is_told_without_the_key_whatever_its_form(images, monkeypatch):
    key = "quiet.lilac.meadow.0042"
    monkeypatch.setenv(keys.VARIABLE, key)
    with chat_server.running("another") as server, pytest.raises(DownloadError) as raised:
        checks.models_of(server.url)
    assert "401: Incorrect API key provided: [key]" in str(raised.value)
    assert key not in str(raised.value)


def test_a_key_of_this_session_reaches_the_job_but_no_other_host(images, tmp_path):
    put(images, "a")
    with chat_server.running(KEY) as server:
        host = endpoint.parse(server.url).host
        keys.remember(host, KEY)
        try:
            job = asking.start(settings(images, server))
            assert keys.find("api.example.com") is None
        finally:
            keys.forget(host)
        assert job.wait(LIMIT_S) is JobState.COMPLETED
    assert keys.VARIABLE not in os.environ


def test_a_redirect_to_another_host_gets_neither_key_nor_image(images, tmp_path, monkeypatch):
    put(images, "a")
    monkeypatch.setenv(keys.VARIABLE, KEY)
    with chat_server.running() as other, chat_server.running(KEY) as server:
        server.redirect = other.url.removesuffix("/v1")
        with pytest.raises(DownloadError, match="does not follow"):
            checks.models_of(server.url)
        with pytest.raises(asking.DatasetError.__mro__[1], match="does not follow"):
            ran(settings(images, server), tmp_path, monkeypatch)
        assert other.seen == []
        assert len(server.seen) <= 4


def test_a_proxy_of_the_environment_never_gets_images_for_this_machine(images, server, tmp_path, monkeypatch):
    put(images, "a")
    with chat_server.running() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        ran(settings(images, server), tmp_path, monkeypatch)
        assert proxy.seen == []
    assert server.asked == ["a"]


@pytest.mark.parametrize(
    ("typed", "url", "is_local"),
    [
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1", True),
        ("localhost:1234", "http://localhost:1234/v1", True),
        ("http://[::1]:8000/v1/chat/completions", "http://[::1]:8000/v1", True),
        ("https://api.example.com/v1/", "https://api.example.com/v1", False),
        ("api.example.com", "https://api.example.com/v1", False),
        ("http://192.168.1.5:8000", "http://192.168.1.5:8000/v1", False),
        ("http://127.0.0.1.example.com/v1", "http://127.0.0.1.example.com/v1", False),
        ("http://localhost.example.com", "http://localhost.example.com/v1", False),
    ],
)
def test_an_address_is_completed_and_only_this_machine_is_local(typed, url, is_local):
    found = endpoint.parse(typed)
    assert (found.url, found.is_local) == (url, is_local)


@pytest.mark.parametrize(
    "typed",
    ["", "ftp://a", "http://", "https://u:p@host/v1", "https://host/v1?key=1", "http://ho st", "http://a:99999/"],
)
def test_what_is_no_address_of_an_endpoint_is_refused(typed):
    with pytest.raises(DownloadError):
        endpoint.parse(typed)


def test_no_image_leaves_the_machine_without_a_confirmation(images):
    put(images, "a")
    away = asking.Settings(dataset=str(images), model=MODEL, endpoint="https://captions.example.com/v1")
    with pytest.raises(DownloadError, match=r"captions\.example\.com") as raised:
        asking.start(away)
    assert "--send-to captions.example.com" in raised.value.hint
    # Also not by a job whose settings were written by hand.
    with pytest.raises(DownloadError, match="leave this machine"):
        asking.run(away)
    with pytest.raises(DownloadError, match="leave this machine"):
        asking.checked(dataclasses.replace(away, confirmed="example.com"))
    (problem,) = checks.before_captioning(away, reaches=False)
    assert (problem.path, problem.severity) == ("endpoint", "error")


def test_a_key_is_never_sent_unencrypted_to_another_machine(monkeypatch):
    monkeypatch.setenv(keys.VARIABLE, KEY)
    with pytest.raises(DownloadError, match="unencrypted") as raised:
        endpoint.Client(endpoint.parse("http://captions.example.com/v1"), keys.find("captions.example.com"))
    assert KEY not in str(raised.value)


def test_a_key_given_as_the_name_of_a_variable_is_refused_and_not_repeated():
    for text in (KEY, "hf_" + "a" * 34):
        with pytest.raises(DownloadError) as raised:
            keys.checked(text)
        assert text not in str(raised.value)


def test_problems_before_the_start_name_the_fix(images, server):
    (empty,) = checks.before_captioning(settings(images, server))
    assert empty.path == "dataset"
    put(images, "a")
    assert checks.before_captioning(settings(images, server)) == ()
    (model,) = checks.before_captioning(settings(images, server, model="typo"))
    assert (model.severity, MODEL in model.fix.label) == ("warning", True)
    (question,) = checks.before_captioning(settings(images, server, text="What is {this}?"))
    assert "{this}" in question.message
    (gone,) = checks.before_captioning(settings(images, server, endpoint="http://127.0.0.1:9/v1"))
    assert (gone.path, gone.severity) == ("endpoint", "error")


def test_the_tags_of_the_captions_are_in_the_question(images, server, tmp_path, monkeypatch):
    put(images, "one")
    (images / "one.txt").write_text("1girl, bridge")
    ran(settings(images, server, text="These are {tags}; write of {name}"), tmp_path, monkeypatch)
    assert "These are 1girl, bridge;" in server.seen[-1].body["messages"][0]["content"][0]["text"]

"""Messages to webhooks when a job has ended: sent to real servers on this machine, without anything private."""

from __future__ import annotations

import json
import stat
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from trainer_core import places
from trainer_core.cli import easel
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.spec import Spec, Step
from trainer_core.notifications import send, webhooks
from trainer_core.notifications.message import EXAMPLE, Message, message
from trainer_core.notifications.webhooks import WebhookError, webhook

SECRET = "s3cr3t-channel-0815"


class Server(ThreadingHTTPServer):
    """Keeps what it gets, and answers with these statuses, then with 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Recorder)
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.address = f"http://127.0.0.1:{self.server_port}/hooks/{SECRET}"


class Recorder(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        assert isinstance(server, Server)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.got.append((self.path, dict(self.headers), body))
        status = server.statuses.pop(0) if server.statuses else 200
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format, *args):  # noqa: A002 - named by the base class
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "*")
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ended_job(code: str) -> Job:
    folder = JobFolder.create(places.jobs(), "a job")
    folder.write_spec(Spec("commands", (Step("only", ("python3", "-c", code)),), folder.path))
    job = Job(folder)
    job.launch()
    job.wait(60)
    return job


def until(condition, limit_s=30):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def test_a_webhook_is_told_when_a_real_job_has_ended(server):
    webhooks.save([webhook(server.address)])
    job = ended_job("import sys; print('/home/anna/images/portrait.png: a photo of sks'); sys.exit(3)")
    until(lambda: server.got)
    told = json.loads(server.got[0][2])
    assert told["job"] == job.name
    assert (told["state"], told["kind"], told["reason"]) == ("FAILED", "commands", "failed")
    assert server.got[0][0].endswith(SECRET)


class Misbehaving(BaseHTTPRequestHandler):
    """By the path of the request: a status with an endless body, or a header that comes one byte at a time and never ends."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        block = b"x" if self.path == "/slow" else b"x" * (1 << 20)
        begin = b"HTTP/1.1 200 OK\r\n" + (b"X-Slow: " if self.path == "/slow" else b"\r\n")
        server = self.server
        assert isinstance(server, Endless)
        try:
            self.wfile.write(begin)
            while not server.over.is_set() and server.sent < 1 << 30:
                self.wfile.write(block)
                server.sent += len(block)
                if self.path == "/slow":
                    time.sleep(0.1)
        except OSError:
            return

    def log_message(self, format, *args):  # noqa: A002 - named by the base class
        pass


class Endless(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Misbehaving)
        self.over = threading.Event()
        self.sent = 0


@pytest.fixture
def endless():
    server = Endless()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


def test_the_body_of_an_answer_is_not_read(server, endless):
    send.send(webhook(f"http://127.0.0.1:{endless.server_port}/large"), EXAMPLE)
    assert endless.sent < 64 << 20


def test_a_server_that_never_ends_its_answer_holds_neither_the_process_nor_other_messages(server, endless, monkeypatch):
    monkeypatch.setattr(send, "LIMIT_S", 0.5)
    monkeypatch.setattr(send, "ALL_S", 1.2)
    monkeypatch.setattr(send, "WAIT_S", 0.1)
    slow = webhook(f"http://127.0.0.1:{endless.server_port}/slow")
    webhooks.save([slow, webhook(server.address)])
    job = ended_job("pass")
    began = time.monotonic()
    with pytest.raises(WebhookError, match="no response in time"):
        send.send(slow, EXAMPLE)
    assert time.monotonic() - began < 5
    server.got.clear()
    send.job_ended(job.folder.path)
    assert len(server.got) == 1


def test_a_message_has_no_paths_captions_or_log_lines(server):
    webhooks.save([webhook(server.address)])
    ended_job("raise SystemExit('/home/anna/images/portrait.png cannot be read: a photo of sks')")
    until(lambda: server.got)
    text = server.got[0][2].decode()
    assert not any(word in text for word in ("anna", "portrait", "sks", "home/", str(places.home())))


def test_the_address_is_in_no_file_of_the_job(server):
    server.statuses[:] = [404]
    webhooks.save([webhook(server.address)])
    job = ended_job("pass")
    until(lambda: "did not accept" in (job.folder.path / "runner.log").read_text())
    contents = b"".join(path.read_bytes() for path in job.folder.path.rglob("*") if path.is_file())
    assert SECRET.encode() not in contents


def test_the_file_with_the_addresses_is_private(server):
    webhooks.save([webhook(server.address)])
    assert stat.S_IMODE((places.home() / "webhooks.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(("form", "content_type"), [("json", "application/json"), ("discord", "application/json"), ("ntfy", "text/plain; charset=utf-8")])  # fmt: skip
def test_each_form_has_the_sentence(server, form, content_type):
    send.send(webhook(server.address, form), EXAMPLE)
    _, headers, body = server.got[0]
    assert headers["Content-Type"] == content_type
    assert EXAMPLE.text in body.decode()


def test_a_name_cannot_call_everybody_on_discord(server):
    send.send(webhook(server.address, "discord"), Message("@everyone", "training", "FAILED", 1, 0, 0, ""))
    assert json.loads(server.got[0][2])["allowed_mentions"] == {"parse": []}


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(server):
    server.statuses[:] = [503, 429, 204]
    send.send(webhook(server.address), EXAMPLE, wait_s=0)
    assert len(server.got) == 3
    server.got.clear()
    server.statuses[:] = [404]
    with pytest.raises(WebhookError, match="HTTP status 404") as refused:
        send.send(webhook(server.address), EXAMPLE, wait_s=0)
    assert len(server.got) == 1
    assert SECRET not in str(refused.value)


def test_a_redirect_is_not_followed(server):
    server.statuses[:] = [302]
    with pytest.raises(WebhookError, match="redirects"):
        send.send(webhook(server.address), EXAMPLE, wait_s=0)
    assert [path for path, *_ in server.got] == [f"/hooks/{SECRET}"]


def test_an_unreachable_server_is_a_sentence_without_the_address(server):
    with pytest.raises(WebhookError, match="no connection") as refused:
        send.send(webhook(f"http://127.0.0.1:9/{SECRET}"), EXAMPLE, wait_s=0)
    assert SECRET not in str(refused.value)


def test_only_the_states_that_were_chosen_are_told(server):
    webhooks.save([webhook(server.address, states=["failed"])])
    send.job_ended(ended_job("pass").folder.path)
    assert server.got == []
    send.job_ended(ended_job("raise SystemExit(1)").folder.path)
    until(lambda: server.got)
    assert {json.loads(body)["state"] for *_, body in server.got} == {"FAILED"}


@pytest.mark.parametrize("address", ["", "example.com/hook", "ftp://example.com", "https://", "https://exa mple.com", "https://[::1", "http://example.com/hook", "javascript:alert(1)"])  # fmt: skip
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(WebhookError):
        webhook(address)


@pytest.mark.parametrize(("address", "form"), [("https://discord.com/api/webhooks/1/x", "discord"), ("https://ntfy.sh/topic", "ntfy"), ("https://notdiscord.com/x", "json"), ("http://192.168.1.5/x", "json")])  # fmt: skip
def test_the_host_suggests_the_form(address, form):
    assert webhook(address).form == form


@pytest.mark.parametrize("content", ["", "[1]", "{}", '[{"address": 5}]', '[{"address": "x"}]', "[" * 5000, '[{"address": "https://a.b/", "states": 3}]'])  # fmt: skip
def test_a_damaged_file_is_named_and_never_replaced(server, content):
    places.home().mkdir(parents=True, exist_ok=True)
    file = places.home() / "webhooks.json"
    file.write_text(content)
    for words in (["add"], ["list"], ["remove", "1"], ["test"]):
        done = CliRunner().invoke(easel, ["notify", *words], input=f"{server.address}\n")
        assert isinstance(done.exception, WebhookError)
        assert "damaged" in done.exception.message
    assert file.read_text() == content


def test_a_damaged_entry_keeps_no_other_webhook_from_its_message(server, capsys):
    places.home().mkdir(parents=True, exist_ok=True)
    (places.home() / "webhooks.json").write_text(json.dumps([{"address": 5}, {"address": server.address}]))
    send.job_ended(ended_job("pass").folder.path)
    assert server.got
    assert "its entry 1 is not a webhook" in capsys.readouterr().err


def test_the_message_of_a_run_has_its_step(server):
    job = ended_job("pass")
    job.folder.events.write_text('{"kind": "progress", "step": 30, "total": 40}\n')
    assert message(Job.attach(job.folder.path)).text.endswith("step 30 of 40.")


def test_the_commands_never_print_an_address(server):
    run = CliRunner()
    added = run.invoke(easel, ["notify", "add", "--on", "failed"], input=f"{server.address}\n")
    assert added.exit_code == 0, added.output
    listed = run.invoke(easel, ["notify", "list", "--json"])
    assert json.loads(listed.output)[0]["on"] == "FAILED"
    tested = run.invoke(easel, ["notify", "test"])
    assert tested.exit_code == 0
    assert "test message" in server.got[-1][2].decode()
    assert json.loads(server.got[-1][2])["is_test"] is True
    assert json.loads(run.invoke(easel, ["notify", "test", "--json"]).output)[0]["sent"] is True
    again = run.invoke(easel, ["notify", "add", "--on", "failed", "--json"], input=f"{server.address}\n")
    assert SECRET not in again.output
    assert json.loads(again.output)["number"] == 1
    removed = run.invoke(easel, ["notify", "remove", "1", "--json"])
    assert json.loads(removed.output)["left"] == 0
    assert SECRET not in added.output + listed.output + tested.output + removed.output
    assert webhooks.load() == []
    assert isinstance(run.invoke(easel, ["notify", "remove", "1"]).exception, WebhookError)

"""The address of the webhook of a request: only who knows it can call it, and a call says nothing but which request to ask about."""

import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import runpod_twin
from tests.support.runpod_twin import ENDPOINT, KEY
from trainer_core.errors import RemoteError
from trainer_core.remote.credentials import Secret
from trainer_core.remote.runpod import answers, limits, webhook
from trainer_core.remote.runpod.client import Client
from trainer_core.remote.runpod.settle import Known, RemoteState, Seen, settle

SECRET = Secret("0123456789abcdef0123456789abcdef", "a secret", "a test")
OTHER = Secret("fedcba9876543210fedcba9876543210", "a secret", "a test")
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}", fullmatch=True)


def test_the_code_is_the_hmac_of_the_request_id():
    path = webhook.path(SECRET, "16_1234567890")
    code = "4529fdf0bde03e16afacad0c6e7328064fb5650fc8c8784dd402de4e67f5ac2d"
    assert path == f"/easel/remote-training/16_1234567890/{code}"
    assert webhook.request_of(SECRET, path) == "16_1234567890"
    assert webhook.request_of(SECRET, f"{path}?x=1") == "16_1234567890"
    assert (
        webhook.address("https://api.example.com/", SECRET, "a")
        == f"https://api.example.com{webhook.path(SECRET, 'a')}"
    )


@given(IDS, IDS)
def test_the_code_of_one_request_is_of_no_use_for_another_one(first, second):
    code = webhook.path(SECRET, first).rpartition("/")[2]
    found = webhook.request_of(SECRET, f"{webhook.PATH}/{second}/{code}")
    assert found == (second if first == second else None)


@given(IDS, st.integers(0, 63), st.sampled_from("0123456789abcdefé/ "))
def test_a_code_with_one_other_letter_is_refused(request_id, place, letter):
    path = webhook.path(SECRET, request_id)
    start, code = path[:-64], path[-64:]
    changed = code[:place] + letter + code[place + 1 :]
    assert webhook.request_of(SECRET, start + changed) == (request_id if changed == code else None)


def test_the_secret_of_another_receiver_is_of_no_use():
    assert webhook.request_of(OTHER, webhook.path(SECRET, "a")) is None


@pytest.mark.parametrize(
    "called",
    [
        "",
        "/",
        webhook.PATH,
        f"{webhook.PATH}/",
        f"{webhook.PATH}/a",
        f"{webhook.PATH}/a/",
        f"{webhook.PATH}/../a/b",
        "/other/a/b",
    ],
)
def test_other_paths_are_of_no_request(called):
    assert webhook.request_of(SECRET, called) is None


@pytest.mark.parametrize("request_id", ["", "a/b", "..", "a..b", "a b", "é", "x" * 300, "a\n"])
def test_an_id_that_cannot_be_in_a_path_is_refused(request_id):
    with pytest.raises(RemoteError):
        webhook.path(SECRET, request_id)


def test_a_short_secret_is_refused_and_not_shown():
    with pytest.raises(RemoteError) as found:
        webhook.path(Secret("hunter2", "a secret", "a test"), "a")
    assert "hunter2" not in str(found.value)


@pytest.mark.parametrize(
    "base", ["", "api.example.com", "ftp://a", "https://user:pw@a", "https://a?b=c", "https://a b"]
)
def test_a_public_address_that_is_none_is_refused(base):
    with pytest.raises(RemoteError) as found:
        webhook.address(base, SECRET, "a")
    assert "pw" not in str(found.value)


class Receiver(ThreadingHTTPServer):
    """What is called when a job has ended; it answers with these statuses, one after another."""

    def __init__(self, *statuses):
        calls, left = [], list(statuses)

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                calls.append((webhook.request_of(SECRET, self.path), body))
                self.send_response(left.pop(0) if left else 200)
                self.end_headers()

            def log_message(self, format, *args):  # noqa: A002
                pass

        super().__init__(("127.0.0.1", 0), Answer)
        self.calls, self.url = calls, f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def receiver():
    made = Receiver(500, 200)
    yield made
    made.shutdown()
    made.server_close()


def test_a_call_leads_to_a_question_and_what_a_forged_one_says_is_not_believed(receiver):
    """The receiver takes of a call only which request it is about; the state is asked with the key."""
    done = {"status": "success", "job_id": "r1", "loraName": "a.safetensors", "loraUrl": "s3://bkt/a"}
    with (
        runpod_twin.running(speed=200) as twin,
        Client(ENDPOINT, Secret(KEY, "K", "a test"), twin.url) as client,
    ):
        address = webhook.address(receiver.url, SECRET, "r1")
        job = client.run({}, limits.policy(3600), address)
        forged = json.dumps({"status": "success", "job_id": "r1", "loraUrl": "s3://evil/a"}).encode()
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(address, forged)
        urllib.request.urlopen(f"{receiver.url}{webhook.PATH}/r1/{'0' * 64}", forged).close()
        assert [request for request, _ in receiver.calls] == ["r1", None]

        def state():
            known = Known("r1", job.id, 0, 10**12).with_status(Seen(client.status(job.id), 1))
            return settle(known, 2)

        assert state().state == RemoteState.QUEUED
        twin.finish(twin.jobs[job.id], "COMPLETED", done)
        twin.called()
        request, envelope = receiver.calls[-1]
        assert (request, envelope["webhook"], answers.result(envelope).lora_url) == ("r1", address, "s3://bkt/a")
        assert (state().state, state().result.lora_url) == (RemoteState.COMPLETED, "s3://bkt/a")


def test_a_webhook_is_called_until_it_answers_200(receiver):
    with (
        runpod_twin.running(speed=200) as twin,
        Client(ENDPOINT, Secret(KEY, "K", "a test"), twin.url) as client,
    ):
        job = client.run({}, limits.policy(3600), webhook.address(receiver.url, SECRET, "r1"))
        client.cancel(job.id)
        twin.called()
        assert twin.hooks == [(job.id, 500), (job.id, 200)]

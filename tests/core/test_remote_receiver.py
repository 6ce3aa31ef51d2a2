"""The receiver of webhooks: a call has a run ask for its state now, and nothing else, whoever calls and whatever the body says."""

import json
import socket
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import runpod_twin, serving
from tests.support.played import until
from tests.support.runpod_twin import ENDPOINT, KEY
from tests.support.serving import call, live_in, remote_run
from trainer_core import places
from trainer_core.remote import hastening, serve
from trainer_core.remote.credentials import Secret
from trainer_core.remote.runpod import limits, webhook
from trainer_core.remote.runpod.client import Client
from trainer_core.remote.serve import keys, receiver

home, said, server = serving.home, serving.said, serving.server
ID = "cat-0123abcd"
BARE = "/api/training-webhook"
SUCCESS = {
    "status": "success",
    "job_id": ID,
    "loraName": "style_16_v1.0.safetensors",
    "loraUrl": "https://s3-accelerate.amazonaws.com/bucket/path/model.safetensors",
    "model_info": {"size_bytes": 45678912, "model_type": "lora"},
}
FAILURE = {"status": "failed", "job_id": ID, "error": "Error message here"}
ENVELOPE = {"id": "abc-e1", "status": "COMPLETED", "output": SUCCESS, "input": {}, "webhook": "https://x"}
ENVELOPE_FAILED = {
    "id": "abc-e1",
    "status": "FAILED",
    "error": "Error message here",
    "output": {"status": "failed", "job_id": ID},
}
ENVELOPE_TIMED_OUT = {"id": "abc-e1", "status": "TIMED_OUT", "input": {"training_config": {"request_id": ID}}}
ENVELOPE_OF_EASEL = {"id": "abc-e1", "status": "CANCELLED", "input": {"easel": {"request": {"id": ID}}}}


@pytest.fixture
def run(home):
    return remote_run(places.runs(), "cat", ID)


def path_of(request_id, start=webhook.PATH):
    return start + webhook.path(keys.webhook_secret(), request_id).removeprefix(webhook.PATH)


def files(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def settled(server):
    """Returns when all calls before it were looked at."""
    remote_run(places.runs(), "last", "last-00000000")
    server._calls._indexed_s = -receiver.INDEX_S
    assert call(server.address, "POST", path_of("last-00000000")).status == 200
    until((places.runs() / "last/remote/ask-now").exists)


@pytest.mark.parametrize("start", [webhook.PATH, BARE, "/core/training-webhooks/runpod-serverless"])
def test_a_call_with_the_code_has_the_run_ask_now(server, run, said, start):
    found = call(server.address, "POST", path_of(ID, start), {"status": "nonsense"})
    assert (found.status, found.data) == (200, {"received": True})
    until((run / "remote/ask-now").exists)
    until(lambda: said)
    assert said == ["A call for cat: it asks for its state now."]
    assert hastening.take(run)
    assert not hastening.take(run)


@pytest.mark.parametrize("path", [BARE, "/core/training-webhooks/runpod-serverless"])
@pytest.mark.parametrize("body", [SUCCESS, FAILURE, ENVELOPE, ENVELOPE_FAILED, ENVELOPE_TIMED_OUT, ENVELOPE_OF_EASEL])
def test_both_bodies_of_the_documents_find_their_run_and_are_not_believed(server, run, path, body):
    before = files(run)
    assert call(server.address, "POST", path, body).status == 200
    until((run / "remote/ask-now").exists)
    assert files(run) == before | {"remote/ask-now": b""}


def test_a_call_with_a_forged_code_changes_nothing(server, run):
    right = path_of(ID)
    for path in (
        f"{webhook.PATH}/{ID}/{'0' * 64}",
        right[:-1],
        right + "/x",
        path_of("other-01234567").replace("other", "cat"),
    ):
        found = call(server.address, "POST", path, SUCCESS)
        assert (found.status, found.data["error"]) == (404, "There is nothing at this path.")
    settled(server)
    assert not (run / "remote").exists()


def test_the_code_of_one_run_with_the_body_of_another_hastens_the_first_only(server, run):
    other = remote_run(places.runs(), "dog", "dog-0123abcd")
    call(server.address, "POST", path_of("dog-0123abcd"), SUCCESS)
    settled(server)
    assert (other / "remote/ask-now").exists()
    assert not (run / "remote").exists()


def test_a_doubled_call_asks_once(server, run, said):
    for _ in range(5):
        call(server.address, "POST", path_of(ID))
        call(server.address, "POST", BARE, SUCCESS)
    settled(server)
    assert said[:-1] == ["A call for cat: it asks for its state now."]


def test_a_call_after_the_end_of_the_run_changes_nothing(server, run):
    (run / "result.json").write_text("{}")
    before = files(run)
    assert call(server.address, "POST", path_of(ID), ENVELOPE).status == 200
    settled(server)
    assert files(run) == before


def test_a_call_for_an_unknown_run_is_answered_as_any_other_and_changes_nothing(server, home):
    assert call(server.address, "POST", path_of("unknown-01234567"), SUCCESS).data == {"received": True}
    assert call(server.address, "POST", BARE, {**SUCCESS, "job_id": "unknown-01234567"}).data == {"received": True}
    settled(server)
    assert sorted(each.name for each in places.runs().iterdir()) == ["last"]


def test_a_call_before_runpod_has_answered_the_request_is_kept_for_the_run(server, run):
    """The run has only its request then; whoever follows it finds the mark when it begins to ask."""
    assert files(run).keys() == {"remote.json"}
    call(server.address, "POST", path_of(ID), ENVELOPE)
    until((run / "remote/ask-now").exists)
    assert hastening.take(run)


def test_a_run_whose_folder_has_another_name_is_found_by_its_id(server, home):
    folder = remote_run(places.runs(), "renamed", ID)
    call(server.address, "POST", path_of(ID))
    until((folder / "remote/ask-now").exists)


@pytest.mark.parametrize("link", ["cat", "cat/remote"])
def test_a_link_in_a_run_folder_leads_nowhere(server, home, said, link):
    outside = home / "outside"
    outside.mkdir()
    places.runs().mkdir(parents=True)
    if link == "cat":
        (outside / "remote.json").write_text(json.dumps({"id": ID}))
    else:
        remote_run(places.runs(), "cat", ID)
    (places.runs() / link).symlink_to(outside)
    call(server.address, "POST", path_of(ID))
    settled(server)
    assert "ask-now" not in [each.name for each in outside.rglob("*")]
    assert said[0].startswith("A call for cat had no effect")


def test_a_body_of_the_size_of_runpods_largest_is_accepted_with_the_code(server, run):
    large = json.dumps({**ENVELOPE, "input": {"x": "y" * 10_500_000}}).encode()
    assert call(server.address, "POST", path_of(ID), large).status == 200
    until((run / "remote/ask-now").exists)
    found = call(server.address, "POST", BARE, large)
    assert (found.status, found.data["status"]) == (413, "failed")


def test_other_methods_are_refused(server):
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        assert call(server.address, method, BARE).status == 405


def test_a_real_webhook_of_runpods_twin_is_answered_with_200_the_first_time(server, run):
    with runpod_twin.running(speed=200) as twin, Client(ENDPOINT, Secret(KEY, "K", "a test"), twin.url) as client:
        job = client.run({}, limits.policy(3600), f"{server.address}{path_of(ID)}")
        twin.finish(twin.jobs[job.id], "COMPLETED", SUCCESS)
        twin.called()
        assert twin.hooks == [(job.id, 200)]
    until((run / "remote/ask-now").exists)


def test_the_answer_does_not_wait_for_the_run(server, run):
    """Also with a list of runs that takes long to read."""
    for number in range(300):
        remote_run(places.runs(), f"r{number}", f"r{number}-01234567")
    began = time.monotonic()
    for number in range(50):
        call(server.address, "POST", BARE, {**SUCCESS, "job_id": f"unknown{number}"})
    assert time.monotonic() - began < 5
    settled(server)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server for many requests."""
    home = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        live_in(home, patch)
        remote_run(places.runs(), "cat", ID)
        with serve.start(port=0) as made:
            yield made


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20) | st.sampled_from([ID, "success"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["job_id", "status", "output", "input", "training_config", "id", "styleId", "parameters", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
BODIES = st.binary(max_size=200) | JSON.map(lambda data: json.dumps(data).encode())
ROUTES = [
    "/api/training/start",
    "/api/styles/16/training-versions",
    "/api/styles/%00/training-versions",
    "/api/ngrok/stop",
    BARE,
    "/core/training-webhooks/runpod-serverless",
    f"{webhook.PATH}/{ID}/0",
    "//api/training-webhook",
    "/api/training-webhook/../training/start",
]
PATHS = st.sampled_from(ROUTES) | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40).map(
    "/{}".format
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "HEAD"]),
    PATHS,
    BODIES,
    st.booleans(),
    st.sampled_from(["application/json", "text/plain", "application/json; charset=x", ""]),
)
def test_whatever_is_sent_is_answered_and_never_a_mistake_of_the_server(shared, method, path, body, known, kind):
    headers = {"Content-Type": kind} if kind else {}
    token = shared.token.reveal() if known else ""
    found = call(shared.address, method, path.replace("#", "%23"), body, token=token, headers=headers)
    assert found.status < 500 or (found.status == 502 and "ngrok" in path), (found, path)
    if found.status >= 400 and found.body and found.headers.get("content-type") == "application/json":
        assert found.data["status"] == "failed"
        assert found.data["error"].endswith(".") or found.data["error"]
    if not known and found.status < 300:
        assert found.data in ({"received": True}, None)
    assert shared.token.reveal() not in found.body.decode("utf-8", "replace")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_request_do_not_stop_the_server(shared, raw):
    with socket.create_connection(("127.0.0.1", shared.port), timeout=10) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert call(shared.address, "POST", BARE, b"{}").status == 200


@given(BODIES)
def test_the_ids_in_a_body_can_be_parts_of_paths_and_are_few(body):
    found = list(receiver.ids_in(body))
    assert len(found) <= 4
    for each in found:
        assert webhook.path(Secret("x" * 32, "a", "b"), each)


def test_callers_that_send_nothing_do_not_keep_others_out(shared):
    waiting = [socket.create_connection(("127.0.0.1", shared.port), timeout=10) for _ in range(20)]
    try:
        for each in waiting:
            each.sendall(b"POST /api/training-webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(call(shared.address, "POST", BARE, b"{}").status))
            for _ in range(5)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert answers == [200] * 5
    finally:
        for each in waiting:
            each.close()

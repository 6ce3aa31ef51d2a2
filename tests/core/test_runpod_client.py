"""The client of RunPod, against a twin of RunPod's control plane: real HTTP on loopback."""

import json
import threading
import time
import urllib.request

import pytest

from tests.support import runpod_twin
from tests.support.runpod_twin import ENDPOINT, KEY, Fault
from trainer_core.errors import RemoteError, RemoteStopped
from trainer_core.remote.credentials import Secret
from trainer_core.remote.patience import Patience
from trainer_core.remote.runpod import limits
from trainer_core.remote.runpod.client import Client
from trainer_core.remote.runpod.connection import BASE_URL_NAME
from trainer_core.remote.runpod.refusals import RunPodError

FAST = Patience(connect_s=2, read_s=0.6, attempts=4, first_wait_s=0.02, longest_wait_s=2)
POLICY = limits.policy(3600)
NOT_TAKEN = {"status": 429, "body": "{}"}


@pytest.fixture
def twin():
    with runpod_twin.running() as found:
        yield found


@pytest.fixture
def client(twin):
    with Client(ENDPOINT, Secret(KEY, "RUNPOD_API_KEY", "a test"), twin.url, FAST) as found:
        yield found


def asked(twin, operation):
    return [each for each in twin.asked if f"/{operation}" in each.path]


def test_a_job_goes_from_the_queue_over_a_worker_to_its_result(twin, client):
    started = client.run({"training_config": {}}, POLICY)
    assert (started.state, started.is_final) == ("IN_QUEUE", False)
    job = twin.take("w1")
    twin.progress(job, {"step": 5})
    running = client.status(started.id)
    assert (running.state, running.output, running.worker, running.result) == ("IN_PROGRESS", {"step": 5}, "w1", None)
    twin.finish(
        job, "COMPLETED", {"status": "success", "job_id": "r1", "loraName": "a.safetensors", "loraUrl": "s3://b/a"}
    )
    ended = client.status(started.id)
    assert (ended.is_final, ended.result.lora_url, ended.result.job_id) == (True, "s3://b/a", "r1")
    assert None not in (ended.delay_s, ended.run_s)


def test_every_job_is_sent_with_a_policy_and_the_key_only_in_the_header(twin, client):
    client.run({"a": 1}, limits.policy(7200, queue_s=600), "https://api.example.com/hook")
    sent = twin.asked[0]
    assert sent.data == {
        "input": {"a": 1},
        "policy": {"executionTimeout": 7_200_000, "ttl": 7_800_000},
        "webhook": "https://api.example.com/hook",
    }
    assert sent.headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in sent.path
    assert KEY.encode() not in sent.body


@pytest.mark.parametrize(
    ("run_s", "queue_s", "sent"),
    [
        (0.5, 0, {"executionTimeout": 5000, "ttl": 10_000}),
        (3600, 86400, {"executionTimeout": 3_600_000, "ttl": 90_000_000}),
        (7 * 86400, 86400, {"executionTimeout": 604_800_000, "ttl": 604_800_000}),
    ],
)
def test_a_policy_keeps_the_bounds_and_its_ttl_has_room_for_the_queue_and_the_run(twin, client, run_s, queue_s, sent):
    policy = limits.policy(run_s, queue_s)
    assert policy.as_dict() == sent
    assert client.run({}, policy).state == "IN_QUEUE"


@pytest.mark.parametrize(
    ("run_s", "queue_s"), [(7 * 86400 + 1, 0), (0, 0), (float("nan"), 0), (5, -1), (float("inf"), 0)]
)
def test_a_job_that_runpod_would_end_too_early_is_refused(run_s, queue_s):
    with pytest.raises(RemoteError):
        limits.policy(run_s, queue_s)


def test_cancelling_ends_a_job_and_a_second_time_changes_nothing(twin, client):
    job_id = client.run({}, POLICY).id
    assert client.cancel(job_id).state == "CANCELLED"
    assert client.cancel(job_id).state == "CANCELLED"


def test_a_failed_job_can_be_retried_with_its_id_and_one_that_has_not_failed_cannot(twin, client):
    job_id = client.run({}, POLICY).id
    with pytest.raises(RunPodError, match="only a failed job can be retried"):
        client.retry(job_id)
    twin.finish(twin.jobs[job_id], "FAILED", error="out of memory")
    assert client.status(job_id).error == "out of memory"
    assert (client.retry(job_id).id, client.status(job_id).state) == (job_id, "IN_QUEUE")


def test_health_says_how_many_jobs_and_workers_there_are(twin, client):
    client.run({}, POLICY)
    twin.take("w1")
    client.run({}, POLICY)
    found = client.health()
    assert (found.jobs["inQueue"], found.jobs["inProgress"], found.workers["running"]) == (1, 1, 1)


def test_a_job_that_runpod_no_longer_knows_is_gone_and_not_failed(twin, client):
    job_id = client.run({}, POLICY).id
    twin.finish(twin.jobs.pop(job_id), "COMPLETED")
    for found in (client.status(job_id), client.cancel(job_id)):
        assert (found.is_gone, found.is_final, found.error) == (True, False, "")


def test_a_result_is_gone_thirty_minutes_after_the_end_and_a_running_job_when_its_ttl_is_over():
    with (
        runpod_twin.running(speed=20_000) as twin,
        Client(ENDPOINT, Secret(KEY, "K", "a test"), twin.url, FAST) as client,
    ):
        kept, running = client.run({}, POLICY).id, client.run({}, limits.policy(3000, 0)).id
        twin.finish(twin.jobs[kept], "COMPLETED")
        twin.jobs[running].status = "IN_PROGRESS"
        assert client.status(kept).state == "COMPLETED"
        time.sleep(0.2)
        assert (client.status(kept).is_gone, client.status(running).is_gone) == (True, True)
        assert twin.stops == [running]


def test_a_state_that_easel_does_not_know_is_not_final(twin, client):
    job_id = client.run({}, POLICY).id
    twin.jobs[job_id].status = "PAUSED_BY_RUNPOD"
    found = client.status(job_id)
    assert (found.state, found.is_final) == ("PAUSED_BY_RUNPOD", False)


# ---- what fails ----
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_question_is_asked_again_when_the_service_is_busy_or_broken(twin, client, status):
    job_id = client.run({}, POLICY).id
    twin.faults = [Fault(status), Fault(status)]
    assert client.status(job_id).state == "IN_QUEUE"
    assert len(asked(twin, "status")) == 3


@pytest.mark.parametrize("how", ["cut", "slow"])
def test_a_question_is_asked_again_when_the_connection_breaks_or_is_slow(twin, client, how):
    twin.faults = [Fault(how=how, wait_s=1)]
    assert client.health().workers["running"] == 0
    assert len(twin.asked) == 2


def test_retry_after_is_waited_for(twin, client):
    twin.faults = [Fault(429, headers={"Retry-After": "1"})]
    begin = time.monotonic()
    client.health()
    assert 1 <= time.monotonic() - begin < 3


def test_a_wait_that_is_too_long_is_left_to_the_user(twin, client):
    twin.faults = [Fault(429, headers={"Retry-After": "600"})]
    with pytest.raises(RunPodError, match="600 seconds") as found:
        client.health()
    assert (found.value.wait_s, len(twin.asked)) == (600, 1)


def test_after_a_few_attempts_it_gives_up(twin, client):
    twin.faults = [Fault(500)] * 10
    with pytest.raises(RunPodError, match="answered 500"):
        client.health()
    assert len(twin.asked) == FAST.attempts


@pytest.mark.parametrize("status", [429, 503])
def test_a_job_that_was_not_taken_is_sent_again(twin, client, status):
    twin.faults = [Fault(status)]
    client.run({}, POLICY)
    assert (len(asked(twin, "run")), len(twin.jobs)) == (2, 1)


@pytest.mark.parametrize(
    "fault",
    [Fault(500), Fault(502), Fault(504), Fault(how="lost"), Fault(how="slow", wait_s=1)],
    ids=lambda each: each.how or each.status,
)
def test_a_job_that_may_have_been_taken_is_not_sent_twice(twin, client, fault):
    twin.faults = [fault]
    with pytest.raises(RunPodError) as found:
        client.run({}, POLICY)
    assert found.value.may_have_arrived
    time.sleep(0.6 if fault.how == "slow" else 0)
    assert (len(asked(twin, "run")), len(twin.jobs) <= 1) == (1, True)


class Waits(threading.Event):
    """What stops a client, and how long it was waited for."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def wait(self, timeout=None):
        self.seconds.append(timeout)
        return super().wait(timeout)


def unused_url():
    with runpod_twin.running() as other:
        return other.url


def test_a_job_is_sent_again_if_there_was_no_connection_at_all():
    waits = Waits()
    client = Client(ENDPOINT, Secret(KEY, "K", "a test"), unused_url(), FAST, waits)
    with client, pytest.raises(RunPodError, match="cannot be reached") as found:
        client.run({}, POLICY)
    assert (len(waits.seconds), found.value.may_have_arrived) == (FAST.attempts - 1, False)
    assert all(low / 2 <= wait <= low for low, wait in zip([0.02, 0.04, 0.08], waits.seconds, strict=True))


def test_a_client_that_waits_can_be_stopped():
    waits = threading.Event()
    slow = Patience(attempts=5, first_wait_s=30, longest_wait_s=60)
    client = Client(ENDPOINT, Secret(KEY, "K", "a test"), unused_url(), slow, waits)
    threading.Timer(0.1, waits.set).start()
    begin = time.monotonic()
    with client, pytest.raises(RemoteStopped):
        client.health()
    assert time.monotonic() - begin < 5


def test_an_answer_that_comes_in_drops_does_not_hold_the_client(twin):
    twin.faults = [Fault(how="drip")]
    begin = time.monotonic()
    once = Patience(attempts=1, read_s=0.5)
    client = Client(ENDPOINT, Secret(KEY, "K", "a test"), twin.url, once)
    with client, pytest.raises(RunPodError, match="in time"):
        client.health()
    assert time.monotonic() - begin < 2


def test_a_request_over_ten_megabytes_is_refused_before_it_is_sent(twin, client):
    room = limits.LARGEST_REQUEST_BYTES - len(json.dumps({"input": {"a": ""}, "policy": POLICY.as_dict()}))
    assert client.run({"a": "x" * room}, POLICY).id
    with pytest.raises(RunPodError, match="10 MB") as found:
        client.run({"a": "x" * (room + 1)}, POLICY)
    assert (found.value.kind, len(twin.asked)) == ("size", 1)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("<html>captive portal</html>", "did not answer with"),
        ("[1]", "did not answer with"),
        ("{}", "did not answer with"),
    ],
)
def test_an_answer_of_another_form_is_an_error(twin, client, body, match):
    job_id = client.run({}, POLICY).id
    twin.faults = [Fault(200, body)] * 2
    with pytest.raises(RunPodError, match=match):
        client.status(job_id)
    with pytest.raises(RunPodError, match=match):
        client.health()


def test_a_status_of_another_job_is_not_taken(twin, client):
    job_id = client.run({}, POLICY).id
    twin.faults = [Fault(200, '{"id": "other", "status": "COMPLETED"}')]
    with pytest.raises(RunPodError):
        client.status(job_id)


def test_a_redirect_is_not_followed_so_that_the_key_stays_here(twin, client):
    with runpod_twin.running() as other:
        twin.faults = [Fault(307, headers={"Location": f"{other.url}/{ENDPOINT}/health"})]
        with pytest.raises(RunPodError, match="redirects"):
            client.health()
        assert other.asked == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(401, json.dumps({"error": f"invalid key {KEY}"})),
        Fault(400, f"bad header Authorization: Bearer {KEY}"),
        Fault(500, f"<html>{KEY}</html>"),
        Fault(200, f'"{KEY}"'),
        Fault(429, KEY),
        Fault(307, KEY, {"Location": f"http://x/{KEY}"}),
    ],
    ids=lambda each: each.status,
)
def test_the_key_is_in_no_error(twin, fault):
    with Client(ENDPOINT, Secret(KEY, "K", "a test"), twin.url, Patience(attempts=1)) as client:
        twin.faults = [fault]
        with pytest.raises(RunPodError) as found:
            client.health()
    chain, seen = found.value, []
    while chain is not None:
        seen += [str(chain), repr(chain), repr(vars(chain))]
        chain = chain.__cause__ or chain.__context__
    assert KEY not in "".join(seen)


def test_a_key_that_repeats_in_the_status_of_a_job_is_hidden(twin, client):
    job_id = client.run({}, POLICY).id
    twin.finish(twin.jobs[job_id], "FAILED", output={"env": KEY}, error=f"cannot log in with {KEY}")
    found = client.status(job_id)
    assert KEY not in f"{found} {found.output} {found.as_dict()}"
    assert found.error.startswith("cannot log in")


def test_a_wrong_key_and_a_wrong_endpoint_are_named(twin):
    with Client(ENDPOINT, Secret("wrong-key", "K", "a test"), twin.url, FAST) as client:
        with pytest.raises(RunPodError, match="RUNPOD_API_KEY") as found:
            client.health()
        assert (found.value.kind, len(twin.asked)) == ("rights", 1)
    with (
        Client("other", Secret(KEY, "K", "a test"), twin.url, FAST) as client,
        pytest.raises(RunPodError, match="ids of the endpoint"),
    ):
        client.health()


@pytest.mark.parametrize("job_id", ["", "../health", "a/b", "a?b", "a b", "é", "a..b", "x" * 300, "a\nb"])
def test_an_id_that_would_change_the_address_is_refused(twin, client, job_id):
    with pytest.raises(RemoteError, match="cannot be the id"):
        client.status(job_id)
    with pytest.raises(RemoteError, match="cannot be the id"):
        Client(job_id, Secret(KEY, "K", "a test"), twin.url)
    assert twin.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://api.runpod.ai/v2",
        "ftp://127.0.0.1/v2",
        "https://user:pw@host/v2",
        "https://host/v2?x=1",
        "https://h ost",
        "https://[::1",
    ],
)
def test_an_address_with_which_others_could_read_the_key_is_refused(url):
    with pytest.raises(RemoteError) as found:
        Client(ENDPOINT, Secret(KEY, "K", "a test"), url)
    assert "pw" not in str(found.value)


def test_the_address_of_the_service_can_be_set_by_the_name_that_runpods_library_reads(twin, monkeypatch):
    monkeypatch.setenv(BASE_URL_NAME, twin.url)
    with Client(ENDPOINT, Secret(KEY, "K", "a test"), patience=FAST) as client:
        assert client.health().jobs["inQueue"] == 0


# ---- the rates ----
def test_no_more_requests_are_sent_in_ten_seconds_than_runpod_takes():
    clock, sent = [0.0], []

    def sleep(seconds):
        clock[0] += seconds

    pace = limits.Pace({"cancel": 100}, now=lambda: clock[0], sleep=sleep)
    for _ in range(350):
        pace.wait("cancel")
        sent.append(clock[0])
        clock[0] += 0.01
    assert all(later - earlier >= limits.WINDOW_S - 1e-6 for earlier, later in zip(sent, sent[100:], strict=False))
    assert sent[-1] < 40


# ---- the worker half of the twin ----
def test_a_worker_takes_a_job_over_http_and_its_result_comes_back(twin, client):
    def call(path, data=None):
        body = None if data is None else json.dumps(data).encode()
        with urllib.request.urlopen(f"{twin.worker_url}/{path}", body, timeout=5) as answer:
            return answer.status, json.loads(answer.read() or b"null")

    job_id = client.run({"a": 1}, POLICY).id
    status, job = call("job-take/w1?gpu=t")
    assert (status, job["id"], job["input"]) == (200, job_id, {"a": 1})
    call(f"job-done/w1/{job_id}?gpu=t", {"status": "IN_PROGRESS", "output": {"step": 1}})
    assert client.status(job_id).output == {"step": 1}
    client.cancel(job_id)
    assert call("job-stop/w1?x=y") == (200, {"jobsToStop": [job_id]})
    call(f"job-done/w1/{job_id}?gpu=t", {"output": {"status": "success", "job_id": "x"}})
    assert client.status(job_id).state == "CANCELLED"
    other = client.run({}, POLICY).id
    assert call("job-take/w1")[1]["id"] == other
    call(f"job-done/w1/{other}", {"error": "boom", "output": {"status": "failed", "job_id": "r2"}})
    found = client.status(other)
    assert (found.state, found.result.is_success, found.result.error) == ("FAILED", False, "boom")

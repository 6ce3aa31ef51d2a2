"""The carrier to RunPod, against a twin of RunPod, a bucket behind a bad network, and a worker that the test drives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import runpod_runs
from tests.support.runpod_runs import FOLDER, Worker
from tests.support.runpod_twin import Fault
from trainer_core.errors import JobError, RemoteError
from trainer_core.events import Transfer
from trainer_core.remote.runpod.carrier import kind
from trainer_core.remote.runs import transfers
from trainer_core.remote.runs.carrier import NotNow, get, is_passing
from trainer_core.remote.runs.notes import Notes
from trainer_core.remote.runs.request import Request


@pytest.fixture
def cloud(monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with runpod_runs.cloud(monkeypatch) as found:
        yield found


@pytest.fixture
def run(tmp_path):
    return runpod_runs.prepared(tmp_path)


def test_how_far_the_images_are_is_told(cloud, run, monkeypatch):
    monkeypatch.setattr(transfers, "EVERY_S", 0.0)
    told = []
    cloud.carrier(*run).begin(lambda _: told.append(transfers.read(run[0])))
    found = next(one for one in told if one.what)
    assert found.what == "sending images of 10_mika to the bucket"
    assert 0 < found.done_bytes == found.total_bytes
    assert transfers.read(run[0]) == Transfer(), "it is over"


def said(carrier):
    lines = []
    carrier.begin(lines.append)
    return lines


def test_a_run_is_sent_trained_and_fetched(cloud, run, tmp_path):
    carrier = cloud.carrier(*run)
    before = carrier.state()
    assert (before.phase, before.is_known) == ("waiting", False)
    lines = said(carrier)
    assert any("6 files of" in line and "6 sent" in line for line in lines), lines
    after = carrier.state()
    assert (after.phase, after.is_known) == ("waiting", True)
    worker = Worker(cloud).take()
    request = Request.from_dict(worker.request)
    folder = request.plan["dataset"]["path"]
    start = f"s3://{cloud.place.name}/"
    assert folder.startswith(f"{start}{FOLDER}easel/datasets/10_mika-")
    assert folder.endswith("/10_mika/")
    assert len(cloud.place.keys(folder.removeprefix(start))) == 6
    assert "folder" not in request.plan["output"]
    assert json.loads(cloud.place.get(f"{worker.prefix}request.json")) == worker.request
    assert worker.begin()
    worker.step(1)
    assert carrier.state().phase == "running"
    assert carrier.read("engine.log", 0) == b"step 1\n"
    worker.step(2)
    assert carrier.read("engine.log", 7) == b"step 2\n"
    assert carrier.read("result.json", 0) == b""
    worker.end()
    assert carrier.state().phase == "ended"
    assert json.loads(carrier.read("result.json", 0))["state"] == "COMPLETED"
    (name,) = carrier.files()
    assert carrier.files()[name].size == 400
    carrier.fetch(name, tmp_path / "lora")
    assert (tmp_path / "lora").read_bytes() == b"lora" * 100


def test_the_policy_allows_for_the_queue_and_the_training(cloud, run):
    said(cloud.carrier(*run))
    (job,) = cloud.twin.jobs.values()
    run_s, ttl_s = job.policy["executionTimeout"] / 1000, job.policy["ttl"] / 1000
    assert 1800 < run_s < 3600, "20 steps with no estimate, three images and the start"
    assert ttl_s == run_s + 24 * 3600


def test_beginning_again_sends_nothing_again(cloud, run):
    said(cloud.carrier(*run))
    said(cloud.carrier(*run))
    assert len(cloud.twin.jobs) == 1


def test_another_computer_with_the_same_run_sends_no_second_job(cloud, run, tmp_path):
    """The folder there has only remote.json: its notes are empty."""
    said(cloud.carrier(*run))
    worker = Worker(cloud).take()
    worker.begin()
    (tmp_path / "elsewhere").mkdir()
    other = cloud.carrier(tmp_path / "elsewhere", run[1])
    said(other)
    assert other.state().phase == "running"
    assert len(cloud.twin.jobs) == 1


def test_images_that_are_there_are_not_sent_again(cloud, run, tmp_path):
    said(cloud.carrier(*run))
    sent = len(cloud.place.network.of("PUT", "/10_mika/"))
    again = runpod_runs.prepared(tmp_path)
    lines = said(cloud.carrier(*again))
    assert len(cloud.place.network.of("PUT", "/10_mika/")) == sent == 6
    assert any("0 sent" in line and "6 were in the bucket" in line for line in lines), lines


def test_after_a_caption_was_changed_only_that_is_sent_and_the_first_run_keeps_its_own(cloud, run, tmp_path):
    said(cloud.carrier(*run))
    (tmp_path / "10_mika" / "image_001.txt").write_text("a dog")
    again = runpod_runs.prepared(tmp_path)
    cloud.place.network.seen.clear()
    said(cloud.carrier(*again))
    sent = [each for each in cloud.place.network.of("PUT", "/10_mika/") if "x-amz-copy-source" not in each.headers]
    assert [each.path.rpartition("/")[2] for each in sent] == ["image_001.txt"]
    first, second = (Worker(cloud).take().request["plan"]["dataset"]["path"] for _ in range(2))
    start = f"s3://{cloud.place.name}/"
    captions = [cloud.place.get(f"{path.removeprefix(start)}image_001.txt") for path in (first, second)]
    assert captions == [b"a cat on a chair, number 1", b"a dog"]


def test_an_image_that_is_gone_stops_the_beginning(cloud, run, tmp_path):
    (tmp_path / "10_mika" / "image_001.png").unlink()
    with pytest.raises(JobError, match="not there any more"):
        said(cloud.carrier(*run))
    assert not cloud.twin.jobs


# ---- the answer to /run ----
def test_after_a_lost_answer_the_job_that_trains_is_found_and_none_is_sent_again(cloud, run):
    cloud.twin.faults = [Fault(how="lost")]
    carrier = cloud.carrier(*run)
    with pytest.raises(NotNow, match="may have started the job all the same"):
        said(carrier)
    assert len(cloud.twin.jobs) == 1
    # The next follower: before a worker has begun nothing can be known, so nothing is sent.
    carrier = cloud.carrier(*run)
    with pytest.raises(NotNow):
        said(carrier)
    assert carrier.state().phase == "waiting"
    worker = Worker(cloud).take()
    worker.begin()
    said(carrier)
    assert carrier.state().phase == "running"
    worker.end()
    assert carrier.state().phase == "ended"
    assert len(cloud.twin.jobs) == 1


def test_a_request_that_certainly_did_not_arrive_is_sent_again_at_once(cloud, run):
    cloud.twin.faults = [Fault(how="cut")]
    with pytest.raises(NotNow):
        said(cloud.carrier(*run))
    assert not cloud.twin.jobs
    lines = said(cloud.carrier(*run))
    assert len(cloud.twin.jobs) == 1
    assert any("sent again" in line for line in lines)


def test_of_two_jobs_of_one_request_only_one_trains_and_its_end_counts(cloud, run):
    cloud.twin.faults = [Fault(how="lost")]
    with pytest.raises(NotNow):
        said(cloud.carrier(*run))
    carrier = cloud.carrier(*run)
    carrier._sender = type(carrier._sender)(carrier._client, carrier._run, carrier._notes, unanswered_s=0)
    said(carrier)
    first, second = Worker(cloud, "w1").take(), Worker(cloud, "w2").take()
    assert first.begin()
    assert not second.begin(), "the worker refuses the second job"
    assert cloud.twin.jobs[second.job.id].status == "FAILED"
    assert carrier.state().phase == "running", "the end of the refused job is not the end of the run"
    first.end()
    assert carrier.state().phase == "ended"
    assert len(cloud.twin.jobs) == 2


def test_a_refused_request_is_an_error_and_the_next_attempt_sends_it(cloud, run):
    cloud.twin.faults = [Fault(401, '{"error":"no"}')]
    with pytest.raises(RemoteError) as refused:
        said(cloud.carrier(*run))
    assert not is_passing(refused.value)
    said(cloud.carrier(*run))
    assert len(cloud.twin.jobs) == 1


# ---- stopping ----
def test_stopping_cancels_the_job_and_tells_the_worker(cloud, run):
    carrier = cloud.carrier(*run)
    said(carrier)
    worker = Worker(cloud).take()
    worker.begin()
    carrier.stop("now")
    carrier.stop("now")
    assert cloud.twin.jobs[worker.job.id].status == "CANCELLED"
    assert json.loads(cloud.place.get(f"{worker.prefix}stop"))["after"] == "now"
    assert carrier.state().phase == "running", "the worker may still upload what it has"
    worker.put("result.json", json.dumps({"state": "STOPPED"}))
    assert carrier.state().phase == "ended"


def test_stopping_after_the_next_save_does_not_cancel(cloud, run):
    carrier = cloud.carrier(*run)
    said(carrier)
    worker = Worker(cloud).take()
    worker.begin()
    carrier.stop("save")
    assert cloud.twin.jobs[worker.job.id].status == "IN_PROGRESS"
    carrier.stop("now")
    carrier.stop("save")
    assert json.loads(cloud.place.get(f"{worker.prefix}stop"))["after"] == "now"


def test_stopping_reaches_the_worker_though_runpod_is_down(cloud, run):
    carrier = cloud.carrier(*run)
    said(carrier)
    worker = Worker(cloud).take()
    cloud.twin.faults = [Fault(503)] * 10
    carrier.stop("now")
    assert cloud.place.get(f"{worker.prefix}stop")


def test_a_run_that_is_stopped_before_it_begins_is_never_sent(cloud, run):
    carrier = cloud.carrier(*run)
    carrier.stop("now")
    assert carrier.state().phase == "lost"
    with pytest.raises(JobError, match="stopped before it began"):
        said(carrier)
    assert not cloud.twin.jobs


# ---- what it cannot do, and targets ----
def test_what_a_worker_cannot_do_is_said(cloud, run):
    carrier = cloud.carrier(*run)
    with pytest.raises(JobError, match="while it trains"):
        carrier.put("requests.json", b"{}")
    with pytest.raises(JobError, match="cannot be resumed"):
        carrier.resume("a-12345678", print)
    with pytest.raises(JobError, match="no file of a run"):
        carrier.read("../secret", 0)


def test_the_kind_is_found_by_its_name(cloud):
    found = get("runpod")
    assert found.shown(found.target(cloud.text)) == "RunPod endpoint eptest"
    assert found.machine(found.target(cloud.text)) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "No RunPod endpoint"),
        ("a/b", "cannot be the id of an endpoint"),
        ("ep@https://evil.example", "no host of S3"),
    ],
)
def test_what_is_no_target_is_refused(cloud, text, words):
    with pytest.raises(JobError, match=words):
        get("runpod").target(text)


def test_a_target_has_no_secret_and_finds_the_env_file_of_the_folder_it_was_named_in(cloud, monkeypatch, tmp_path):
    for name in cloud.environment.keys() - {"RUNPOD_ENDPOINT_BASE_URL"}:
        monkeypatch.delenv(name)
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in cloud.environment.items()))
    target = get("runpod").target("eptest")
    assert target["storage"] == f"s3://{cloud.place.name}/"
    assert not any(value in json.dumps(target) for name, value in cloud.environment.items() if "KEY" in name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    carrier = kind.carrier(target, "a-12345678", Path(), Notes(tmp_path))
    assert carrier._client.health().jobs
    shown = f"{carrier!r} {vars(carrier)!r} {vars(carrier._client)!r} {vars(carrier._client._connection)!r}"
    assert not any(value in shown for name, value in cloud.environment.items() if "KEY" in name)

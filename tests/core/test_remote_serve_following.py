"""From the start over HTTP to the version that says "completed": the workflow of the document, with a twin of RunPod that calls or does not."""

import json

import pytest

from tests.support import serving
from tests.support.played import until
from tests.support.runpod_twin import KEY, Fault
from tests.support.serving import call, served
from trainer_core.remote.serve import following, keys

home, said, server, twin = serving.home, serving.said, serving.server, serving.twin
BODY = {"styleId": "16", "versionName": "v1.0", "imageUrls": ["s3://bucket/styles/16/image_001.jpg"]}


@pytest.fixture(autouse=True)
def asks_when_it_is_called(monkeypatch):
    monkeypatch.setattr(following, "ASK_S", 30.0)


def started(server, twin, webhook="/api/training-webhook"):
    """The id of the request, and the job of the twin."""
    body = {**BODY, "webhook": f"{server.address}{webhook}"} if webhook else BODY
    found = call(server.address, "POST", "/api/training/start", body, token=server.token.reveal())
    assert found.status == 200, found
    return found.data["job_id"], twin.jobs[found.data["runpod_job_id"]]


def row(server):
    path = "/api/styles/16/training-versions"
    return call(server.address, "GET", path, token=server.token.reveal()).data["versions"][0]


def success(request_id, url="s3://bucket/loras/style_16_v1.0.safetensors"):
    return {"status": "success", "job_id": request_id, "loraName": "style_16_v1.0.safetensors", "loraUrl": url}


def test_on_completion_status_updates_to_completed_with_the_address(twin, server, said):
    request_id, job = started(server, twin)
    assert row(server)["status"] == "pending"
    twin.finish(job, "COMPLETED", success(request_id))
    until(lambda: row(server)["status"] == "completed")
    assert row(server)["loraUrl"] == "s3://bucket/loras/style_16_v1.0.safetensors"
    assert twin.hooks == [(job.id, 200)]
    until(lambda: said)
    assert said[-1] == f"{request_id}: style_16_v1.0.safetensors was trained."
    assert followed() == []


def test_on_failure_status_updates_to_failed_with_the_error(twin, server):
    request_id, job = started(server, twin)
    twin.finish(job, "FAILED", {"status": "failed", "job_id": request_id}, error="No files were downloaded from S3")
    until(lambda: row(server)["status"] == "failed")
    assert row(server)["error"] == "The training failed: No files were downloaded from S3"


def test_a_forged_call_is_a_question_and_the_answer_counts(twin, server):
    request_id, job = started(server, twin)
    twin.take("w1")
    forged = success(request_id, "s3://evil/lora.safetensors")
    assert call(server.address, "POST", "/api/training-webhook", forged).status == 200
    until(lambda: row(server)["status"] == "training")
    assert "loraUrl" not in row(server)
    twin.finish(job, "COMPLETED", success(request_id))
    until(lambda: row(server)["status"] == "completed")
    assert "evil" not in str(row(server))


def test_the_result_of_another_request_is_not_taken(twin, server):
    _, job = started(server, twin)
    twin.finish(job, "COMPLETED", success("another_1"))
    until(lambda: "error" in row(server))
    assert "loraUrl" not in row(server)


def test_without_a_webhook_the_version_follows_as_well(twin, home, said, monkeypatch):
    monkeypatch.setattr(following, "ASK_S", 0.2)
    with served(home, said) as server:
        request_id, job = started(server, twin, webhook="")
        twin.take("w1")
        until(lambda: row(server)["status"] == "training")
        twin.finish(job, "COMPLETED", success(request_id))
        until(lambda: row(server)["status"] == "completed")


def test_the_next_server_goes_on_with_what_the_last_one_started(twin, home, said):
    with served(home, said) as server:
        request_id, job = started(server, twin, webhook="")
    twin.finish(job, "COMPLETED", success(request_id))
    with served(home, said) as server:
        until(lambda: row(server)["status"] == "completed")


def test_a_failure_of_runpod_is_said_once_and_asked_again(twin, home, said, monkeypatch):
    monkeypatch.setattr(following, "AGAIN_S", 0.2)
    with served(home, said) as server:
        request_id, job = started(server, twin, webhook="")
        twin.finish(job, "COMPLETED", success(request_id))
        twin.faults.extend([Fault(500)] * 3)
        call(server.address, "POST", "/api/training-webhook", {"job_id": request_id})
        until(lambda: row(server)["status"] == "completed")
    assert len([text for text in said if "Easel asks again" in text]) == 1
    assert KEY not in str(said)


def an_hour_ago():
    """Makes the training one that was sent an hour ago: a new one may not be known yet."""
    data = json.loads((keys.folder() / following.FILE).read_text())
    data["trainings"][0]["sent_s"] -= 3600
    (keys.folder() / following.FILE).write_text(json.dumps(data))


def followed():
    """The trainings that are followed."""
    return json.loads((keys.folder() / following.FILE).read_text())["trainings"]


def test_one_answer_that_there_is_no_such_job_does_not_end_the_following(twin, home, said, monkeypatch):
    monkeypatch.setattr(following, "AGAIN_S", 0.2)
    with served(home, said) as server:
        request_id, job = started(server, twin, webhook="")
    an_hour_ago()
    twin.faults.extend([Fault(404)] * 2)
    twin.finish(job, "COMPLETED", success(request_id))
    with served(home, said) as server:
        until(lambda: row(server)["status"] == "completed")
        assert "error" not in row(server)
    assert twin.faults == []
    assert said[0] == f"{request_id}: RunPod says that it does not know the job. Easel asks again."
    assert len(said) == 2


def test_one_answer_without_the_version_does_not_end_the_following(twin, home, said, monkeypatch):
    monkeypatch.setattr(following, "AGAIN_S", 0.2)
    with served(home, said) as server:
        request_id, job = started(server, twin, webhook="")
        file = next(home.glob("resources/style_images/16_*/training_versions.json"))
        away = file.rename(home / "away.json")
        twin.finish(job, "COMPLETED", success(request_id))
        call(server.address, "POST", "/api/training-webhook", {"job_id": request_id})
        until(lambda: said)
        assert f"There is no version {request_id}. Easel asks again." in said[0]
        away.rename(file)
        until(lambda: row(server)["status"] == "completed")


def test_a_job_that_runpod_forgot_is_no_failure_but_says_where_to_look(twin, home, said, monkeypatch):
    monkeypatch.setattr(following, "GRACE_S", 0.0)
    with served(home, said) as server:
        _, job = started(server, twin, webhook="")
    an_hour_ago()
    del twin.jobs[job.id]
    with served(home, said) as server:
        until(lambda: "error" in row(server))
        assert row(server)["status"] == "pending"
        assert "The bucket may have it" in row(server)["error"]


def test_a_version_that_the_user_removed_is_not_made_again(twin, server, home, monkeypatch):
    monkeypatch.setattr(following, "GRACE_S", 0.0)
    request_id, job = started(server, twin)
    file = next(home.glob("resources/style_images/16_*/training_versions.json"))
    file.write_text('{"versions": []}')
    twin.finish(job, "COMPLETED", success(request_id))
    until(lambda: followed() == [])
    assert json.loads(file.read_text()) == {"versions": []}


def test_a_damaged_list_of_trainings_is_set_aside(home, said):
    keys.folder().mkdir(parents=True, mode=0o700)
    (keys.folder() / following.FILE).write_text('{"trainings": [{"request_id": 1}]}')
    served(home, said).close()
    assert (keys.folder() / f"{following.FILE}.damaged").exists()

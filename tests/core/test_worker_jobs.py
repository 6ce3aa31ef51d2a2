"""The worker with RunPod's own library between a twin of RunPod and a bucket: real processes, real files, real HTTP on loopback."""

import os
import signal
import time

import pytest

from tests.support import runpod_worker
from tests.support.runpod_worker import documents, own, until
from trainer_core.remote.runs import grown

LONG = {"steps": 100_000, "steps_per_second": 50.0}
RUN = "easel/runs/mika-0123abcd/"


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """One warm worker for all tests that leave it warm."""
    with runpod_worker.running(tmp_path_factory.mktemp("worker") / "home") as found:
        found.put_images()
        yield found


def left(worker):
    """What a request has left on the worker: folders and processes."""
    return [path.name for path in (worker.home / "requests").iterdir()], worker.processes()


def events_of(worker, prefix):
    def get(name):
        return worker.place.get(prefix + name) if prefix + name in worker.place.keys(prefix) else None

    return grown.read_grown(get, "events.jsonl", 0).decode()


def test_an_own_request_is_trained_and_everything_is_in_the_bucket(worker):
    job = worker.ended(worker.send(own(worker.place)))
    url = f"s3://{worker.place.name}/{RUN}finished/mika.safetensors"
    size = len(worker.place.get(f"{RUN}finished/mika.safetensors"))
    assert job.status == "COMPLETED"
    assert job.output == {
        "status": "success",
        "job_id": "mika-0123abcd",
        "loraName": "mika.safetensors",
        "loraUrl": url,
        "model_info": {"size_bytes": size, "model_type": "lora"},
    }
    names = {key.removeprefix(RUN) for key in worker.place.keys(RUN)}
    assert names == {
        *("request.json", "running.json", "spec.json", "versions.json", "events.jsonl", "engine.log", "result.json"),
        *("output/mika.safetensors", "finished/mika.safetensors"),
    }
    record = worker.record(RUN)
    assert (record["state"], record["document"]) == ("COMPLETED", job.output)
    assert '"step": 20' in events_of(worker, RUN)
    written = b"".join(worker.place.get(f"{RUN}{name}") for name in names)
    assert b"p1anted" not in written
    assert "p1anted" not in worker.said
    assert left(worker) == ([], [])


def test_a_request_that_was_trained_is_not_trained_again(worker):
    data = own(worker.place, "twice-0123abcd")
    first = worker.ended(worker.send(data)).output
    before = worker.place.plain.head_object(Bucket=worker.place.name, Key="easel/runs/twice-0123abcd/events.jsonl")
    assert worker.ended(worker.send(data)).output == first
    after = worker.place.plain.head_object(Bucket=worker.place.name, Key="easel/runs/twice-0123abcd/events.jsonl")
    assert after["LastModified"] == before["LastModified"]


def test_a_run_that_was_stopped_before_it_began_does_not_begin(worker):
    worker.place.put("easel/runs/early-0123abcd/stop", b'{"version": 1, "after": "save"}')
    job = worker.ended(worker.send(own(worker.place, "early-0123abcd")))
    assert job.error == "The training was stopped, as it was asked for."
    assert "easel/runs/early-0123abcd/engine.log" not in worker.place.keys("easel/runs/early-0123abcd/")


def test_a_request_that_another_job_trains_is_left_to_it(worker):
    worker.place.put("easel/runs/taken-0123abcd/running.json", b'{"version": 1, "job": "another-e1"}')
    worker.place.put("easel/runs/taken-0123abcd/output/mika-step00000010.safetensors", b"of the other job")
    job = worker.ended(worker.send(own(worker.place, "taken-0123abcd")))
    assert job.error == "Another job trains this request."
    kept = ["output/mika-step00000010.safetensors", "running.json"]
    assert worker.place.keys("easel/runs/taken-0123abcd/") == [f"easel/runs/taken-0123abcd/{name}" for name in kept]


def test_a_request_of_the_documents_is_trained_and_answered_as_they_say(worker):
    uris = worker.put_images(folder="styles/16")
    job = worker.ended(worker.send(documents(worker, uris)))
    prefix = "easel/runs/16_1234567890/"
    assert job.status == "COMPLETED", (job.error, worker.said[-2000:])
    size = len(worker.place.get(f"{prefix}finished/style_16_v1.0.safetensors"))
    assert job.output == {
        "status": "success",
        "job_id": "16_1234567890",
        "loraName": "style_16_v1.0.safetensors",
        "loraUrl": f"s3://{worker.place.name}/{prefix}finished/style_16_v1.0.safetensors",
        "model_info": {"size_bytes": size, "model_type": "lora"},
    }
    notes = worker.record(prefix)["notes"]
    assert any("Node 95 (OptimizerConfig): min_snr_gamma has no effect" in note for note in notes)
    assert left(worker) == ([], [])


def test_two_requests_on_one_warm_worker_do_not_mix(worker):
    first, second = worker.put_images(2, "first"), worker.put_images(4, "second", caption=None)
    jobs = [
        worker.send(documents(worker, first, "first_1")),
        worker.send(documents(worker, second, "second_2", n109={"num_repeats": 3})),
    ]
    plans = {}
    for job, name in zip(jobs, ("first_1", "second_2"), strict=True):
        assert worker.ended(job).status == "COMPLETED", job.error
        spec = worker.place.get(f"easel/runs/{name}/spec.json").decode()
        versions = worker.place.get(f"easel/runs/{name}/versions.json").decode()
        plans[name] = spec + versions
    assert "/requests/first_1/images" in plans["first_1"]
    assert "second_2" not in plans["first_1"]
    assert "/requests/second_2/images" in plans["second_2"]
    assert "first_1" not in plans["second_2"]
    assert '"images": 2' in plans["first_1"] or '"images": 4' in plans["second_2"]
    assert left(worker) == ([], [])


def test_a_training_that_fails_is_answered_with_its_cause(worker):
    job = worker.ended(worker.send(own(worker.place, "oom-0123abcd", ending="oom")))
    assert job.status == "FAILED"
    assert job.output == {"status": "failed", "job_id": "oom-0123abcd"}
    assert "memory" in job.error
    record = worker.record("easel/runs/oom-0123abcd/")
    assert record["state"] == "FAILED"
    assert record["document"] == {**job.output, "error": job.error}
    assert record["diagnosis"]["id"]
    assert left(worker) == ([], [])


def test_a_cancel_ends_every_process_and_uploads_what_there_is(worker):
    name = "cancelled-0123abcd"
    data = own(worker.place, name, **LONG)
    data["easel"]["request"]["plan"]["output"]["save_every_steps"] = 50
    job = worker.send(data)
    worker.trained(job, 60)
    assert worker.processes()
    inherited = runpod_worker.environments_below(worker.home)
    assert b"EASEL_HOME=" in inherited
    assert b"p1anted" not in inherited
    worker.cancel(job)
    until(lambda: left(worker) == ([], []))
    prefix = f"easel/runs/{name}/"
    assert worker.record(prefix)["state"] == "CANCELLED"
    assert worker.record(prefix)["document"]["error"] == "The job was cancelled."
    assert any("mika-step" in key for key in worker.place.keys(prefix))


def test_a_training_whose_time_is_over_ends_every_process(worker):
    worker.twin.speed = 1.0
    job = worker.send(own(worker.place, "late-0123abcd", **LONG), run_s=15)
    worker.trained(job)
    assert worker.ended(job).status == "TIMED_OUT"
    until(lambda: left(worker) == ([], []))
    assert worker.record("easel/runs/late-0123abcd/")["state"] == "CANCELLED"


def test_a_stop_in_the_bucket_ends_the_training(worker):
    name = "stopped-0123abcd"
    job = worker.send(own(worker.place, name, **LONG))
    worker.trained(job)
    worker.place.put(f"easel/runs/{name}/stop", b'{"after": "now"}')
    assert worker.ended(job).error == "The training was stopped, as it was asked for."
    assert worker.record(f"easel/runs/{name}/")["state"] == "CANCELLED"
    assert left(worker) == ([], [])


def test_a_stop_after_the_next_checkpoint_keeps_that_checkpoint(worker):
    name = "saved-0123abcd"
    data = own(worker.place, name, **LONG)
    data["easel"]["request"]["plan"]["output"]["save_every_steps"] = 400
    job = worker.send(data)
    worker.trained(job)
    worker.place.put(f"easel/runs/{name}/stop", b'{"after": "save"}')
    worker.ended(job)
    assert any("-step" in key for key in worker.place.keys(f"easel/runs/{name}/output/"))


def test_progress_has_four_figures_and_comes_at_most_every_two_seconds(worker):
    seen = []
    job = worker.send(own(worker.place, "told-0123abcd", steps=300, steps_per_second=50.0))
    while job.status not in ("COMPLETED", "FAILED"):
        if isinstance(job.output, dict) and job.status == "IN_PROGRESS" and (not seen or seen[-1][1] != job.output):
            seen.append((time.monotonic(), job.output))
        time.sleep(0.02)
    assert job.status == "COMPLETED"
    assert all(set(output) == {"phase", "step", "total", "loss"} for _, output in seen)
    training = [(at, output) for at, output in seen if output["step"]]
    assert len(training) >= 2
    # A busy machine may deliver one late, and the next in time.
    assert len(training) <= (training[-1][0] - training[0][0]) / 2 + 2


@pytest.mark.parametrize(
    ("node", "inputs", "said"),
    [
        ("n107", {"network_dim": 5000}, "Node 107 (InitFluxLoRATraining): network_dim"),
        ("n109", {"height": 512}, "Node 109 (TrainDatasetAdd): height is 512 and width is 1024"),
        (
            "n2",
            {"vae": "nothing.safetensors"},
            "Node 2 (FluxTrainModelSelect): vae: There is no model nothing.safetensors",
        ),
        ("n2", {"vae": "clip_l.safetensors"}, "is not a vae, but a text encoder"),
        ("n107", {"guidance_scale": 2.0}, "Node 107 (InitFluxLoRATraining): guidance_scale: "),
        ("n2", {"transformer": "../secret.safetensors"}, "must be the name of a file"),
    ],
)
def test_a_wrong_input_is_refused_with_its_node_and_name(worker, node, inputs, said):
    name = f"wrong_{node}_{next(iter(inputs))}"
    job = worker.ended(worker.send(documents(worker, worker.put_images(1), name, **{node: inputs})))
    assert job.status == "FAILED"
    assert job.output == {"status": "failed", "job_id": name}
    assert said in job.error


def test_a_foreign_bucket_is_refused_before_anything_is_fetched(worker):
    data = documents(worker, ["s3://somebody-elses/a.png"], "foreign_1")
    job = worker.ended(worker.send(data))
    assert job.error.startswith("This worker may not use the bucket somebody-elses. It may use bucket-")
    assert worker.place.keys("easel/runs/foreign_1/") == []


def test_images_that_do_not_exist_are_said_in_the_words_of_the_document(worker):
    data = documents(worker, [f"s3://{worker.place.name}/missing/a.png"], "missing_1")
    job = worker.ended(worker.send(data))
    assert job.error.startswith("No files were downloaded from S3: There is no object s3://")
    assert worker.record("easel/runs/missing_1/")["document"]["error"] == job.error


def test_a_storage_that_fails_for_a_while_costs_nothing(worker):
    name = "weather-0123abcd"
    job = worker.send(own(worker.place, name, steps=600, steps_per_second=50.0))
    worker.trained(job)
    fault = worker.place.network.fault(times=10**6, status=503, code="SlowDown")
    time.sleep(7)
    assert job.status == "IN_PROGRESS"
    assert fault.times < 10**6
    fault.times = 0
    assert worker.ended(job).status == "COMPLETED"
    assert f"easel/runs/{name}/finished/mika.safetensors" in worker.place.keys("easel/")


def test_a_worker_that_is_killed_leaves_no_process_and_the_next_one_starts_clean(tmp_path):
    with runpod_worker.running(tmp_path / "home") as worker:
        worker.put_images()
        job = worker.send(own(worker.place, **LONG))
        worker.trained(job)
        until(lambda: f"{RUN}events.jsonl" in worker.place.keys(RUN))
        assert worker.processes()
        worker.kill()
        until(lambda: left(worker) == ([], []), 30)
        # The bucket has what was mirrored, and no result: it has not ended well, and RunPod hands the job out again.
        assert f"{RUN}result.json" not in worker.place.keys(RUN)
        assert f"{RUN}events.jsonl" in worker.place.keys(RUN)


def test_a_worker_that_is_shut_down_uploads_what_there_is(tmp_path):
    with runpod_worker.running(tmp_path / "home") as worker:
        worker.put_images()
        job = worker.send(own(worker.place, **LONG))
        worker.trained(job)
        os.kill(worker.process.pid, signal.SIGTERM)
        worker.ended(job)
        assert worker.record(RUN)["document"]["error"] == "The worker was shut down."
        assert left(worker) == ([], [])


def test_a_storage_that_refuses_the_key_is_said_at_once(worker):
    fault = worker.place.network.fault(times=10**6, status=403, code="InvalidAccessKeyId")
    try:
        job = worker.ended(worker.send(own(worker.place, "refused-0123abcd")))
    finally:
        fault.times = 0
    assert job.status == "FAILED"
    assert "access key" in job.error
    assert "p1anted" not in worker.said + str(job.error)


def test_a_full_disk_is_said_before_anything_is_fetched(tmp_path):
    with runpod_worker.running(tmp_path / "home", EASEL_WORKER_LEAST_FREE_GIB="1000000") as worker:
        job = worker.ended(worker.send(own(worker.place)))
        assert job.error.startswith("The disk of this worker has only ")

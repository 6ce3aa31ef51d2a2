"""The queue under real conditions: killed owners, several owners, pauses, two GPUs, failures, a restart of the machine."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time

import psutil
import pytest
from click.testing import CliRunner

from tests.support import queued
from tests.support.played import diagnosis, record, result, until
from tests.support.queued import OWNER, all_ended, kill_owner, owners, starts, waiting
from trainer_core import places
from trainer_core.cli import easel
from trainer_core.errors import JobError
from trainer_core.jobs.hosts.local import own_environment
from trainer_core.jobs.queueing import entries, environment, repairing, requests
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training import trash

bench = queued.bench


def test_runs_start_in_turn_and_the_owner_ends_with_the_queue(bench):
    first, second = bench.queued(steps=40, steps_per_second=20.0), bench.queued()
    assert second.state is JobState.QUEUED
    all_ended(first, second)
    assert (first.state, second.state) == (JobState.COMPLETED, JobState.COMPLETED)
    assert result(second)["started"] >= result(first)["ended"]
    until(lambda: not owners())
    assert waiting() == []


def test_after_the_owner_was_killed_the_end_of_a_run_brings_the_queue_back(bench):
    first, second = bench.queued(steps=60, steps_per_second=20.0), bench.queued()
    until(lambda: first.state is JobState.RUNNING)
    kill_owner()
    until(lambda: not owners())
    # Nobody calls anything here: the supervisor of the first run tells that it has ended.
    all_ended(first, second)
    assert (second.state, starts(second)) == (JobState.COMPLETED, 1)


def test_several_owners_at_once_start_each_run_once(bench):
    requests.pause()
    runs = [bench.queued() for _ in range(2)]
    with entries.changing() as change:
        change.queue = dataclasses.replace(change.queue, paused=frozenset())
    command = [sys.executable, "-P", "-m", OWNER]
    given = {**own_environment(), "EASEL_HOME": str(places.home())}
    started = [subprocess.Popen(command, env=given, stdout=subprocess.DEVNULL) for _ in range(3)]
    all_ended(*runs)
    for process in started:
        process.wait(60)
    assert [starts(run) for run in runs] == [1, 1]


def test_owners_that_are_killed_at_any_moment_lose_no_run_and_start_none_twice(bench):
    runs = [bench.queued() for _ in range(3)]
    deadline = time.monotonic() + 12
    for moment in range(1, 1000):
        if time.monotonic() > deadline or all(run.state in FINAL_STATES for run in runs):
            break
        time.sleep(moment * 0.07 % 1.3)
        kill_owner()
        requests.wake()
    kill_owner()
    # A killed process keeps its locks until the system has ended it.
    until(lambda: not owners())
    requests.wake()
    all_ended(*runs)
    assert [run.state for run in runs] == [JobState.COMPLETED] * 3
    assert [starts(run) for run in runs] == [1, 1, 1]


@pytest.mark.parametrize("is_starting", [False, True])
def test_a_run_that_was_taken_when_the_owner_was_killed_is_started_exactly_once(bench, is_starting, tmp_path):
    """In the second case its supervisor was already called, and had not yet recorded itself."""
    requests.pause()
    run, late = bench.queued(), None
    with entries.changing() as change:
        taken = tuple(dataclasses.replace(entry, taken=time.time()) for entry in change.queue.entries)
        change.queue = dataclasses.replace(change.queue, entries=taken, paused=frozenset())
    if is_starting:
        command = [sys.executable, "-P", "-m", "trainer_core.jobs.supervisor", str(run.folder.path)]
        # A slow machine: its Python takes seconds to start.
        (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(4)\n")
        given = own_environment()
        given["PYTHONPATH"] += f":{tmp_path}"
        late = subprocess.Popen(command, cwd=run.folder.path, env=given, start_new_session=True)
    assert requests.wake()
    if late:
        late.wait(60)
    all_ended(run)
    until(lambda: not run.host.alive(run.folder.path, "supervisor"))
    until(lambda: not owners())
    assert (run.state, starts(run), waiting()) == (JobState.COMPLETED, 1, [])


def test_a_pause_does_not_touch_the_running_run(bench):
    first, second = bench.queued(steps=50, steps_per_second=20.0), bench.queued()
    until(lambda: first.state is JobState.RUNNING)
    requests.pause()
    all_ended(first)
    until(lambda: not owners())
    assert (first.state, second.state) == (JobState.COMPLETED, JobState.QUEUED)
    requests.go_on()
    all_ended(second)
    assert second.state is JobState.COMPLETED


def test_waiting_runs_can_be_moved_and_cancelled(bench):
    requests.pause()
    runs = [bench.queued() for _ in range(3)]
    names = [run.name for run in runs]
    requests.move(names[2], 1)
    assert waiting() == [names[2], names[0], names[1]]
    requests.move(names[2], 99)
    assert waiting() == names
    assert requests.cancel(names[1]) is JobState.CANCELLED
    assert waiting() == [names[0], names[2]]
    assert runs[2].stop() is JobState.CANCELLED, "as by `easel runs stop`"
    requests.go_on()
    all_ended(*runs)
    until(lambda: not owners())
    assert [run.state.name for run in runs] == ["COMPLETED", "CANCELLED", "CANCELLED"]
    assert [starts(run) for run in runs] == [1, 0, 0]
    with pytest.raises(JobError, match="not in the queue"):
        requests.move(names[0], 1)


def test_two_gpus_have_queues_of_their_own_and_each_run_sees_one(bench):
    runs = [bench.queued(gpu, steps=200, steps_per_second=20.0) for gpu in ("0", "1", "1")]
    until(lambda: [run.state for run in runs] == [JobState.RUNNING, JobState.RUNNING, JobState.QUEUED])
    until(lambda: all((run.folder.path / "engine.json").exists() for run in runs[:2]))
    for run in runs[:2]:
        given = psutil.Process(record(run, "engine.json")["pid"]).environ()
        assert given["CUDA_VISIBLE_DEVICES"] == run.folder.versions["gpu"]
    assert not any("CUDA" in word for step in runs[0].spec.steps for word in step.argv)


def test_a_run_that_was_started_directly_occupies_its_gpu(bench):
    direct = bench.prepared(steps=40_000)
    direct.launch()
    behind, other = bench.queued("0"), bench.queued("1")
    all_ended(other)
    assert (direct.state, behind.state) == (JobState.RUNNING, JobState.QUEUED)
    direct.stop()
    all_ended(behind)
    assert result(behind)["started"] >= result(direct)["ended"]


def test_runs_that_cannot_start_fail_with_the_reason_and_the_next_starts(bench):
    requests.pause()
    gone, changed, unwritable, last = (bench.queued() for _ in range(4))
    spec = json.loads((changed.folder.path / "spec.json").read_text())
    (changed.folder.path / "spec.json").write_text(json.dumps({**spec, "total_steps": 6}))
    (unwritable.folder.path / "runner.log").mkdir()
    with entries.changing() as change:
        spec = json.loads((gone.folder.path / "spec.json").read_text())
        spec["steps"][0]["argv"][0] = "/nowhere/bin/python"
        (gone.folder.path / "spec.json").write_text(json.dumps(spec))
        first = dataclasses.replace(change.queue.entries[0], spec=entries.digest(gone.folder.path))
        change.queue = change.queue.with_entries((first, *change.queue.entries[1:]))
    requests.go_on()
    all_ended(gone, changed, unwritable, last)
    assert [run.state.name for run in (gone, changed, unwritable, last)] == ["FAILED", "FAILED", "FAILED", "COMPLETED"]
    assert "/nowhere/bin/python" in diagnosis(gone).cause
    assert "changed after it was queued" in diagnosis(changed).cause
    assert "directory" in diagnosis(unwritable).cause
    assert starts(changed) == 0


def test_a_queue_that_is_to_stop_on_failure_pauses_with_the_reason(bench):
    requests.stop_on_failure(True)
    failing, other = bench.queued(ending="crash"), bench.queued()
    all_ended(failing)
    until(lambda: entries.read().is_paused("0"))
    assert failing.name in entries.read().reasons["0"]
    assert other.state is JobState.QUEUED
    requests.go_on()
    all_ended(other)
    assert other.state is JobState.COMPLETED
    assert entries.read().reasons == {}


def test_after_a_restart_of_the_machine_the_queue_continues_when_easel_is_used(bench):
    requests.pause()
    before, behind = bench.prepared(), bench.queued()
    before.folder.write("runner.json", {"pid": 1, "started": "another boot:1"})
    with entries.changing() as change:
        change.queue = dataclasses.replace(change.queue, paused=frozenset())
    assert before.state is JobState.LOST
    given = {**own_environment(), "EASEL_HOME": str(places.home())}
    subprocess.run([sys.executable, "-m", "trainer_core.cli", "runs", "list"], env=given, check=True, timeout=60)
    all_ended(behind)
    assert behind.state is JobState.COMPLETED


def test_a_queued_run_gets_the_variables_of_its_terminal_and_no_secrets_of_any(bench, monkeypatch):
    requests.pause()
    monkeypatch.setenv("HF_HOME", "/where/it/was/queued")
    monkeypatch.setenv("HF_TOKEN", "secret-one")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret-two@proxy:1")
    run = bench.queued(steps=40_000)
    assert environment.left_out() == ("HF_TOKEN", "HTTPS_PROXY")
    monkeypatch.setenv("HF_HOME", "/where/it/was/woken")
    monkeypatch.setenv("WANDB_API_KEY", "secret-three")
    monkeypatch.setenv("UNRELATED", "secret-four")
    assert "secret" not in (places.queue() / "queue.json").read_text()
    requests.go_on()
    until((run.folder.path / "engine.json").exists)
    for name in ("runner.json", "engine.json"):
        given = psutil.Process(record(run, name)["pid"]).environ()
        assert given["HF_HOME"] == "/where/it/was/queued"
        assert "PATH" in given
        assert not [key for key, value in given.items() if "secret" in value]
    assert "secret" not in str([owner.environ() for owner in queued.owners()])


def test_only_the_queue_file_decides_what_is_started(bench, tmp_path):
    outside = bench.prepared()
    outside.folder.path.rename(tmp_path / "elsewhere")
    with pytest.raises(JobError, match="is not in"):
        requests.add([tmp_path / "elsewhere"])
    assert not requests.wake()
    (places.queue() / "queue.json").write_text(
        json.dumps(
            {
                **entries.Queue().as_dict(),
                "entries": [{"run": "../../elsewhere", "gpu": "0", "spec": "", "added": 0, "taken": 0}],
            }
        )
    )
    with pytest.raises(JobError, match="by a path"):
        entries.read()
    assert not requests.wake()
    (places.queue() / "queue.json").unlink()


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"version": 2}', "[" * 5000, '{"version": 1, "entries": 5}'])
def test_a_damaged_queue_is_named_and_never_overwritten(bench, content):
    run = bench.prepared()
    places.queue().mkdir(parents=True, exist_ok=True)
    (places.queue() / "queue.json").write_text(content)
    assert run.state is JobState.PREPARED
    with pytest.raises(JobError, match=r"is damaged|another version") as refused:
        requests.add([run.folder.path])
    assert not any(word in str(refused.value) for word in ("indices", "NoneType", "object", "Expecting", "recursion"))
    assert (places.queue() / "queue.json").read_text() == content
    (places.queue() / "queue.json").unlink()


def test_a_damaged_queue_is_made_again_from_the_runs_and_started_only_when_that_is_asked_for(bench):
    requests.pause()
    ended, first, second = bench.prepared(), bench.queued(), bench.queued()
    ended.folder.write("result.json", {"state": "CANCELLED"})
    content = entries.file().read_bytes()[:20]
    entries.file().write_bytes(content)
    trash.delete(ended.folder.path)
    with pytest.raises(JobError, match="is damaged"):
        trash.delete(first.folder.path)
    done = CliRunner().invoke(easel, ["runs", "queue", "repair", "--json"])
    assert done.exit_code == 0, done.output
    assert [row["run"] for row in json.loads(done.stdout)["runs"]] == [first.name, second.name]
    assert waiting() == [first.name, second.name]
    assert entries.file().with_name("queue.json.damaged").read_bytes() == content
    assert not requests.wake()
    with pytest.raises(JobError, match="not damaged"):
        repairing.repair()
    requests.go_on()
    all_ended(first, second)
    assert [first.state, second.state] == [JobState.COMPLETED] * 2


def test_a_run_that_failed_on_a_full_disk_pauses_the_queue(bench):
    requests.pause()
    failed, other = bench.prepared(), bench.queued()
    failed.folder.write(
        "result.json", {"state": "FAILED", "diagnosis": {"id": "disk-full", "cause": "The disk is full."}}
    )
    with entries.changing() as change:
        change.queue = dataclasses.replace(change.queue, paused=frozenset(), last={"0": failed.name})
    assert requests.wake()
    until(lambda: entries.read().is_paused("0"))
    assert "disk is full" in entries.read().reasons["0"]
    assert other.state is JobState.QUEUED


@pytest.mark.parametrize("runs_on", ["full", "read only"])
def test_a_full_disk_pauses_the_queue_and_fails_no_run(bench, tmp_path, runs_on):
    disk = places.runs()
    disk.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("a file system can only be mounted as root")
    try:
        requests.pause()
        runs = [bench.queued(), bench.queued()]
        if runs_on == "full":
            (disk / "filling").write_bytes(b"x" * (shutil.disk_usage(disk).free - 30 * 1024))
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        requests.go_on()
        until(lambda: entries.read().is_paused("0"))
        until(lambda: not owners())
        assert [run.state for run in runs] == [JobState.QUEUED] * 2
        assert waiting() == [run.name for run in runs]
        shown = CliRunner().invoke(easel, ["runs", "queue", "list"]).output
        assert runs[0].name in entries.read().reasons["0"]
        assert ("disk is full" if runs_on == "full" else "only be read") in " ".join(shown.split())
        assert "easel runs queue continue" in shown
        if runs_on == "full":
            (disk / "filling").unlink()
        else:
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        requests.go_on()
        all_ended(*runs)
        assert [run.state for run in runs] == [JobState.COMPLETED] * 2
    finally:
        requests.pause()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_run_is_added_once_and_only_before_it_was_started(bench):
    requests.pause()
    run = bench.queued()
    requests.add([run.folder.path])
    assert waiting() == [run.name]
    requests.go_on()
    all_ended(run)
    with pytest.raises(JobError, match="already started"):
        requests.add([run.folder.path])

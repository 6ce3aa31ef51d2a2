"""`easel remote runpod` and the example, as processes, against a twin of RunPod on loopback."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tests.support import runpod_twin
from tests.support.checkout import ROOT
from tests.support.runpod_twin import ENDPOINT, KEY, Fault
from trainer_core import cli
from trainer_core.remote import credentials
from trainer_core.remote.runpod import limits
from trainer_core.remote.runpod.connection import BASE_URL_NAME


@pytest.fixture
def twin(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in credentials.KNOWN:
        monkeypatch.delenv(name, raising=False)
    with runpod_twin.running() as found:
        monkeypatch.setenv(BASE_URL_NAME, found.url)
        (tmp_path / ".env").write_text(f"RUNPOD_API_KEY={KEY}\nMODEL_TRAINING_RUNPOD_ENDPOINT_ID={ENDPOINT}\n")
        yield found


def easel(capsys, *arguments):
    """The exit code, and what was written to both streams."""
    try:
        cli.main(["remote", "runpod", *arguments])
        code = 0
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    assert KEY not in said.out + said.err
    return code or 0, said.out, said.err


def add(twin):
    return twin.add({"input": {}, "policy": limits.policy(60).as_dict()})


def test_health(twin, capsys):
    add(twin)
    code, out, _ = easel(capsys, "health", "--json")
    found = json.loads(out)
    assert (code, found["endpoint"], found["jobs"]["inQueue"]) == (0, ENDPOINT, 1)
    assert "inQueue" in easel(capsys, "health")[1]


def test_status_of_a_job_with_its_lora(twin, capsys):
    job = add(twin)
    assert f"{job.id}: IN_QUEUE" in easel(capsys, "status", job.id)[1]
    twin.take("w1")
    twin.finish(
        job, "COMPLETED", {"status": "success", "job_id": "r", "loraName": "a.safetensors", "loraUrl": "s3://bkt/a"}
    )
    assert "LoRA: a.safetensors at s3://bkt/a" in easel(capsys, "status", job.id)[1]
    found = json.loads(easel(capsys, "status", job.id, "--json")[1])
    assert (found["state"], found["result"]["address"]) == ("COMPLETED", "s3://bkt/a")


def test_status_of_a_job_that_failed_is_one_line(twin, capsys):
    job = add(twin)
    twin.finish(
        job,
        "FAILED",
        error=json.dumps({"error_type": "<class 'ValueError'>", "error_message": "no \x1b[31mimages\nmore"}),
    )
    assert "Error: ValueError: no images\n" in easel(capsys, "status", job.id)[1]


def test_a_job_that_runpod_no_longer_knows_is_gone_and_not_an_error(twin, capsys):
    code, out, _ = easel(capsys, "status", "unknown-job")
    assert code == 0
    assert "unknown-job: GONE" in out
    assert "does not mean that the job has failed" in " ".join(out.split())


def test_cancel(twin, capsys):
    job = add(twin)
    assert "CANCELLED" in easel(capsys, "cancel", job.id)[1]
    assert twin.jobs[job.id].status == "CANCELLED"


def test_a_failure_is_exit_code_1_and_a_wrong_id_2(twin, capsys):
    twin.faults = [Fault(400, "{}")]
    assert easel(capsys, "health")[0] == 1
    code, out, err = easel(capsys, "status", "a/b", "--json")
    assert (code, json.loads(out)["error"][:5], err) == (2, "'a/b'", "")
    assert easel(capsys, "status")[0] == 2


def test_what_is_missing_is_named(twin, capsys, tmp_path):
    (tmp_path / ".env").write_text(f"RUNPOD_API_KEY={KEY}\n")
    code, _, err = easel(capsys, "health")
    assert code == 1
    assert "MODEL_TRAINING_RUNPOD_ENDPOINT_ID" in err
    assert easel(capsys, "health", "--endpoint", ENDPOINT)[0] == 0
    (tmp_path / ".env").unlink()
    assert "RUNPOD_API_KEY" in easel(capsys, "health")[2]


def test_another_env_file_can_be_named(twin, capsys, tmp_path):
    (tmp_path / ".env").rename(tmp_path / "keys.env")
    assert easel(capsys, "health", "--env-file", "keys.env")[0] == 0


def test_a_key_that_is_asked_for_comes_first_and_is_not_shown(twin, tmp_path):
    (tmp_path / ".env").write_text(
        f"MODEL_TRAINING_RUNPOD_API_KEY=wrong-key\nMODEL_TRAINING_RUNPOD_ENDPOINT_ID={ENDPOINT}\n"
    )
    try:
        found = CliRunner().invoke(cli.easel, ["remote", "runpod", "health", "--ask-key", "--json"], input=f"{KEY}\n")
    finally:
        credentials.forget("MODEL_TRAINING_RUNPOD_API_KEY")
    assert (found.exit_code, json.loads(found.stdout)["endpoint"]) == (0, ENDPOINT)
    assert KEY not in found.output


def test_the_commands_are_in_the_help():
    said = CliRunner().invoke(cli.easel, ["remote", "runpod", "--help"]).output
    assert all(name in said for name in ("cancel", "health", "status"))


def example(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, str(ROOT / "examples" / "training_usage.py"), *arguments]
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_example_builds_without_a_key_and_sends_with_one(twin, tmp_path):
    """cd examples; python training_usage.py."""
    started = example("style", "my-style", "s3://bkt/a.jpg", "s3://bkt/b.jpg")
    assert "Training started: custom-styles_style_my-style_" in started
    assert len(twin.jobs) == 1
    (tmp_path / ".env").unlink()
    assert "custom-actors, 30 images: learning rate 0.00025, 3000 steps" in example()
    assert "Configuration error: RunPod API key is required" in example("style", "my-style", "s3://bkt/a.jpg")


def test_a_command_line_does_not_load_the_client_before_it_is_used():
    code = (
        "import trainer_core.cli, trainer_core.remote, sys; print([m for m in ('httpx2', 'boto3') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"

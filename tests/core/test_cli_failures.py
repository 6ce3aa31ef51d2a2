"""How the command line fails: one sentence, JSON with --json, and no stack trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from tests.support import easel_program, recorded_headers
from trainer_core import places

PLACE = {"cwd": places.CHECKOUT, "capture_output": True, "text": True, "timeout": 120}


@pytest.fixture
def train(tmp_path):
    """Calls `easel train` with the rehearsal engine."""
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (256, 256)).save(images / "0.png")
    (images / "0.txt").write_text("mika")
    model = recorded_headers.write("sd15", tmp_path)
    environment = {**os.environ, "EASEL_HOME": str(tmp_path / "home")}

    def call(*words):
        command = ["train", "--engine", "rehearsal", "--model", model, "--dataset", images, "--trigger", "mika"]
        return easel_program.easel(*command, *words, environment=environment)

    return call


def test_a_problem_is_printed_once_with_its_fix_and_as_json_on_request(train):
    words = ["--set", "output.name=-dash", "--set", "output.prefix=", "--detach"]
    plain = train(*words)
    assert plain.returncode == 3, plain.stderr
    assert (plain.stdout + plain.stderr).count("begin with a dash") == 1
    assert "accept the suggested fix if there is one" not in (plain.stdout + plain.stderr).lower()
    told = train(*words, "--json")
    assert told.returncode == 3
    found = json.loads(told.stdout)
    assert "begin with a dash" in found["error"]
    assert found["problems"][0]["path"] == "output.name"
    assert found["problems"][0]["fix"]["changes"] == {"output.name": "dash"}
    swept = train(*words, "--sweep", "network.rank=4,8", "--json")
    assert swept.returncode == 3
    assert len(json.loads(swept.stdout)["problems"]) == 2


def test_another_failure_is_json_too(tmp_path):
    environment = {**os.environ, "EASEL_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "trainer_core.cli", "runs", "show", "none", "--json"]
    done = subprocess.run(command, env=environment, check=False, **PLACE)
    assert done.returncode == 2
    found = json.loads(done.stdout)
    assert found["error"]
    assert found["problems"] == []


@pytest.mark.parametrize("start", [["-m", "trainer_core.cli"], ["-c", "from trainer_core.cli import main; main()"]])
def test_an_interruption_while_easel_loads_is_no_stack_trace(start, tmp_path):
    # The import of rich is where most of the time goes: it is interrupted there.
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("import time; print('loading', flush=True); time.sleep(60)")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{places.CHECKOUT}"}
    process = subprocess.Popen(
        [sys.executable, *start, "runs", "list"],
        # Tests that run in the background of a shell ignore the signal, and what they start would, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        env=environment,
        cwd=places.CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (130, False)

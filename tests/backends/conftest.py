"""Real runs of real engines, and nothing of them left behind in the user's own history."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainer_core.runs.run import Run


@pytest.fixture
def launch(tmp_path):
    """Starts `easel train` in a process of its own, kills that with -9, and attaches from this one."""
    launched = []

    def start(arguments):
        (tmp_path / "comfy").mkdir(exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-m", "trainer_core.cli", "train", *map(str, arguments)]
        starter = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        with starter:
            first = starter.stdout.readline()
            starter.send_signal(signal.SIGKILL)
            rest = "" if first.startswith("Run ") else starter.stdout.read()
        assert first.startswith("Run "), first + rest
        run = Run.attach(Path(first.rpartition(" in ")[2].strip()))
        launched.append(run)
        return run

    yield start
    for run in launched:
        run.stop(grace_s=2)
        run.directory.remove()

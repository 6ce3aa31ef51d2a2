"""Kills for lack of memory, as the kernel counts them."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.gauges.kills import Kills
from trainer_core.jobs.outcome import OUT_OF_MEMORY, Outcome
from trainer_core.jobs.spec import Spec, Step
from trainer_core.jobs.state import JobState

SUPERVISED = """
import json, sys
from pathlib import Path
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.gauges.kills import Kills
from trainer_core.jobs.supervisor import Supervision
supervision = Supervision(JobFolder(Path(sys.argv[1])))
supervision.gauges.kills = Kills(Path(sys.argv[2]))
ended = supervision.run()
print(json.dumps(ended.as_dict()))
"""


def test_only_a_kill_since_the_start_and_of_late_counts(tmp_path, monkeypatch):
    counts = tmp_path / "memory.events"
    counts.write_text("low 0\noom 3\noom_kill 3\noom_group_kill 0\n")
    watch = Kills(counts)
    assert not watch.lately()
    counts.write_text("low 0\noom 4\noom_kill 4\noom_group_kill 0\n")
    assert watch.lately()
    later = time.monotonic() + 3600
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not watch.lately()


def test_a_job_whose_process_the_kernel_killed_says_so_whatever_its_log_says(tmp_path):
    counts = tmp_path / "memory.events"
    counts.write_text("oom_kill 0\n")
    fails = f"open({str(counts)!r}, 'w').write('oom_kill 1\\n'); raise KeyError('a reader is gone')"
    folder = JobFolder.create(tmp_path / "jobs", "commands")
    folder.write_spec(Spec("commands", (Step("read", (sys.executable, "-c", fails)),), folder.path))
    # In a process of its own: at the end of a program, a supervisor kills all that its own process has started.
    program = [sys.executable, "-c", SUPERVISED, str(folder.path), str(counts)]
    ended = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout
    expected = Outcome(JobState.FAILED, exit_code=1, diagnosis=OUT_OF_MEMORY)
    assert json.loads(ended) == json.loads(json.dumps(expected.as_dict()))


@pytest.mark.parametrize("content", [None, "", "oom_kill_disable 0\nunder_oom 0\n", "oom_kill many\n"])
def test_a_machine_that_counts_nothing_has_no_kills(tmp_path, content):
    counts = tmp_path / "memory.oom_control"
    if content is not None:
        counts.write_text(content)
    assert not Kills(counts).lately()

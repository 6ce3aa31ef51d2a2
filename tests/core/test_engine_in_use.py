"""An engine that a run needs is not changed: refused with the name of the run, for a run that runs and one that waits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import queued, tiny_engine
from tests.support.played import until
from trainer_core.errors import InstallError
from trainer_core.install import environments, in_use
from trainer_core.jobs.queueing import requests
from trainer_core.jobs.state import JobState
from trainer_core.training.run import Run

ROOT = Path(__file__).parents[2]
bench, tiny = queued.bench, tiny_engine.engine


def of_tiny(run: Run) -> Run:
    """The run, as if the tiny engine trained it."""
    run.folder.write("versions.json", {**run.folder.versions, "engine": "tiny"})
    return run


@pytest.mark.parametrize("waits", [False, True])
def test_an_engine_that_a_run_needs_is_neither_removed_nor_installed_again(tiny, bench, waits):
    environments.install("tiny", "cpu", report=lambda _: None)
    requests.pause()
    run = of_tiny(bench.prepared(steps=40_000))
    if waits:
        requests.add([run.folder.path])
    else:
        run.launch()
    environments.install("tiny", "cpu", report=lambda _: None)  # there is nothing to do
    with pytest.raises(InstallError, match=run.name):
        environments.remove("tiny")
    tiny.pins("2.0")
    with pytest.raises(InstallError, match=run.name):
        environments.install("tiny", "cpu", report=lambda _: None)
    assert environments.installed("tiny") is not None
    assert in_use.users("kohya") == []
    assert in_use.users() == [run.name]
    run.stop(1.0)
    assert environments.remove("tiny")


def test_the_installer_without_packages_asks_the_python_of_easels_environment(bench, monkeypatch):
    run = bench.prepared(steps=40_000)
    run.launch()
    until(lambda: run.state is JobState.RUNNING)
    code = "import sys; sys.path.insert(0, sys.argv[1]); from trainer_core.install import in_use, suite; from pathlib import Path; suite.PYTHON = Path(sys.argv[2]); print(in_use.users())"
    command = [sys.executable, "-S", "-I", "-c", code, str(ROOT), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([run.name])
    refused = subprocess.run(
        [sys.executable, str(ROOT / "installer.py"), "uninstall"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert refused.returncode == 1
    assert run.name in refused.stderr
    assert "easel runs stop" in refused.stderr

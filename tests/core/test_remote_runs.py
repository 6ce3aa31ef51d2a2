"""A run on another machine is a run: it is followed, stopped, fetched, accepted and delivered here."""

from __future__ import annotations

import pytest

from tests.support.remote_runs import Homes, lines, notices, of_kind, wait
from trainer_core.jobs.state import JobState
from trainer_core.training import results


@pytest.fixture
def homes(tmp_path, monkeypatch):
    made = Homes(tmp_path, monkeypatch)
    yield made
    made.faults.down(False)
    made.stop_all()


def test_a_remote_run_ends_with_a_delivered_network_and_all_that_a_run_has(homes):
    run = homes.ended()
    assert run.state is JobState.COMPLETED, (run.result, run.folder.log.read_text()[-3000:])
    assert [line["step"] for line in of_kind(run, "step")] == list(range(1, 21))
    assert (homes.out / "elena.safetensors").is_file()
    assert (homes.out / "elena-step00000010.safetensors").is_file()
    assert run.result["outputs"][0] == str(homes.out / "elena.safetensors")
    found = results.results_of(run)
    assert [made.step for made in found.made][-1] == 20
    assert found.rows
    assert len(homes.runs_there()) == 1
    assert b"running training" in run.folder.log.read_bytes()

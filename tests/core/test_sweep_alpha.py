"""In a sweep of the rank, alpha keeps its share of the rank unless the user keeps it; runs are named by subject and change."""

from __future__ import annotations

import pytest

from trainer_core.prepare import sweep
from trainer_core.prepare.workbench import Workbench


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    found = Workbench(engine="kohya")
    found.set({"model.family": "sdxl", "dataset.trigger": "mika", "network.rank": 16, "network.alpha": 8.0})
    return found


def alphas(members):
    return [member.bench.state.draft.values["network.alpha"] for member in members]


def test_alpha_keeps_its_share_of_the_rank(bench):
    members = sweep.checked(bench, sweep.grid({"network.rank": [4, 16, 64]}))
    assert alphas(members) == [2.0, 8.0, 32.0]
    assert sweep.alpha_sentence(members) == "Alpha follows the rank: 2, 8, 32."
    kept = sweep.checked(bench, sweep.grid({"network.rank": [4, 16]}), alpha_follows=False)
    assert alphas(kept) == [8.0, 8.0]
    assert sweep.alpha_sentence(kept) == ""


def test_an_alpha_that_the_sweep_sets_itself_stays(bench):
    members = sweep.checked(bench, [{"network.rank": 4, "network.alpha": 1.0}, {"network.rank": 8}])
    assert alphas(members) == [1.0, 4.0]
    assert sweep.alpha_sentence(sweep.checked(bench, sweep.grid({"schedule.seed": [1, 2]}))) == ""


def test_an_algorithm_without_alpha_has_none_that_follows(bench):
    bench.set({"network.algorithm": "oft"})
    assert sweep.alpha_share(bench, [{"network.rank": 4}]) is None


def test_runs_are_named_by_subject_and_change(bench):
    one = sweep.checked(bench, sweep.grid({"network.rank": [4, 16]}))
    assert [member.label for member in one] == ["mika rank 4", "mika rank 16"]
    two = sweep.checked(bench, sweep.grid({"optimizer.learning_rate": [1e-4], "native.kohya.loss_type": ["huber"]}))
    assert [member.label for member in two] == ["mika learning rate 1e-4, loss_type huber"]
    bench.set({"dataset.trigger": "x" * 300})
    (long,) = sweep.checked(bench, [{"network.rank": 4}])
    assert len(long.label) <= 100
    assert long.label.endswith("rank 4")

"""Real engines delete older checkpoints when a plan keeps only the newest, and only then."""

import pytest

from trainer_core.install import environments
from trainer_core.training.run import Run
from trainer_core.training.use import removed, saved

pytestmark = [pytest.mark.backend, pytest.mark.timeout(1200)]


@pytest.mark.parametrize(("engine", "left", "gone"), [("kohya", [3, 4], [1, 2]), ("simpletuner", [3, 4], [1, 2])])
def test_a_real_engine_keeps_the_last_two_checkpoints(engine, left, gone, train, monkeypatch):
    if environments.installed(engine) is None:
        pytest.skip(f"{engine} is not installed here (python installer.py backend install {engine})")
    launched = []
    attach = Run.attach
    monkeypatch.setattr(Run, "attach", lambda *words: launched.append(attach(*words)) or launched[-1])
    train(engine, "the last two", {"output.save_every_steps": 1, "output.keep_last": 2})
    (run,) = launched
    assert [one.step for one in saved(run)] == left
    assert {one.step for one in removed(run)} <= set(gone)
    assert run.result is not None
    assert all(row["ok"] for row in run.result["checkpoints"])

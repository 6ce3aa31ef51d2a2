"""Real engines delete older checkpoints when a plan keeps only the newest, and only then."""

import pytest

from trainer_core.install import environments
from trainer_core.training.run import Run
from trainer_core.training.use import removed, saved

LOKR = {
    "network.algorithm": "lokr",
    "network.factor": 4,
    "network.targets": "attention",
    "optimizer.name": "Prodigy",
    "optimizer.learning_rate": 1.0,
    "optimizer.d0": 1e-4,
}
"""Another network and optimizer at the same time, because a run of SimpleTuner takes most of a minute to begin."""

pytestmark = [pytest.mark.backend, pytest.mark.timeout(1200)]


@pytest.mark.parametrize(("engine", "more"), [("kohya", {}), ("simpletuner", LOKR)])
def test_a_real_engine_keeps_the_last_two_checkpoints(engine, more, train, monkeypatch):
    if environments.installed(engine) is None:
        pytest.skip(f"{engine} is not installed here (python installer.py backend install {engine})")
    launched = []
    attach = Run.attach
    monkeypatch.setattr(Run, "attach", lambda *words: launched.append(attach(*words)) or launched[-1])
    results = train(engine, "the last two", {"output.save_every_steps": 1, "output.keep_last": 2, **more})
    assert (results / "blob.safetensors").is_file()
    (run,) = launched
    assert [one.step for one in saved(run)] == [3, 4]
    assert {one.step for one in removed(run)} <= {1, 2}
    assert run.result is not None
    assert all(row["ok"] for row in run.result["checkpoints"])

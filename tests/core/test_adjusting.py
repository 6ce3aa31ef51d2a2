"""Policies on a real job: values that depend on the images, values of the user, auto-adjust and undo."""

from __future__ import annotations

import pytest
from PIL import Image

from tests.support import recorded_headers
from trainer_core.draft.layers import Source
from trainer_core.errors import PolicyError
from trainer_core.prepare import provenance
from trainer_core.prepare.workbench import NO_POLICY, Workbench


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A function that makes a job on FLUX with a number of images."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    model = recorded_headers.write("flux-dev", tmp_path)

    def make(images: int) -> Workbench:
        folder = tmp_path / f"images{images}"
        folder.mkdir()
        for number in range(images):
            Image.new("RGB", (64, 64), (number, 90, 120)).save(folder / f"{number}.png")
        job = Workbench(engine="rehearsal")
        job.set({"model.path": str(model), "dataset.path": str(folder)})
        return job

    return make


def values(job, *names):
    return tuple(job.state.draft.values[name] for name in names)


SEEN = ("schedule.steps", "optimizer.learning_rate", "dataset.repeats", "schedule.warmup_steps")


def test_a_profile_brings_its_policy_which_follows_the_dataset_and_the_steps(bench, tmp_path):
    job = bench(16)
    job.use_profile("flux-character")
    assert job.state.policy.id == "flux-guide"
    assert values(job, *SEEN) == (2000, 2.5e-4, 2, 400)
    assert "the policy" in str(provenance.of(job.state, "schedule.steps"))
    Image.new("RGB", (64, 64)).save(tmp_path / "few.png")
    few = tmp_path / "few"
    few.mkdir()
    (tmp_path / "few.png").rename(few / "0.png")
    job.set({"dataset.path": str(few)})
    assert values(job, *SEEN) == (1500, 2e-4, 2, 300)
    job.set({"schedule.steps": 1000})
    assert values(job, *SEEN) == (1000, 2e-4, 2, 200), "warm-up follows every change of steps"
    job.set({"schedule.warmup_steps": 7})
    assert values(job, "schedule.warmup_steps") == (7,)


def test_auto_adjust_clears_what_the_policy_owns_and_undo_brings_it_back(bench):
    job = bench(16)
    job.use_profile("flux-character")
    job.set({"schedule.steps": 123, "optimizer.learning_rate": 1e-3, "output.name": "mine"})
    before = job.state.draft
    message = job.auto_adjust()
    assert values(job, *SEEN) == (2000, 2.5e-4, 2, 400)
    assert "2000" in message
    assert "123" in message, "the cleared value is in the message"
    assert job.state.draft.values["output.name"] == "mine"
    job.undo_adjust()
    assert job.state.draft.values == before.values
    assert job.state.draft.source_of("schedule.steps") is Source.USER
    assert job.state.adjusted is None


def test_auto_adjust_twice_is_undone_at_once(bench):
    job = bench(16)
    job.use_profile("flux-character")
    job.set({"schedule.steps": 123})
    job.auto_adjust()
    job.auto_adjust()
    job.undo_adjust()
    assert values(job, "schedule.steps") == (123,)


def test_a_chosen_policy_stays_with_a_profile_that_has_none(bench):
    job = bench(3)
    job.use_policy(NO_POLICY)
    with pytest.raises(PolicyError, match="No policy"):
        job.auto_adjust()
    job.use_policy("style-002")
    job.use_profile("flux-concept")
    assert job.state.policy.id == "style-002"
    job.use_profile("flux-character")
    assert job.state.policy.id == "flux-guide"
    job.use_profile("flux-concept")
    assert job.state.policy is None
    job.use_profile("")
    assert job.state.policy is not None
    assert job.state.policy.id == "by-image-count", "Easel chooses again"


def test_too_many_images_are_a_warning(bench):
    job = bench(61)
    job.use_policy("flux-guide")
    assert values(job, "schedule.steps", "optimizer.learning_rate") == (3000, 1e-4)
    assert any("30" in problem.message and problem.severity == "warning" for problem in job.problems)


def test_an_invalid_environment_variable_is_reported_by_name(bench, monkeypatch):
    job = bench(5)
    monkeypatch.setenv("SB_HP_STYLE_LR", "fast")
    job.use_policy("style")
    assert any("SB_HP_STYLE_LR" in problem.message for problem in job.problems)
    assert values(job, "optimizer.learning_rate") == (4e-4,)


def test_a_profile_for_another_prediction_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    job = Workbench(engine="rehearsal")
    job.set({"model.path": str(recorded_headers.write("sdxl", tmp_path))})
    job.use_profile("noobai-vpred-character")
    assert any("prediction type v_prediction" in problem.message for problem in job.problems)
    job.use_profile("noobai-character")
    assert not any("The profile" in problem.message for problem in job.problems)

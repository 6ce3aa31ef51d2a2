"""A job is an immutable value: changes return new values without disk access, and rules use the facts that were read."""

import contextlib
import os
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import engine_plans, recorded_headers
from trainer_core import policies, profiles
from trainer_core.catalog import presets
from trainer_core.draft.facts import Facts
from trainer_core.draft.layers import Source
from trainer_core.engines import registry
from trainer_core.engines.status import EngineStatus
from trainer_core.estimate import GpuProcess
from trainer_core.hardware import Machine
from trainer_core.prepare import paths, problems
from trainer_core.prepare.forecast import forecast
from trainer_core.prepare.reader import FactsReader
from trainer_core.prepare.state import State, begun
from trainer_core.prepare.workbench import Workbench
from trainer_core.problems import blocking

ENGINES = registry.available(include_hidden=True)


@pytest.fixture
def job(tmp_path, monkeypatch, images) -> State:
    """A job with the facts about a model and images, as they were read."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    reader = FactsReader()
    state = reader.look(begun(Facts(engine_plans.machine(engine_plans.CARD)), ENGINES, {}))
    model = str(recorded_headers.write("sd15", tmp_path))
    values = {"model.path": model, "dataset.path": str(images.root), "dataset.trigger": "mika", "output.name": "one"}
    return reader.read(state.use_engine(registry.get("rehearsal")).set(values), {"model", "dataset"})


ASKING = (
    (os, ("stat", "lstat", "scandir", "listdir", "access", "readlink")),
    (os.path, ("exists", "lexists", "isdir", "isfile", "realpath")),
    (Path, ("exists", "is_file", "is_dir", "is_symlink", "resolve", "stat", "iterdir", "open", "read_text")),
    (shutil, ("disk_usage", "which")),
    (subprocess, ("run", "Popen")),
    (socket, ("socket",)),
)


@contextlib.contextmanager
def blind():
    """Forbids access to the disk, to programs and to the network."""

    def refuse(*asked, **_):
        raise AssertionError(f"the machine is asked: {asked}")

    with pytest.MonkeyPatch.context() as patched:
        for module, names in ASKING:
            for name in names:
                patched.setattr(module, name, refuse)
        yield


def every_transition(state: State) -> State:
    state = state.set({"schedule.steps": 7}).use_profile(profiles.shipped()["sd15-character"], None)
    state = state.use_preset(presets.shipped()["low-memory"]).use_policy(policies.shipped()["style"])
    state = state.auto_adjust().undo_adjust().use_engine(state.engines[0]).use_engine(None)
    return state.begin_from({"network.rank": 9, "model.family": "sdxl"}).reset("schedule.steps")


def test_changes_and_rules_do_not_access_the_disk(job):
    def everything():
        changed = every_transition(job)
        engines = [None, *ENGINES]
        said = [problems.problems(state.use_engine(engine)) for state in (job, changed) for engine in engines]
        return changed.draft.values, said, forecast(job.draft, job.backend)

    before = everything()  # Easel's own tables are read once, when they are first needed.
    with blind():
        after = everything()
    assert before == after
    assert after[0]["network.rank"] == 9


def test_the_programs_that_hold_memory_are_asked_for_only_if_a_job_may_not_fit(job):
    held = GpuProcess(1, "ComfyUI", 6 * engine_plans.GIB)
    full = engine_plans.machine(replace(engine_plans.CARD, free_vram_bytes=engine_plans.GIB // 4))
    small = job.with_facts(machine=full)
    forecast(small.draft, small.backend)  # Easel's own tables are read once.
    with blind():
        assert forecast(small.draft, small.backend).fit.held == ()
        assert forecast(small.draft, small.backend, (), lambda: [held]).fit.held == (("ComfyUI", 6.0),)
        assert forecast(job.draft, job.backend, (), lambda: pytest.fail("it fits")).fit.fits == "yes"


def test_a_change_does_not_modify_the_original_job(job):
    before = (job.draft.values, job.draft.source_of("schedule.steps"), job.profile, job.preset)
    every_transition(job)
    assert (job.draft.values, job.draft.source_of("schedule.steps"), job.profile, job.preset) == before
    assert before[1] is not Source.USER


def test_rules_use_the_facts_that_were_read(job):
    seen = job.facts.paths["model.path"]
    assert seen.exists
    gone = job.with_facts(paths={**job.facts.paths, "model.path": replace(seen, exists=False)})
    assert [each.path for each in blocking(problems.problems(gone))] == ["model.path"]
    Path(seen.path).unlink()
    assert not [each for each in problems.problems(job) if each.path == "model.path"]
    assert [each.path for each in blocking(problems.problems(FactsReader().look(job)))] == ["model.path"]


def test_every_path_in_a_setting_is_looked_up(job, tmp_path):
    target = tmp_path / "vae.safetensors"
    target.touch()
    (tmp_path / "link.safetensors").symlink_to(target)
    values = {
        **job.draft.values,
        "model.vae": str(tmp_path / "link.safetensors"),
        "output.folder": str(tmp_path / "new" / "deep"),
        "native": {"kohya": {"network_weights": str(target), "base_weights": [str(target), "/nowhere"]}},
    }
    seen = paths.look(values)
    assert (seen["model.vae"].exists, seen["model.vae"].leads_to) == (True, str(target))
    assert (seen["output.folder"].folder, seen["output.folder"].is_writable) == (str(tmp_path), True)
    assert seen["native.kohya.network_weights"].exists
    assert [seen[f"native.kohya.base_weights.{place}"].exists for place in (0, 1)] == [True, False]
    assert not seen["output.name"].exists
    assert seen["output.name"].path.endswith("deep/one.safetensors")


def test_the_engine_is_the_best_installed_one(job):
    statuses = {**job.facts.engines, "kohya": EngineStatus(), "simpletuner": EngineStatus(True, "4.10.1")}
    model = job.use_engine(None).set({"model.family": "sdxl"})
    assert model.with_facts(engines=statuses).backend.manifest.id == "simpletuner"
    assert model.with_facts(engines={}).backend.manifest.id == "kohya"
    said = problems.engine_problems(model.with_facts(engines={}))
    assert [each.severity for each in said] == ["error"]


def test_a_profile_and_a_preset_for_another_family_are_removed_with_a_message(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    bench = Workbench(engine="rehearsal")
    bench.use_profile("sdxl-character")
    bench.use_preset("flux-16")
    bench.set({"model.path": str(recorded_headers.write("sd15", tmp_path))})
    said = bench.put_away_misfits()
    assert len(said) == 2
    assert bench.state.profile is bench.state.preset is None
    assert bench.put_away_misfits() == ()


def test_a_recorded_machine_of_an_older_version_is_still_read():
    machine = engine_plans.machine(engine_plans.CARD)
    old = {**machine.to_dict(), "probes": {"engines": {"kohya": "1"}, "optimizers": {}, "parts": {}}}
    assert Machine.from_dict(old) == machine

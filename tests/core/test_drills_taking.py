"""A checkpoint can be taken from any run, and a running engine can be asked for one."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from tests.support.ends import SLOW, easel_says, rows
from tests.support.played import LIMIT_S, ended, start, told, until
from trainer_core.engines import contract, registry
from trainer_core.engines.seam import Place
from trainer_core.errors import RunError
from trainer_core.events import Notice
from trainer_core.jobs.state import JobState
from trainer_core.training import controls
from trainer_core.training.folder import RunFolder
from trainer_core.training.run import Run
from trainer_core.training.use import newest_good, saved, use


def test_a_checkpoint_of_a_running_run_is_listed_and_delivered_and_the_run_goes_on(tmp_path):
    run = start(tmp_path, steps=300, steps_per_second=20.0, output={"save_every_steps": 50})
    until(lambda: any(one.ok for one in run.summary.checked.values()))
    taken = json.loads(easel_says(run, "use", "--json").output)
    place = Path(taken["delivered"])
    assert place == tmp_path / "out" / f"cg_mika-step{taken['step']:08d}.safetensors"
    assert place.is_file()
    listed = json.loads(easel_says(run, "checkpoints", "--json").output)
    mine = next(one for one in listed if one["step"] == taken["step"])
    size = Path(mine["path"]).stat().st_size
    assert (mine["ok"], mine["delivered"], mine["size_bytes"]) == (True, str(place), size)
    assert run.is_live
    assert run.wait(LIMIT_S) is JobState.COMPLETED
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    steps = [f"cg_mika-step{step:08d}.safetensors" for step in range(50, 300, 50)]
    assert names == [*steps, "cg_mika.safetensors"]
    assert json.loads(easel_says(run, "use", "--step", str(taken["step"]), "--json").output)["delivered"] == str(place)


def test_a_checkpoint_is_delivered_to_a_chosen_folder_and_never_overwrites(ends, tmp_path):
    run = ends["killed"]
    (tmp_path / "cg_mika-step00000005.safetensors").write_bytes(b"mine")
    answer = easel_says(run, "use", "--to", str(tmp_path))
    assert answer.exit_code == 0, answer.output
    assert (tmp_path / "cg_mika-step00000005.safetensors").read_bytes() == b"mine"
    assert (tmp_path / "cg_mika-step00000005-2.safetensors").is_file()
    for folder, words in ((run.folder.output, "inside the run folder"), (Path("out"), "not an absolute path")):
        with pytest.raises(RunError, match=words):
            use(run, folder=folder)


@pytest.mark.parametrize(("step", "words"), [(10, "cannot be used"), (7, "no checkpoint of step 7")])
def test_a_bad_or_missing_checkpoint_is_refused_with_the_reason(ends, step, words):
    with pytest.raises(RunError, match=words):
        use(ends["cut"], step)
    assert not (ends["cut"].folder.path.parents[1] / "out" / f"cg_mika-step{step:08d}.safetensors").exists()


def test_a_checkpoint_of_an_older_run_is_tested_before_it_is_taken(ends, tmp_path):
    shutil.copytree(ends["cut"].folder.path, tmp_path / "older")
    older = Run.attach(tmp_path / "older")
    older.folder.write("result.json", {"state": "FAILED", "outputs": []})
    lines = older.folder.events.read_text().splitlines(keepends=True)
    older.folder.events.write_text("".join(line for line in lines if '"checked"' not in line))
    assert [one.ok for one in saved(older)] == [None, None]
    assert newest_good(older) is None
    assert rows(older)["Checkpoints"].startswith("2 of 2 were not tested")
    with pytest.raises(RunError, match="cannot be used"):
        use(older, 10, tmp_path / "taken")
    taken = use(older, folder=tmp_path / "taken")
    assert (taken.step, taken.ok) == (5, True), "the half one is left out"
    assert Path(str(taken.delivered)).parent == tmp_path / "taken"


def test_a_run_without_checkpoints_says_how_to_get_some(tmp_path):
    run = ended(tmp_path, ending="crash")
    with pytest.raises(RunError, match="save_every_steps"):
        use(run)
    assert "has no checkpoint" in easel_says(run, "checkpoints").output


@pytest.mark.parametrize(
    ("glob", "pattern", "words"),
    [("../../*", "x", "not inside"), ("*", "(", "damaged"), ("", "x", "damaged"), ("/*", "x", "not inside")],
)
def test_a_run_folder_of_somebody_else_cannot_make_easel_look_elsewhere(ends, tmp_path, glob, pattern, words):
    shutil.copytree(ends["cut"].folder.path, tmp_path / "hostile")
    spec = json.loads((tmp_path / "hostile" / "spec.json").read_text())
    spec["details"]["artefacts"]["checkpoints"] = {"glob": glob, "pattern": pattern}
    (tmp_path / "hostile" / "spec.json").write_text(json.dumps(spec))
    hostile = Run.attach(tmp_path / "hostile")
    with pytest.raises(RunError, match=words):
        saved(hostile)
    assert "Newest usable checkpoint" not in rows(hostile)


# Asking the engine


def test_a_running_engine_saves_and_samples_when_it_is_asked(tmp_path):
    run = start(tmp_path, steps=4000, steps_per_second=SLOW)
    until(lambda: run.summary.step >= 3)
    answer = easel_says(run, "save", "--json")
    assert json.loads(answer.output)["effect"].endswith("after the current step.")
    until(lambda: run.summary.checked)
    (one,) = run.summary.checked.values()
    assert one.ok
    assert easel_says(run, "sample").exit_code == 0
    until(lambda: run.summary.samples)
    easel_says(run, "save")
    until(lambda: len(run.summary.checkpoints) == 2)
    run.stop()
    assert len(run.summary.samples) == 1
    assert sum("Request" in event.text for event in told(run) if isinstance(event, Notice)) == 3
    answer = easel_says(run, "save")
    assert isinstance(answer.exception, RunError)
    assert "does not run" in str(answer.exception)


@pytest.mark.parametrize(
    ("engine", "sampling", "request_", "words"),
    [
        ("kohya", True, "save", "saves no checkpoint on request"),
        ("kohya", True, "sample", "generates no samples on request"),
        ("simpletuner", False, "sample", "only if the plan has samples"),
    ],
)
def test_what_cannot_be_asked_for_is_said_beforehand(tmp_path, engine, sampling, request_, words):
    run, backend = RunFolder.create(tmp_path, "stage"), registry.get(engine)
    spec = backend.render(contract.plan_of(backend, "sdxl", "lora", sampling=sampling), contract.place(str(run.path)))
    run.write_job({}, spec, {}, {})
    answer = controls.can(Run(run), request_)
    assert not answer.possible
    assert words in answer.sentence
    with pytest.raises(RunError, match=words):
        controls.ask(Run(run), request_)


@pytest.mark.parametrize(("version", "offered"), [("4.10.1", {"save", "sample"}), ("3.1.6", set())])
def test_only_a_simpletuner_that_reads_the_file_of_requests_gets_one(version, offered):
    engine = registry.get("simpletuner")
    where: Place = dataclasses.replace(contract.place(), version=version)
    spec = engine.render(contract.plan_of(engine, "sdxl", "lora", sampling=True), where)
    assert set(spec.controls) == offered
    variable = spec.steps[0].environment.get("SIMPLETUNER_ACCELERATE_SIGNAL_FILE", "")
    assert bool(variable) == bool(offered)
    if variable:
        assert json.loads(spec.files[spec.controls["save"].file]) == {"manual_checkpoint": 0, "manual_validation": 0}
        assert variable == str(where.run / spec.controls["save"].file)

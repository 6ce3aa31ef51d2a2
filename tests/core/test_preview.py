"""The files and commands of a start, before it: those of the start itself, also while something is missing, compared with a run."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import PurePosixPath

import pytest

from tests.support import engine_plans
from tests.support.page import prepare
from tests.support.written_runs import write_run
from trainer_core import places
from trainer_core.engines import registry
from trainer_core.errors import RunError
from trainer_core.hardware import Accelerator
from trainer_core.plan import fields
from trainer_core.prepare import preview
from trainer_core.prepare.workbench import Workbench, prepare_run
from trainer_core.training import amd
from trainer_core.training.folder import RunFolder
from trainer_core.training.run import Run


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return tmp_path / "easel"


@pytest.fixture
def bench(home):
    found = Workbench(engine="rehearsal")
    found.set(prepare(home))
    return found


def test_the_preview_is_what_the_start_writes_and_runs_and_writes_nothing_itself(bench):
    seen = preview.look_ahead(bench.state)
    assert not places.runs().exists()
    run = prepare_run(bench)
    assert seen.missing == ()
    assert seen.files
    real = {str(name): (run.folder.path / name).read_text() for name in seen.files}
    folder = str(run.folder.path)
    assert {name: text.replace(folder, seen.folder) for name, text in real.items()} == seen.files
    assert preview.files_of(run) == seen.files
    steps = run.folder.spec.steps
    assert [tuple(word.replace(folder, seen.folder) for word in step.argv) for step in steps] == [
        command.argv for command in seen.commands
    ]
    assert [dict(step.environment) for step in steps] == [dict(command.environment) for command in seen.commands]


@pytest.mark.parametrize("engine", ["kohya", "simpletuner"])
def test_with_problems_the_rest_is_rendered_and_what_is_missing_is_said(engine):
    found = Workbench(engine=engine)
    assert preview.look_ahead(found.state).files == {}
    assert preview.look_ahead(found.state).missing
    found.set({"model.family": "sdxl", "network.rank": 24, "network.alpha": "much"})
    seen = preview.look_ahead(found.state)
    assert "24" in "".join(seen.files.values())
    assert seen.commands
    assert any("Alpha" in sentence for sentence in seen.missing)


def test_a_choice_that_the_engine_does_not_have_leaves_nothing_to_render_and_is_named():
    found = Workbench(engine="kohya")
    found.set({"model.family": "sdxl", "optimizer.name": "SOAP"})
    seen = preview.look_ahead(found.state)
    assert seen.files == {}
    assert any("SOAP" in sentence for sentence in seen.missing)


def test_a_secret_is_in_no_file_and_no_command():
    found, token = Workbench(engine="kohya"), "hf_" + "a" * 30
    found.set({"model.family": "sdxl", "native": {"kohya": {"training_comment": f"token {token}"}}})
    text = json.dumps(preview.look_ahead(found.state).as_dict())
    assert "training_comment" in text
    assert token not in text


def test_a_run_of_this_subject_is_compared_first_and_differences_are_marked(bench, home):
    first = prepare_run(bench)
    bench.set({"dataset.trigger": "other"})
    second = prepare_run(bench)
    bench.set({"dataset.trigger": "OHWX", "schedule.steps": 80})
    assert [run.name for run in preview.comparable(bench.state)] == [first.name, second.name]
    seen, old = preview.look_ahead(bench.state), preview.files_of(first)
    lines = [line for one in preview.differences(seen.files, old).values() for line in one]
    assert any(line.sign == "-" and "40" in line.text for line in lines)
    assert any(line.sign == "+" and "80" in line.text for line in lines)
    assert any(preview.state_of(name, seen.files, old).endswith(("change", "changes")) for name in seen.files)
    found = Workbench(engine="kohya")
    found.set({"model.family": "sdxl"})
    assert preview.comparable(found.state) == []


def test_a_file_outside_the_folder_of_another_run_is_not_read(bench, tmp_path):
    run = prepare_run(bench)
    secret = tmp_path / "secret.txt"
    secret.write_text("not yours")
    name = run.folder.spec.details["files"][0]
    (run.folder.path / name).unlink()
    (run.folder.path / name).symlink_to(secret)
    path = run.folder.path / "spec.json"
    data = json.loads(path.read_text())
    data["details"]["files"] += ["../../../secret.txt", str(secret), 7, "\0"]
    path.write_text(json.dumps(data))
    assert "not yours" not in "".join(preview.files_of(run).values())


def test_lines_are_compared_with_signs():
    found = preview.compared("a\nb\nd\n", "a\nc\nd\n")
    assert [(line.sign, line.text) for line in found] == [(" ", "a"), ("-", "c"), ("+", "b"), (" ", "d")]
    assert preview.state_of("x", {"x": "a"}, {}) == "new"
    assert preview.state_of("x", {}, {"x": "a"}) == "no longer written"
    assert preview.state_of("x", {"x": "a"}, {"x": "a"}) == ""


def test_the_command_line_shows_the_files_of_an_unfinished_plan_and_compares_them(bench, home):
    run = prepare_run(bench)
    values = prepare(home) | {"schedule.steps": 77}
    assign = [word for path, value in values.items() if path != "native" for word in ("--set", f"{path}={value}")]
    command = [sys.executable, "-m", "trainer_core.cli", "plan", "--files", "--engine", "rehearsal", *assign]
    done = subprocess.run([*command, "--against", run.name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("+ ") and "77" in line for line in done.stdout.splitlines())
    assert "--- command" in done.stdout
    open_one = [
        sys.executable,
        "-m",
        "trainer_core.cli",
        "plan",
        "--files",
        "--engine",
        "kohya",
        "--model-family",
        "sdxl",
    ]
    told = subprocess.run([*open_one, "--json"], capture_output=True, text=True, check=False)
    assert told.returncode == 3
    data = json.loads(told.stdout)
    assert "engine/config.toml" in data["files"]
    assert data["missing"]


def test_the_last_finished_run_of_this_subject_and_method_comes_first(home):
    found = Workbench(engine="rehearsal")
    found.set({"model.family": "sd15", "dataset.trigger": "MIKA"})
    write_run("20260101-100000-old", dataset__trigger="mika")
    write_run("20260102-100000-done", dataset__trigger="mika")
    write_run("20260103-100000-failed", "FAILED", dataset__trigger="mika")
    write_run("20260104-100000-model", dataset__trigger="mika", model__method="full")
    write_run("20260105-100000-other", dataset__trigger="dog")
    names = [run.name[16:] for run in preview.comparable(found.state)]
    assert names == ["done", "old", "failed", "model", "other"]


@pytest.mark.parametrize(
    ("engine", "name", "field"),
    [
        ("kohya", "max_train_epochs", "“Steps, in epochs”"),
        ("kohya", "save_every_n_epochs", "“Save every, in epochs”"),
        ("kohya", "sample_every_n_epochs", "“Sample every, in epochs”"),
        ("simpletuner", "checkpoint_epoch_interval", "“Save every, in epochs”"),
        ("simpletuner", "validation_epoch_interval", "“Sample every, in epochs”"),
    ],
)
def test_an_option_in_epochs_names_the_field_for_epochs(engine, name, field):
    found = Workbench(engine=engine)
    found.set({"model.family": "sdxl", "native": {engine: {name: 3}}})
    (told,) = [one.message for one in found.problems if one.path == f"native.{engine}.{name}"]
    assert field in told
    titles = {f"“{one.title}, in epochs”" for one in fields.all_fields().values() if one.about.epochs}
    assert field in titles, "the field has this title"


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        ("gfx90a", set()),
        ("gfx1030", set()),
        ("gfx1100", {"TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL"}),
        ("gfx1201", {"TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL", "MIOPEN_FIND_MODE"}),
    ],
)
def test_what_an_amd_gpu_needs_is_in_the_environment_of_the_engine_and_shown_before(
    bench, architecture, names, monkeypatch
):
    card = Accelerator("rocm", "AMD", 16 << 30, 15 << 30, architecture)
    bench.use_machine(engine_plans.machine(card))
    (command,) = preview.look_ahead(bench.state).commands
    run = prepare_run(bench)
    (step,) = run.folder.spec.steps
    assert {name for name in amd.table() if name in command.environment} == names
    assert {name for name in amd.table() if name in step.environment} == names
    for name in names:
        monkeypatch.setenv(name, "of the user")
    assert amd.variables(engine_plans.machine(card)) == {}


def test_a_link_that_an_engine_needs_is_made_as_it_is_shown_and_goes_with_the_run(home, tmp_path):
    engine, model = registry.get("simpletuner"), tmp_path / "pony"
    model.mkdir()
    (model / "model_index.json").write_text("{}")
    plan = engine_plans.plan("auraflow", model__path=str(model))
    spec = engine.render(plan, engine_plans.place())
    made = RunFolder.create(places.runs(), "aura")
    made.write_job(plan.model_dump(exclude_none=True), spec, {}, {})
    (name,) = map(str, spec.folders)
    assert (made.path / name).resolve() == model
    assert preview.files_of(Run(made))[name] == spec.shown[name] == f"a link to {model}"
    with pytest.raises(RunError, match="is there already"):
        made.write_job(plan.model_dump(exclude_none=True), spec, {}, {})
    made.remove()
    assert (model / "model_index.json").is_file()


def test_a_link_leads_to_no_file_outside_the_run_folder_by_its_name(home, tmp_path):
    engine = registry.get("simpletuner")
    plan = engine_plans.plan("auraflow")
    spec = dataclasses.replace(
        engine.render(plan, engine_plans.place()), folders={PurePosixPath("../elsewhere"): tmp_path}
    )
    made = RunFolder.create(places.runs(), "aura")
    with pytest.raises(RunError, match="not inside the run folder"):
        made.write_job(plan.model_dump(exclude_none=True), spec, {}, {})
    assert not (places.runs() / "elsewhere").exists()

"""How sd-scripts and SimpleTuner are told to save states and to continue from one."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from backends.kohya import render as kohya_render
from backends.kohya.inside import loop
from trainer_core.engines import loop_resume, registry
from trainer_core.engines.contract import place, plan_of
from trainer_core.engines.inside import resume as program
from trainer_core.engines.seam import ResumePoint
from trainer_core.install import environments
from trainer_core.training import states

KOHYA, SIMPLETUNER = registry.get("kohya"), registry.get("simpletuner")
SCRIPTS = sorted(
    {
        KOHYA.manifest.families[family].cell(method).program
        for family, claim in KOHYA.manifest.families.items()
        for method in claim.methods
    }
)


def at(step):
    """What the passages of a training loop call that continues after a step."""
    return program.Resumed(step, 0)


def config(plan, where=None):
    tables = tomllib.loads(KOHYA.render(plan, where or place()).files[PurePosixPath("engine/config.toml")])
    return {name: value for table in tables.values() for name, value in table.items()}


def resumed(step=5, schedule_from=0):
    where = place()
    return dataclasses.replace(where, resume=ResumePoint(where.output / "the-state", step, schedule_from))


def test_a_run_that_starts_at_step_0_runs_the_plain_script():
    argv = KOHYA.render(plan_of(KOHYA, "sdxl", "lora", output__keep_states=1), place()).steps[0].argv
    assert [Path(word).name for word in argv[1:]] == ["sdxl_train_network.py", "--config_file", "config.toml"]


def test_a_run_that_continues_gets_the_state_and_the_step_of_the_run_before():
    plan = plan_of(KOHYA, "sdxl", "lora", output__keep_states=1)
    argv = KOHYA.render(plan, resumed(5, 3)).steps[0].argv
    names = [Path(word).name for word in argv[1:6]]
    assert names == ["resume.py", "--loop", "loop.py", "--script", "sdxl_train_network.py"]
    assert argv[6:10] == ("--step", "5", "--schedule-from", "3")
    found = config(plan, resumed())
    assert found["resume"].endswith("output/the-state")
    assert found["max_train_steps"] == plan.schedule.steps


@pytest.mark.parametrize(
    ("save_every", "keep", "expected"),
    [
        (0, 0, {}),
        (5, 0, {"save_every_n_steps": 5}),
        (5, 1, {"save_every_n_steps": 5, "save_state": True}),
        (
            0,
            2,
            {"save_every_n_steps": 10, "save_state": True, "save_last_n_steps": 1, "save_last_n_steps_state": 30},
        ),
    ],
)
def test_states_come_with_the_checkpoints_or_after_a_tenth_of_the_run(save_every, keep, expected):
    values = {"schedule__steps": 100, "output__save_every_steps": save_every, "output__keep_states": keep}
    found = config(plan_of(KOHYA, "sd15", "lora", **values))
    assert {name: value for name, value in found.items() if name.startswith("save_") and name in _SAVING} == expected


_SAVING = ("save_every_n_steps", "save_state", "save_last_n_steps", "save_last_n_steps_state")


@pytest.mark.parametrize("every", [1, 5, 7])
@pytest.mark.parametrize("last", [1, 2, 3])
def test_kohya_keeps_as_many_checkpoints_as_asked_and_the_states_do_not_follow(every, last):
    values = {"schedule__steps": 100, "output__save_every_steps": every, "output__keep_last": last}
    found = config(plan_of(KOHYA, "sd15", "lora", **values))
    # Source: library/train_util.py, get_remove_step_no.
    below = 50 * every - found["save_last_n_steps"] - 1
    assert below - below % every == (50 - last) * every
    assert "save_last_n_steps_state" not in found
    found = config(plan_of(KOHYA, "sd15", "lora", **values, output__keep_states=2))
    assert found["save_last_n_steps_state"] == 3 * every


@pytest.mark.parametrize(("every", "last", "limit"), [(5, 2, 2), (5, 0, 1000), (0, 2, 1000)])
def test_simpletuner_keeps_as_many_checkpoints_as_asked(every, last, limit):
    plan = plan_of(SIMPLETUNER, "sdxl", "lora", output__save_every_steps=every, output__keep_last=last)
    found = json.loads(SIMPLETUNER.render(plan, place()).files[PurePosixPath("engine/config.json")])
    assert found["checkpoints_total_limit"] == limit


def test_a_checkpoint_that_only_comes_with_a_state_is_no_result():
    values = {"schedule__steps": 100, "output__save_every_steps": 0, "output__keep_states": 1}
    pattern = KOHYA.render(plan_of(KOHYA, "sd15", "lora", **values), place()).artefacts.checkpoints.pattern
    assert not re.search(pattern, "cg_contract-step00000010.safetensors")


def test_simpletuner_continues_from_a_checkpoint_in_its_output_folder():
    plan = plan_of(SIMPLETUNER, "sdxl", "lora", output__keep_states=1)
    where = place()
    where = dataclasses.replace(where, resume=ResumePoint(where.output / "checkpoint-5", 5))
    found = json.loads(SIMPLETUNER.render(plan, where).files[PurePosixPath("engine/config.json")])
    assert found["resume_from_checkpoint"] == "checkpoint-5"
    fresh = json.loads(SIMPLETUNER.render(plan, place()).files[PurePosixPath("engine/config.json")])
    assert "resume_from_checkpoint" not in fresh


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_training_script_has_the_passages_that_resuming_replaces(script):
    found = environments.installed("kohya")
    if found is None or found.checkout is None:
        pytest.skip("kohya is not installed here (python installer.py backend install kohya)")
    file = loop.file_of(found.checkout / script)
    text, patched = file.read_text(encoding="utf-8"), loop.patched(file, at(5))
    compile(patched, script, "exec")
    assert patched.count(program.NAME) >= 6
    assert len(patched.splitlines()) == len(text.splitlines()), "a traceback names the lines of the engine's own file"


LOOP = """
global_step = 0
train_util.get_scheduler_fix(args, optimizer, 1)
train_util.resume_from_local_or_hf_if_specified(accelerator, args)
tqdm(range(args.max_train_steps), desc="steps")
for epoch in range(num_train_epochs):
    for step, batch in enumerate(train_dataloader):
        pass
"""


def test_a_script_of_another_version_is_refused_before_training(tmp_path):
    file = tmp_path / "fine_tune.py"
    file.write_text(LOOP)
    assert program.NAME in loop.patched(file, at(5))
    for changed in (LOOP.replace("enumerate(train_dataloader)", "train_dataloader"), LOOP + "global_step = 0\n"):
        file.write_text(changed)
        with pytest.raises(SystemExit, match="cannot continue a training with this version") as refused:
            loop.patched(file, at(5))
        assert "Nothing was trained" in str(refused.value)


RUNS = """
import sys
from types import SimpleNamespace as Thing


class Batches(list):
    num_workers = 1


train_util = Thing(
    get_scheduler_fix=lambda args, *_: print("a schedule over", args.max_train_steps),
    resume_from_local_or_hf_if_specified=lambda *_: print("the state is loaded"),
)
args = Thing(max_train_steps=10, gradient_accumulation_steps=1)
accelerator = Thing(skip_first_batches=lambda batches, number: batches[number:])
optimizer, train_dataloader, num_train_epochs = None, Batches("abcd"), 3
tqdm = lambda what, **bar: print(what, bar)
print(__name__, sys.argv[1:])
global_step = 0
train_util.get_scheduler_fix(args, optimizer, 1)
train_util.resume_from_local_or_hf_if_specified(accelerator, args)
tqdm(range(args.max_train_steps), desc="steps")
for epoch in range(num_train_epochs):
    for step, batch in enumerate(train_dataloader):
        global_step += 1
        print(epoch, batch, global_step)
"""


def test_a_script_that_continues_is_run_from_its_next_batch_on(tmp_path):
    file = tmp_path / "fine_tune.py"
    file.write_text(RUNS)
    words = loop_resume.command((str(file), "--config_file", "x.toml"), kohya_render.LOOP, ResumePoint(tmp_path, 6, 6))
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "__main__ ['--config_file', 'x.toml']",
        "a schedule over 4",
        "the state is loaded",
        "None {'initial': 6, 'total': 10, 'desc': 'steps'}",
        "Easel: continuing after step 6, at batch 3 of epoch 2",
        *("1 c 7", "1 d 8", "2 a 9", "2 b 10", "2 c 11", "2 d 12"),
    ]


class Batches(list):
    num_workers = 1


@pytest.mark.parametrize(
    ("batches", "together", "step", "epoch", "skipped"),
    [
        (5, 2, 1, 0, 2),
        (5, 2, 3, 1, 0),
        (5, 2, 5, 1, 4),
        (5, 2, 7, 2, 2),
        (8, 1, 8, 1, 0),
        (8, 1, 13, 1, 5),
        (3, 4, 2, 2, 0),
    ],
)
def test_the_position_in_the_epoch_counts_the_short_last_step(batches, together, step, epoch, skipped):
    class Accelerator:
        @staticmethod
        def skip_first_batches(dataloader, number):
            return dataloader[number:]

    class Arguments:
        gradient_accumulation_steps = together

    found, data = at(step), Batches(range(batches))
    assert found.first_epoch(data, Arguments) == epoch
    for rest in (found.rest, functools.partial(loop.rest, found)):
        assert list(rest(Accelerator, data, epoch)) == list(range(skipped, batches))
        assert list(rest(Accelerator, data, epoch + 1)) == list(range(batches))


@pytest.mark.parametrize(("version", "last"), [("4.10.1", ".guard"), ("3.1.6", "")])
def test_a_state_of_simpletuner_is_whole_with_the_file_that_its_version_writes_last(tmp_path, version, last):
    plan = plan_of(SIMPLETUNER, "sdxl", "lora", output__keep_states=1)
    pattern = SIMPLETUNER.render(plan, dataclasses.replace(place(), version=version)).artefacts.states
    for name in ("optimizer.bin", "random_states_0.pkl"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("data", "numbers")
    (tmp_path / "training_state.json").write_text("{}")
    assert states.problem(tmp_path, pattern) == (f"{last} is missing" if last else "")
    (tmp_path / ".guard").write_text("complete\n")
    assert states.problem(tmp_path, pattern) == ""

"""An exported plan has the values for the machine that it asks for, not those of the machine where it was prepared."""

import json
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from tests.support import small_models
from trainer_core.cli import main
from trainer_core.prepare.workbench import Workbench, prepare_run
from trainer_core.remote import credentials
from trainer_core.remote.export import gpus

PRECISION = "memory.mixed_precision"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small_models.sd15_file(tmp_path_factory.mktemp("models"))


@pytest.fixture
def images(monkeypatch, tmp_path):
    for name in (*credentials.KNOWN, "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "10_cats"
    folder.mkdir()
    for number in range(2):
        Image.new("RGB", (520, 520), (90 * number, 40, 10)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a cat")
    return folder


def run_made_on(gpu, model, images, **values):
    """The plan.toml of a run that was prepared on a machine with this GPU, or without one."""
    bench = Workbench(gpus.machine(gpus.named(gpu) if gpu else None, 1), "rehearsal")
    bench.set({"model.path": str(model), "dataset.path": str(images), "schedule.steps": 500, **values})
    return prepare_run(bench).folder.path / "plan.toml"


def exported(plan, tmp_path, capsys, *options):
    """The exported plan, what changed by setting, and the notes."""
    out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
    with pytest.raises(SystemExit) as end:
        main(
            [
                "remote",
                "export",
                str(plan),
                "--to",
                "skypilot",
                "--output",
                str(out),
                "--easel",
                "/opt/easel",
                "--json",
                *options,
            ]
        )
    said = capsys.readouterr()
    assert not end.value.code, said.err
    made = json.loads(said.out)
    (file,) = (Path(each) for each in made["files"] if Path(each).name == "plan.toml")
    changed = {each["setting"]: (each["before"], each["after"]) for each in made["tasks"][0]["changed"]}
    return tomllib.loads(file.read_text()), changed, made["notes"]


def test_a_run_without_a_gpu_is_exported_for_the_gpu_that_it_asks_for(model, images, tmp_path, capsys):
    plan = run_made_on(None, model, images)
    assert tomllib.loads(plan.read_text())["memory"]["mixed_precision"] == "no"
    there, changed, notes = exported(plan, tmp_path, capsys)
    assert there["memory"]["mixed_precision"] == "bf16"
    assert changed == {PRECISION: ("no", "bf16"), "sampling.every_steps": (0, 50)}
    assert there["sampling"]["every_steps"] == 50
    assert any(
        note.startswith(f"{PRECISION} is bf16 for NVIDIA ") and "instead of no. The fastest number format" in note
        for note in notes
    )
    there, changed, _ = exported(plan, tmp_path, capsys, "--gpu", "T4")
    assert there["memory"]["mixed_precision"] == "fp16"
    there, changed, _ = exported(plan, tmp_path, capsys, "--gpu", "none")
    assert (there["memory"]["mixed_precision"], changed) == ("no", {})


def test_a_run_with_a_newer_gpu_is_exported_for_an_older_one(model, images, tmp_path, capsys):
    plan = run_made_on("L4", model, images)
    assert exported(plan, tmp_path, capsys)[1] == {}
    there, changed, _ = exported(plan, tmp_path, capsys, "--gpu", "V100")
    assert there["memory"]["mixed_precision"] == "fp16"
    assert changed == {PRECISION: ("bf16", "fp16")}


def test_what_the_user_chose_stays_and_32_bits_are_said(model, images, tmp_path, capsys):
    plan = run_made_on(None, model, images, **{PRECISION: "fp16"})
    there, changed, _ = exported(plan, tmp_path, capsys)
    assert there["memory"]["mixed_precision"] == "fp16"
    assert PRECISION not in changed
    plan = run_made_on("L4", model, images, **{PRECISION: "no"})
    there, changed, notes = exported(plan, tmp_path, capsys)
    assert (there["memory"]["mixed_precision"], changed) == ("no", {})
    assert any(f"The plan sets {PRECISION} to no" in note for note in notes)


def test_a_plan_file_that_says_nothing_gets_the_value_of_the_gpu_and_one_that_does_keeps_it(
    model, images, tmp_path, capsys
):
    lines = [
        'engine = "rehearsal"\nprofile = "plain"\npolicy = "none"',
        f"[model]\npath = {json.dumps(str(model))}\n[dataset]\npath = {json.dumps(str(images))}",
        '[schedule]\nsteps = 20\n[output]\nname = "mika"\n',
    ]
    plan = tmp_path / "mine.toml"
    plan.write_text("\n".join(lines))
    assert exported(plan, tmp_path, capsys, "--gpu", "V100")[0]["memory"]["mixed_precision"] == "fp16"
    plan.write_text("\n".join([*lines, '[memory]\nmixed_precision = "no"']))
    there, changed, notes = exported(plan, tmp_path, capsys)
    assert (there["memory"]["mixed_precision"], PRECISION in changed) == ("no", False)
    assert any(f"The plan sets {PRECISION} to no" in note for note in notes)


@pytest.mark.parametrize("content", ["{}", "[]", '{"accelerators": 3}', "nonsense", None])
def test_a_run_of_which_the_machine_is_not_known_can_be_exported(model, images, tmp_path, capsys, content):
    plan = run_made_on("L4", model, images)
    (plan.parent / "hardware.json").unlink()
    if content is not None:
        (plan.parent / "hardware.json").write_text(content)
    assert exported(plan, tmp_path, capsys)[0]["memory"]["mixed_precision"] == "bf16"

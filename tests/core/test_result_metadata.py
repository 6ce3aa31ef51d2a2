"""The metadata of a delivered result: the plan can be read again, nothing personal is in it, and the tensors are the same."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support import engine_plans, random_plans, recorded_headers, recorded_networks
from trainer_core import __version__, profiles
from trainer_core.cli import easel
from trainer_core.engines import contract, registry
from trainer_core.errors import PlanError
from trainer_core.models import detection, header
from trainer_core.models.detection import bases
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training import metadata
from trainer_core.training.metadata import keys, privacy, result_keys

ENGINES = ("kohya", "simpletuner", "rehearsal")
SECRET = "hf_" + "a" * 30


def told(plan: TrainingPlan, **engines_own: str) -> dict[str, str]:
    tables = plan.model_dump(exclude_none=True)
    origin = result_keys.of_run(tables, {"engine": "kohya", "engine_version": "48d368f"})
    return result_keys.for_result(origin, engines_own, 42, "toy")


def expected(plan: TrainingPlan) -> TrainingPlan:
    """The plan without what a file must not contain, by the declarations of the settings."""
    flat = fields.flatten(plan.model_dump())
    for path, setting in fields.all_fields().items():
        if setting.about.path or setting.owner == "person":
            flat[path] = setting.default
    flat["dataset.subsets"] = ()  # of image folders it has only the names
    return TrainingPlan.model_validate(fields.nest(flat))


def cells(engine: str) -> Iterator[tuple[str, str]]:
    yield from contract.cells(registry.get(engine))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_plan_can_be_read_from_its_result_again(engine: str) -> None:
    seen = set()
    for case in islice(random_plans.cases(registry.get(engine), seed=7), 150):
        found = metadata.read(told(case.plan))
        assert found.is_unchanged
        assert TrainingPlan.model_validate(fields.nest(found.values)) == expected(case.plan)
        assert found.asked["dataset.path"] == "images"
        seen.add((case.plan.model.family, case.plan.model.method))
    assert seen == set(cells(engine))


def test_no_path_and_nothing_personal_is_in_the_file() -> None:
    flat: dict[str, Any] = {path: setting.default for path, setting in fields.all_fields().items()}
    for number, (path, setting) in enumerate(fields.all_fields().items()):
        if setting.about.path:
            flat[path] = f"/home/jane doe/folder{number}/file{number}.safetensors"
        elif setting.owner == "person":
            flat[path] = f"private word {number}"
    flat["dataset.subsets"] = ({"path": "/home/jane doe/folder/red", "masks": "/home/jane doe/folder/masks"},)
    flat["native"] = {"kohya": {"network_args": ["weights=/home/jane doe/x/y.safetensors"], "token": SECRET}}
    plan = TrainingPlan.model_validate(fields.nest(flat))
    text = json.dumps(told(plan, ss_dataset_dirs='{"C:\\\\Users\\\\jane\\\\set": 1}', ss_output_name="/root/out/toy"))
    for private in ("jane", "folder", "private word", SECRET, "/root", "Users"):
        assert private not in text, private
    read = fields.flatten(json.loads(told(plan)[keys.PLAN]))
    for path, setting in fields.all_fields().items():
        if setting.about.written or setting.owner == "person":
            assert path not in read
        elif setting.about.path:
            assert read[path].startswith("file")


def test_a_changed_plan_is_recognised() -> None:
    written = told(engine_plans.plan("sdxl"))
    assert metadata.read(written).is_unchanged
    tables = json.loads(written[keys.PLAN])
    tables["network"]["rank"] = 128
    assert not metadata.read({**written, keys.PLAN: metadata.canonical(tables)}).is_unchanged
    assert not metadata.read({**written, keys.PLAN: written[keys.PLAN].replace(",", ", ", 1)}).is_unchanged


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"network": 3}', '{"network": {"rank": NaN}}', "[" * 100_000, '{"a": "' + "x" * (2 << 20) + '"}'],
)
def test_a_damaged_plan_is_an_error_in_words(text: str) -> None:
    with pytest.raises(PlanError):
        metadata.read({keys.PLAN: text})


def test_hostile_values_are_left_out_with_a_note() -> None:
    tables = {
        "network": {"rank": 10**9, "alpha": "eight", "nothing": 1},
        "model": {"path": "../../etc/passwd", "family": "sd\x1b[31mxl"},
        "output": {"folder": "/etc", "name": "x" * 20_000},
        "native": {"kohya": {"a": 1}},
    }
    found = metadata.read({keys.PLAN: metadata.canonical(tables)})
    assert found.values == {"native": {"kohya": {"a": 1}}}
    assert len([note for note in found.notes if "left out" in note]) == 5
    assert not any("\x1b" in note for note in found.notes)
    assert found.asked == {"model.path": "../../etc/passwd", "output.folder": "/etc"}


def test_the_specification_names_the_model_that_other_programs_know() -> None:
    for family, architecture in (("sdxl", "stable-diffusion-xl-v1-base/lora"), ("flux", "flux-1-dev/lora")):
        written = told(
            engine_plans.plan(family, dataset__trigger="ohwx"), **{"modelspec.architecture": f"{family}-x/lora"}
        )
        assert written["modelspec.architecture"] == architecture
        assert written["modelspec.trigger_phrase"] == "ohwx"
        assert written[keys.STEPS] == "42"
        assert written[keys.VERSION] == __version__
        assert bases.named_in({"modelspec.architecture": architecture})
    precise = told(engine_plans.plan("sd3"), **{"modelspec.architecture": "stable-diffusion-3-5-large/lora"})
    assert precise["modelspec.architecture"] == "stable-diffusion-3-5-large/lora"


def test_a_base_model_is_known_by_its_header(tmp_path: Path) -> None:
    path = recorded_headers.write_file(tmp_path / "base.safetensors", {"a": ("F16", (2, 3))})
    start = path.read_bytes()
    length = 8 + struct.unpack("<Q", start[:8])[0]
    assert result_keys.header_digest(path) == hashlib.sha256(start[:length]).hexdigest()
    for other in (tmp_path, tmp_path / "missing.safetensors"):
        assert result_keys.header_digest(other) == ""


@pytest.mark.parametrize(
    ("text", "reduced"),
    [
        ("/home/jane/My Files/a.png", "a.png"),
        ("C:\\Users\\jane\\a.safetensors", "a.safetensors"),
        ("~/x/y", "y"),
        ("see /mnt/d/foo.bin and https://example.org/a/b", "see foo.bin and https://example.org/a/b"),
        ("networks/lora.py", "networks/lora.py"),
        ('{"/home/jane/x": ["/home/jane/y.png", 3]}', '{"x": ["y.png", 3]}'),
        ("betas=(0.9, 0.99)", "betas=(0.9, 0.99)"),
        (f"key {SECRET}", "key [token]"),
        ("/", "/"),
    ],
)
def test_paths_in_texts_become_names(text: str, reduced: str) -> None:
    assert privacy.without_paths(text) == reduced


def lora(tmp_path: Path, plan: TrainingPlan) -> Path:
    source = recorded_headers.FOLDER.parent / "roles" / "lora-kohya-sdxl.json"
    tensors = dict(recorded_headers._leaves(json.loads(source.read_text())["tensors"]))
    return recorded_headers.write_file(tmp_path / "mine.safetensors", tensors, told(plan, ss_network_dim="4"))


def test_a_profile_from_a_lora_of_easels_has_its_settings(tmp_path: Path) -> None:
    plan = engine_plans.plan(
        "sdxl", optimizer__learning_rate=3e-5, dataset__trigger="ohwx", sampling__prompt="photo of ohwx, smiling"
    )
    found = header.read(lora(tmp_path, plan))
    profile = profiles.from_lora(found, detection.detect(found)).profile
    assert profile.settings["optimizer.learning_rate"] == 3e-5
    assert profile.settings["sampling.prompt"] == "photo of {trigger}, smiling"
    assert "ohwx" not in profiles.dumps(profile)


def test_the_command_line_makes_the_plan_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    plan = engine_plans.plan("sdxl", network__rank=24, model__path="/models/base.safetensors")
    path, made = lora(tmp_path, plan), tmp_path / "again.toml"
    done = CliRunner().invoke(easel, ["plan", "--from", str(path), "--save-plan", str(made), "--json"])
    assert done.exit_code == 3, done.output
    assert "it was trained with base.safetensors. Set it with --model." in done.stderr
    shown = json.loads(done.stdout)
    assert shown["values"]["network.rank"]["value"] == 24
    assert {problem["path"] for problem in shown["problems"] if problem["severity"] == "error"} >= {"model.path"}
    again = CliRunner().invoke(easel, ["plan", str(made), "--json"])
    assert json.loads(again.stdout)["values"]["network.rank"]["value"] == 24
    refused = CliRunner().invoke(easel, ["plan", "--from", str(path), "--save-plan", str(made)])
    assert refused.exit_code == 1
    other = recorded_networks.write("kohya-lora", tmp_path)
    assert CliRunner().invoke(easel, ["plan", "--from", str(other)]).exit_code != 0

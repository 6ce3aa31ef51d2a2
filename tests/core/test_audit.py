"""The audit of an engine's options: rendering shows which settings determine each option, for any engine."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest
import tomli_w
from click.testing import CliRunner

from trainer_core.cli import easel
from trainer_core.engines import audit, option_sources, registry
from trainer_core.engines import options as engine_options
from trainer_core.engines.manifest import load_manifest
from trainer_core.engines.seam import ArtefactPattern, Artefacts, JobSpec, Metrics
from trainer_core.plan import fields

BACKEND = """
id = "clay"
title = "Clay"
licence = "MIT"
needs_installation = false
[families.sd15]
methods = {lora = {program = "shape.py"}, full = {program = "shape.py"}}
[families.sdxl]
methods = {lora = {program = "fire.py"}}
[dataset]
extensions = [".png"]
any_case = true
caption_lines = "first"
[optimizers]
AdamW = "adamw"
Lion = "lion"
"""
OPTIONS = """
owned = ["steps", "kind", "rate", "momentum", "clay", "side", "seed"]
[native]
"looks" = ["glaze"]
[refused]
"token*" = "secrets do not belong in a plan."
[[ignored]]
options = ["seed"]
programs = ["fire"]
reason = "the result is never the same."
[dataset]
records = ["images"]
called = {side = "size"}
owned = ["size"]
"""
RECORDS = {
    "common": {"steps": "int", "kind": "str", "rate": "float", "seed": "int", "side": "int"},
    "shape": {"momentum": "float", "clay": "str", "glaze": "str", "token_hub": "str", "new": "int"},
    "fire": {"heat": "int"},
    "images": {"size": "int"},
}


class Clay:
    """An engine that writes TOML and JSON."""

    def __init__(self, folder: Path) -> None:
        self.manifest = load_manifest(folder / "backend.toml")

    def problems(self, plan, machine, status):
        return []

    def parse(self, line):
        return None

    def render(self, plan, place):
        table = {"steps": plan.schedule.steps, "kind": self.manifest.optimizers[plan.optimizer.name], "clay": "red"}
        table["seed"] = plan.schedule.seed
        if plan.optimizer.name == "Lion":
            table["momentum"] = plan.optimizer.momentum or 0.0
        if plan.model.method == "lora":
            table["rate"] = plan.optimizer.learning_rate
        prompts = [{"text": plan.sampling.prompt, "seed": plan.sampling.seed, "width": 1, "height": 1}]
        files = {
            place.run / "made.toml": tomli_w.dumps({"any": table}),
            place.run / "images.json": json.dumps([{"size": plan.dataset.resolution}]),
            place.run / "prompts.json": json.dumps(prompts),
        }
        empty = ArtefactPattern("", "")
        return JobSpec("clay", files, (), place.run, 1, Metrics("log"), Artefacts(empty, empty, empty))


@pytest.fixture
def clay(tmp_path) -> Clay:
    (tmp_path / "backend.toml").write_text(BACKEND)
    (tmp_path / "options.toml").write_text(OPTIONS)
    (tmp_path / "schema").mkdir()
    for name, kinds in RECORDS.items():
        record = {
            "program": f"{name}.py",
            "version": "1",
            "options": {key: {"type": kind} for key, kind in kinds.items()},
        }
        if name in ("shape", "fire"):
            record["common"] = "common.json"
        (tmp_path / "schema" / f"{name}.json").write_text(json.dumps(record))
    return Clay(tmp_path)


def test_the_audit_finds_the_settings_that_determine_each_option(clay):
    (shape,) = audit.audit(clay, "shape")
    found = {option.name: (option.status, option.settings) for option in shape.options}
    assert found == {
        "steps": ("mapped", ("schedule.steps",)),
        "kind": ("mapped", ("optimizer.name",)),
        # Rendered only for one method, or only for one optimizer.
        "rate": ("mapped", ("model.method", "optimizer.learning_rate")),
        "momentum": ("mapped", ("optimizer.momentum", "optimizer.name")),
        "clay": ("fixed", ()),
        # The seed of the samples has the same name, but it is in a file that contains no options of the engine.
        "seed": ("mapped", ("schedule.seed",)),
        # It is in the description of the dataset, under another name.
        "side": ("mapped", ("dataset.resolution",)),
        "glaze": ("native", ()),
        "token_hub": ("refused", ()),
        "new": ("unaccounted", ()),
    }
    assert shape.cells == (("sd15", "lora"), ("sd15", "full"))
    assert shape.unaccounted == ("new",)
    assert shape.count()["mapped"] == 6


def test_each_program_has_its_own_audit_and_the_dataset_one_for_all_programs(clay):
    found = {entry.record: {option.name: option for option in entry.options} for entry in audit.audit(clay)}
    assert set(found) == {"shape", "fire", "images"}
    assert (found["fire"]["seed"].status, found["fire"]["seed"].reason) == ("ignored", "the result is never the same.")
    assert found["fire"]["heat"].status == "unaccounted"
    assert found["images"]["size"].settings == ("dataset.resolution",)


def test_other_values_are_allowed_and_differ_from_the_default():
    for path, setting in fields.all_fields().items():
        values = option_sources.other_values(setting)
        assert values or len(setting.choices) == 1, path
        for value in values:
            assert value != setting.default
            assert not fields.check(path, value)[1]


def test_two_records_are_compared_by_name_type_choices_and_default(tmp_path):
    def record(**options):
        return {"one": engine_options.EngineOptions("one", "1", options)}

    same, float_, choice = engine_options.Option("int"), engine_options.Option("float"), ("a", "b")
    old = record(kept=same, gone=same, kind=same, of=engine_options.Option("str", choices=choice))
    new = record(kept=same, fresh=same, kind=float_, of=engine_options.Option("str", choices=("a",), default="a"))
    (found,) = audit.compare(old, new)
    assert (found.came, found.went) == (("fresh",), ("gone",))
    assert [change[:2] for change in found.changed] == [("kind", "type"), ("of", "choices"), ("of", "default")]
    assert list(audit.compare(old, old)) == []


def invoke(*arguments):
    return CliRunner().invoke(easel, ["backends", "audit", *arguments])


def test_the_command_shows_a_program_and_succeeds_if_no_option_is_unaccounted():
    shown = invoke("kohya", "--program", "train_db")
    assert shown.exit_code == 0, shown.output
    for line in shown.output.splitlines():
        if line.startswith("seed "):
            assert "schedule.seed" in line
    data = json.loads(invoke("kohya", "--program", "train_db", "--json").output)
    (entry,) = data
    options = {option["name"]: option for option in entry["options"]}
    assert options["lr_scheduler_type"]["status"] == "refused"
    assert options["max_train_steps"]["settings"] == ["schedule.steps"]


def test_the_command_fails_for_an_option_of_another_version_without_a_decision(tmp_path):
    schema = registry.get("kohya").manifest.schema
    other = tmp_path / "schema"
    shutil.copytree(schema, other)
    agreed = invoke("kohya", "--against", str(other)).output.splitlines()
    assert agreed == ["The records are the same.", f"Compared the record that Easel ships, {schema}, with {other}."]
    file = other / "train_db.json"
    data = json.loads(file.read_text())
    data["options"] |= {"melt\x1b[2J": {"type": "bool"}, "network_dim": {"type": "int"}}
    file.write_text(json.dumps(data))
    compared = invoke("kohya", "--against", str(other))
    assert compared.exit_code == 1
    assert "UNACCOUNTED" in compared.output
    assert "\x1b" not in compared.output
    (found,) = json.loads(invoke("kohya", "--against", str(other), "--json").output)
    assert found["decided"]["network_dim"] == "owned"


def test_a_version_of_an_engine_with_one_program_is_compared_with_the_preferred_version(tmp_path):
    schema = registry.get("simpletuner").manifest.schema
    data = json.loads((schema / "4.10.1.json").read_text())
    data["options"]["fresh"] = {"type": "int"}
    (tmp_path / "9.0.json").write_text(json.dumps(data))
    (found,) = json.loads(invoke("simpletuner", "--against", str(tmp_path), "--json").output)
    assert (found["record"], found["came"], found["went"]) == ("9.0", ["fresh"], [])


def test_unknown_programs_and_missing_records_are_errors(tmp_path):
    assert "no program called" in str(invoke("kohya", "--program", "nonsense").exception)
    assert "no recorded options" in str(invoke("kohya", "--against", str(tmp_path)).exception)
    assert "no options of its own" in str(invoke("rehearsal").exception)


def test_the_manifests_contain_the_tables_of_options_toml():
    for name in ("kohya", "simpletuner"):
        manifest = registry.get(name).manifest
        table = tomllib.loads((manifest.folder / "options.toml").read_text("utf-8"))
        assert manifest.options.owned == tuple(table["owned"])
        assert manifest.dump == manifest.folder / "dump_options.py"

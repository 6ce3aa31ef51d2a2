"""The account of an engine's options: what each follows from is found by rendering, whatever the engine is."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest
import tomli_w
from click.testing import CliRunner

from trainer_core import audit, engine_options, option_sources, registry
from trainer_core.backend import ArtefactPattern, Artefacts, JobSpec, Metrics
from trainer_core.cli import easel
from trainer_core.plan import fields

BACKEND = """
id = "clay"
title = "Clay"
licence = "MIT"
needs_installation = false
[families.sd15]
methods = {lora = {script = "shape.py"}, full = {script = "shape.py"}}
[families.sdxl]
methods = {lora = {script = "fire.py"}}
[dataset]
extensions = [".png"]
any_case = true
caption_lines = "first"
[optimizers]
AdamW = "adamw"
Lion = "lion"
"""
OPTIONS = """
program = "script"
owned = ["steps", "kind", "rate", "momentum", "clay", "side", "seed"]
[native]
"looks" = ["glaze"]
[refused]
"token*" = "secrets do not belong in a plan."
[[ignored]]
options = ["seed"]
programs = ["fire"]
reason = "its fire is never the same."
[dataset]
records = ["pictures"]
called = {side = "size"}
owned = ["size"]
"""
RECORDS = {
    "common": {"steps": "int", "kind": "str", "rate": "float", "seed": "int", "side": "int"},
    "shape": {"momentum": "float", "clay": "str", "glaze": "str", "token_hub": "str", "new": "int"},
    "fire": {"heat": "int"},
    "pictures": {"size": "int"},
}


class Clay:
    """An engine that writes TOML and JSON."""

    def __init__(self, folder: Path) -> None:
        self.manifest = registry.load_manifest(folder / "backend.toml")

    def problems(self, plan, machine):
        return []

    def parse(self, line):
        return None

    def render(self, plan, place):
        made = {"steps": plan.schedule.steps, "kind": self.manifest.optimizers[plan.optimizer.name], "clay": "red"}
        made["seed"] = plan.schedule.seed
        if plan.optimizer.name == "Lion":
            made["momentum"] = plan.optimizer.momentum or 0.0
        if plan.model.method == "lora":
            made["rate"] = plan.optimizer.learning_rate
        prompts = [{"text": plan.sampling.prompt, "seed": plan.sampling.seed, "width": 1, "height": 1}]
        files = {
            place.run / "made.toml": tomli_w.dumps({"any": made}),
            place.run / "pictures.json": json.dumps([{"size": plan.dataset.resolution}]),
            place.run / "prompts.json": json.dumps(prompts),
        }
        nothing = ArtefactPattern("", "")
        return JobSpec("clay", files, (), {}, place.run, 1, Metrics("log"), Artefacts(nothing, nothing, nothing))


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


def test_every_option_is_accounted_for_with_what_it_follows_from(clay):
    (shape,) = audit.audit(clay, "shape")
    found = {option.name: (option.status, option.settings) for option in shape.options}
    assert found == {
        "steps": ("mapped", ("schedule.steps",)),
        "kind": ("mapped", ("optimizer.name",)),
        # Written for one method and for one optimizer only.
        "rate": ("mapped", ("model.method", "optimizer.learning_rate")),
        "momentum": ("mapped", ("optimizer.momentum", "optimizer.name")),
        "clay": ("fixed", ()),
        # The seed of the samples has the same name, in a file that is none of the engine's options.
        "seed": ("mapped", ("schedule.seed",)),
        # It stands in the description of the dataset, under another name.
        "side": ("mapped", ("dataset.resolution",)),
        "glaze": ("native", ()),
        "token_hub": ("refused", ()),
        "new": ("unaccounted", ()),
    }
    assert shape.cells == (("sd15", "lora"), ("sd15", "full"))
    assert shape.unaccounted == ("new",)
    assert shape.count()["mapped"] == 6


def test_a_program_has_its_own_account_and_the_dataset_that_of_all(clay):
    found = {entry.record: {option.name: option for option in entry.options} for entry in audit.audit(clay)}
    assert set(found) == {"shape", "fire", "pictures"}
    assert (found["fire"]["seed"].status, found["fire"]["seed"].reason) == ("ignored", "its fire is never the same.")
    assert found["fire"]["heat"].status == "unaccounted"
    assert found["pictures"]["size"].settings == ("dataset.resolution",)


def test_other_values_are_allowed_and_are_others():
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


def test_the_command_shows_a_program_and_says_by_its_exit_code_that_all_is_accounted_for():
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


def test_an_option_of_another_version_that_nothing_is_said_about_is_a_failure(tmp_path):
    schema = Path(registry.get("kohya").manifest.tables["options"]["schema"])
    other = tmp_path / "schema"
    shutil.copytree(schema, other)
    assert invoke("kohya", "--against", str(other)).output.strip() == "The records agree."
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


def test_a_version_of_an_engine_of_one_program_is_compared_with_the_preferred_one(tmp_path):
    schema = Path(registry.get("simpletuner").manifest.tables["options"]["schema"])
    data = json.loads((schema / "4.10.1.json").read_text())
    data["options"]["fresh"] = {"type": "int"}
    (tmp_path / "9.0.json").write_text(json.dumps(data))
    (found,) = json.loads(invoke("simpletuner", "--against", str(tmp_path), "--json").output)
    assert (found["record"], found["came"], found["went"]) == ("9.0", ["fresh"], [])


def test_what_is_not_there_is_said(tmp_path):
    assert "no program called" in str(invoke("kohya", "--program", "nonsense").exception)
    assert "no recorded options" in str(invoke("kohya", "--against", str(tmp_path)).exception)
    assert "no options of its own" in str(invoke("rehearsal").exception)


def test_the_shipped_tables_are_toml_that_the_registry_has_read():
    for name in ("kohya", "simpletuner"):
        rules = registry.get(name).manifest.tables["options"]
        beside = Path(rules["schema"]).with_name("options.toml")
        assert rules["owned"] == tomllib.loads(beside.read_text("utf-8"))["owned"]
        assert rules["dump"] == "dump_options.py"

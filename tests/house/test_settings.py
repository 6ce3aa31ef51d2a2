"""All facts about a setting are in its declaration: no module has its own list of settings, and none is shared by mistake."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from trainer_core import profiles
from trainer_core.errors import ProfileError
from trainer_core.plan import fields, sections
from trainer_core.plan.setting import Setting
from trainer_core.profiles import exporting

ROOT = Path(__file__).parents[2]

ALLOWED = {
    "trainer_core/profiles/lora.py": "the main facts of a training run, in the order in which a message lists the missing ones",
    "trainer_core/profiles/lora_sd_scripts.py": "the settings for sd-scripts' metadata keys",
    "trainer_core/profiles/lora_onetrainer.py": "the settings for OneTrainer's keys",
    "trainer_core/engines/option_sources.py": "values of the plan that is rendered to see which options follow from which settings",
    "trainer_core/training/caveats.py": "what a sentence about the losses of two runs calls the settings that make them differ",
    "trainer_core/remote/worker/asked.py": "the names that a document has for two settings",
    "trainer_core/remote/worker/models.py": "what a file of somebody else must be, by detection, before it is trained on",
    "trainer_ui/panels/settings.py": "the order of the first page of the form",
    "trainer_ui/panels/remote/settings.py": "the names that a document has for parameters, in its order",
    "trainer_ui/panels/finishing.py": "what the line of the folded step says",
    "trainer_ui/answers.py": "the questions that the form asks a newcomer",
}
"""Modules with a table on another subject, which is not a fact about the settings in it."""


def constants(trees: dict[Path, ast.Module], known: set[str]) -> dict[str, str]:
    """{name: setting} of the constants that are the path of a setting."""
    found = {}
    for tree in trees.values():
        for statement in tree.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(path))) if path in known:
                    found[name] = path
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                    for name, value in zip(names, values, strict=True):
                        match name, value:
                            case ast.Name(id=called), ast.Constant(value=str(path)) if path in known:
                                found[called] = path
    return found


def kept_by_hand(tree: ast.Module, names: dict[str, str], known: set[str]) -> Iterator[tuple[int, list[str]]]:
    """(line, settings) of each literal list of two or more settings.

    Left out are the names given to several paths at once, and, in functions, tables by path: those are values of a plan.
    """
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}

    def in_function(node: ast.AST | None) -> bool:
        while node is not None and not isinstance(node, ast.FunctionDef):
            node = parents.get(node)
        return node is not None

    for node in ast.walk(tree):
        parent = parents.get(node)
        match node:
            case ast.Set(elts=entries) | ast.List(elts=entries) | ast.Tuple(elts=entries):
                if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Tuple):
                    continue
            case ast.Dict(keys=keys, values=values):
                is_looked_up = isinstance(parent, ast.Attribute | ast.Subscript)
                by_path = [] if in_function(node) and not is_looked_up else keys
                entries = [entry for entry in (*by_path, *values) if entry]
            case _:
                continue
        settings = [entry.value for entry in entries if isinstance(entry, ast.Constant) and entry.value in known]
        settings += [names[entry.id] for entry in entries if isinstance(entry, ast.Name) and entry.id in names]
        if len(settings) > 1:
            yield node.lineno, settings


def test_no_module_has_its_own_list_of_settings():
    files = [*(ROOT / "trainer_core").rglob("*.py"), *(ROOT / "trainer_ui").rglob("*.py")]
    trees = {path: ast.parse(path.read_text("utf-8")) for path in files}
    known = set(fields.all_fields())
    names = constants(trees, known)
    found = {
        str(path.relative_to(ROOT)): lists
        for path, tree in trees.items()
        if (lists := list(kept_by_hand(tree, names, known)))
    }
    assert {name: lists for name, lists in found.items() if name not in ALLOWED} == {}
    assert set(found) == set(ALLOWED), "what needs no reason any more is taken out of the list"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('A = {"network.rank", "network.alpha"}', 1),
        ('RANK = "network.rank"\nA = (RANK, "network.alpha")', 1),
        ('A = {"network.rank": "r", "network.alpha": "a"}', 1),
        ('def f(path):\n    return {"network.rank": "r", "network.alpha": "a"}.get(path)', 1),
        ('def f():\n    return {"network.rank": 8, "network.alpha": 4}', 0),
        ('RANK, ALPHA = "network.rank", "network.alpha"', 0),
        ('A = {"network.rank"}', 0),
    ],
)
def test_a_list_of_settings_is_found_and_the_values_of_a_plan_are_not(source, count):
    tree, known = ast.parse(source), set(fields.all_fields())
    assert len(list(kept_by_hand(tree, constants({Path(): tree}, known), known))) == count


def plan_with(setting: Setting):
    """A plan whose output has one more setting."""

    class OutputSettings(sections.OutputSettings):
        weights: Annotated[str, Field(title="Weights"), setting] = ""

    class TrainingPlan(sections.TrainingPlan):
        output: OutputSettings = OutputSettings()  # pyright: ignore[reportIncompatibleVariableOverride]

    return TrainingPlan


@pytest.fixture
def declare(monkeypatch):
    """Adds a setting to the plan."""
    kept = [made for made in vars(fields).values() if hasattr(made, "cache_clear")]

    def clear():
        for made in kept:
            made.cache_clear()

    def add(setting: Setting):
        monkeypatch.setattr(fields, "TrainingPlan", plan_with(setting))
        clear()

    yield add
    monkeypatch.undo()
    clear()


PROFILE = """
id = "mine"
title = "Mine"
family = "sdxl"
method = "lora"
use = "style"
explanation = "Mine."
[settings.output]
weights = "bert.bin"
"""


def exported():
    plan = {"model": {"family": "sdxl"}, "network": {"rank": 7}, "output": {"weights": "bert.bin"}}
    return exporting.from_plan(plan, title="Mine", wanted_id="mine").profile.settings


@pytest.mark.parametrize("setting", [Setting(), Setting(path="file"), Setting(path="folder", written=True)])
def test_a_new_path_or_text_is_never_in_a_shared_profile_unless_it_is_declared_to_be(declare, setting):
    declare(setting)
    assert "output.weights" in fields.all_fields()
    assert exported() == {"model.method": "lora", "network.rank": 7}
    with pytest.raises(ProfileError, match=r"output\.weights.*belongs to a job"):
        profiles.loads(PROFILE, "mine.toml")


def test_a_path_that_is_declared_to_be_shared_is(declare):
    declare(Setting(path="file", owner="recipe"))
    assert exported()["output.weights"] == "bert.bin"
    assert profiles.loads(PROFILE, "mine.toml").settings["output.weights"] == "bert.bin"

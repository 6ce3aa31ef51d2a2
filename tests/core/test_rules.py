"""Every core rule speaks where it should, its fix mends what it speaks of, and it is silent about a good plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backends import engine_plans
from tests.backends.engine_trials import MODELS
from tests.core import recorded_headers
from tests.core.rule_cases import FIRES, Fires
from trainer_core import catalog, detection, header, registry
from trainer_core.datasets.scan import Dataset
from trainer_core.plan import fields
from trainer_core.plan.draft import Draft, Source
from trainer_core.plan.facts import Facts
from trainer_core.plan.rules import RULES, Case, choices, model, output
from trainer_core.problems import Problem

KOHYA = registry.get("kohya")
CELLS = engine_plans.cells(KOHYA)
MOST_FIXES = 25


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Callable[[str], Path]:
    """Recorded headers as files whose weights are a hole."""
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def file(name: str) -> Path:
        if name not in made:
            made[name] = recorded_headers.write(name, folder)
        return made[name]

    return file


@pytest.fixture
def good(files, pictures: Dataset, tmp_path: Path) -> Callable[..., Draft]:
    """A draft that no rule speaks of, by family and method."""

    def draft(family: str = "sd15", method: str = "lora") -> Draft:
        parts = {f"model.{part}": str(files(name)) for part, name in MODELS[family].items()}
        values = {
            **parts,
            "model.method": method,
            "dataset.path": str(pictures.root),
            "dataset.trigger": "mika",
            "output.name": "portrait",
            "output.folder": str(tmp_path),
            **({"embedding.init_word": "cat"} if method == "textual_inversion" else {}),
            **({"optimizer.learning_rate": 1e-5} if method in ("full", "dreambooth") else {}),
        }
        seen = detection.detect(header.read(parts["model.path"]))
        facts = Facts(engine_plans.machine(engine_plans.CARD), seen, pictures)
        return Draft(facts).with_values(Source.USER, values)

    return draft


def of_rule(rule: Callable[[Case], Any], draft: Draft, *, has_engine: bool = True) -> list[Problem]:
    return list(rule(Case(draft.sketch(), draft.facts, KOHYA if has_engine else None)))


def changed(draft: Draft, case: Fires) -> Draft:
    return draft.with_values(Source.USER, case.values).with_facts(case.facts(draft.facts))


@pytest.mark.parametrize("name", FIRES)
def test_a_rule_speaks_and_its_fix_mends(good, name):
    case = FIRES[name]
    draft = changed(good(case.family), case)
    said = [each for each in of_rule(case.rule, draft, has_engine=case.has_engine) if each.path == case.path]
    assert [each.severity for each in said] == [case.severity]
    assert not of_rule(case.rule, good(case.family)), "it speaks of a good plan too"
    fix = said[0].fix
    assert (fix is not None and bool(fix.changes)) == case.mends
    if case.mends:
        mended = draft.with_values(Source.USER, fix.changes)
        assert not mended.value_problems()
        assert not of_rule(case.rule, mended), "the fix does not mend it"


def test_every_rule_is_shown_here():
    elsewhere = {model.model_is_no_blind_link, output.output_is_new, choices.settings_are_read}
    assert {case.rule for case in FIRES.values()} | elsewhere == set(RULES)


@pytest.mark.parametrize(("family", "method"), CELLS)
def test_no_rule_speaks_of_a_good_plan(good, family, method):
    draft = good(family, method)
    assert [each for rule in RULES for each in of_rule(rule, draft)] == []


def test_a_link_without_the_ending_of_its_file_is_said(good, files, tmp_path):
    blob = tmp_path / "0123abcd"
    blob.symlink_to(files("sd15"))
    blob.unlink()
    blob.write_bytes(b"")
    link = tmp_path / "model.safetensors"
    link.symlink_to(blob)
    draft = good().with_values(Source.USER, {"model.path": str(link)})
    assert [each.severity for each in of_rule(model.model_is_no_blind_link, draft)] == ["error"]
    link.unlink()
    link.symlink_to(files("sd15"))
    assert of_rule(model.model_is_no_blind_link, draft) == []


def test_a_file_of_that_name_is_told_of(good, tmp_path):
    assert of_rule(output.output_is_new, good()) == []
    (tmp_path / "portrait.safetensors").touch()
    assert [each.severity for each in of_rule(output.output_is_new, good())] == ["info"]


def test_a_disk_that_is_nearly_full_is_told_of(good, monkeypatch):
    monkeypatch.setattr(output, "SPARE_DISK_BYTES", 2**62)
    assert [each.path for each in of_rule(output.folders_can_be_written, good())] == ["output.folder"]


@pytest.mark.parametrize(
    "path", [path for path in fields.all_fields() if path.startswith(("optimizer.", "schedule.", "network."))]
)
def test_what_is_chosen_says_which_settings_it_does_not_read(good, path):
    """Each setting of the catalogue, with every choice: it is read, or said to have no effect, and leaving it out mends that."""
    section, _, setting = path.partition(".")
    chooser, entries = {
        "optimizer": ("optimizer.name", catalog.optimizers()),
        "schedule": ("schedule.scheduler", catalog.schedulers()),
        "network": ("network.algorithm", catalog.algorithms()),
    }[section]
    if path == chooser or not any(setting in entry.settings for entry in entries.values()):
        return
    for name, entry in entries.items():
        value = engine_plans.other_value(fields.all_fields()[path])
        draft = good().with_values(Source.USER, {chooser: name, path: value})
        said = [each for each in of_rule(choices.settings_are_read, draft) if each.path == path]
        always = path == "schedule.warmup_steps"  # what it means without a curve for it, an engine says
        assert bool(said) == (setting not in entry.settings and not always), (name, said)
        for problem in said:
            mended = draft.with_values(Source.USER, problem.fix.changes)
            assert path not in {each.path for each in of_rule(choices.settings_are_read, mended)}


def any_value(found: fields.SettingField) -> st.SearchStrategy[Any]:
    """Any value the declaration of a setting allows, but no path and no free text."""
    if found.choices:
        kinds = st.sampled_from(found.choices)
    elif found.base_type is bool:
        kinds = st.booleans()
    elif found.base_type is int:
        kinds = st.integers(int(found.minimum or 0), int(found.maximum or 2**31))
    else:
        low, high = found.minimum or 0.0, found.maximum or 1.0
        kinds = st.floats(low, high, allow_nan=False).filter(lambda value: not fields.check(found.path, value)[1])
    return st.none() | kinds if found.optional else kinds


FREE = {
    path: any_value(found)
    for path, found in fields.all_fields().items()
    if found.base_type is not str or found.choices
    if not path.startswith("model.")
}


@pytest.mark.parametrize("engine", ["kohya", "simpletuner"])
@given(chosen=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_accepting_fixes_comes_to_an_end(good, engine, chosen):
    """Whatever was set: each fix mends its Problem, and after a few no Problem with a fix is left."""
    backend = registry.get(engine)
    cells = [cell for cell in engine_plans.cells(backend) if cell[0] in MODELS]
    family, method = chosen.draw(st.sampled_from(cells))
    paths = chosen.draw(st.lists(st.sampled_from(sorted(FREE)), max_size=25, unique=True))
    values = {path: chosen.draw(FREE[path], label=path) for path in paths}
    draft = good(family, method).with_values(Source.USER, values)
    for _ in range(MOST_FIXES):
        fixable = [each for each in draft.problems(backend) if each.fix and each.fix.changes]
        if not fixable:
            return
        draft = draft.with_values(Source.USER, fixable[0].fix.changes)
        left = {(each.path, each.message) for each in draft.problems(backend)}
        assert (fixable[0].path, fixable[0].message) not in left, f"{fixable[0]} is not mended by its fix"
    pytest.fail(f"there is no end of fixes: {draft.problems(backend)}")

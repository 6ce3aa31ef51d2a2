"""Every core rule reports its Problem, its fix solves the Problem, and it reports nothing for a valid plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import engine_plans, recorded_headers, rule_cases, rule_cases_dataset, rule_cases_parts
from tests.support.engine_trials import MODELS
from tests.support.rule_cases import Fires
from trainer_core import catalog
from trainer_core.datasets.scan import Dataset
from trainer_core.draft.checks import RULES, Case, choices, claimed, dataset, loading, memory, model, output
from trainer_core.draft.facts import Facts
from trainer_core.draft.layers import Draft, Source
from trainer_core.engines import contract, registry
from trainer_core.engines.seam import Backend
from trainer_core.models import detection, header
from trainer_core.plan import fields
from trainer_core.problems import Problem

KOHYA = registry.get("kohya")
CELLS = contract.cells(KOHYA)
FIRES = rule_cases.FIRES | rule_cases_dataset.FIRES | rule_cases_parts.FIRES
MOST_FIXES = 25


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Callable[[str], Path]:
    """Recorded headers as sparse files without weights."""
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def file(name: str) -> Path:
        if name not in made:
            made[name] = recorded_headers.write(name, folder)
        return made[name]

    return file


@pytest.fixture
def good(files, images: Dataset, tmp_path: Path) -> Callable[..., Draft]:
    """A draft without Problems, by family and method."""

    def draft(family: str = "sd15", method: str = "lora") -> Draft:
        parts = {f"model.{part}": str(files(name)) for part, name in MODELS[family].items()}
        values = {
            **parts,
            "model.method": method,
            "dataset.path": str(images.root),
            "dataset.trigger": "mika",
            "output.name": "portrait",
            "output.folder": str(tmp_path),
            **({"embedding.init_word": "cat"} if method == "textual_inversion" else {}),
            **({"optimizer.learning_rate": 1e-5} if method in ("full", "dreambooth") else {}),
            # Its recorded file is in fp16, and the engine would train the weights in that format.
            **({"memory.half_weights": True} if (family, method) == ("sd3", "full") else {}),
        }
        seen = detection.detect(header.read(parts["model.path"]))
        # Full finetuning takes more images than the others.
        enough = replace(images, images=images.images * 20) if method == "full" else images
        facts = Facts(engine_plans.machine(engine_plans.CARD), seen, enough)
        return Draft(facts).with_values(Source.USER, values)

    return draft


FIRES = rule_cases.FIRES | rule_cases_dataset.FIRES | rule_cases_parts.FIRES


def of_rule(rule: Callable[[Case], Any], draft: Draft, *, has_engine: bool = True) -> list[Problem]:
    draft = engine_plans.looked(draft)
    return list(rule(Case(draft.sketch(), draft.facts, KOHYA if has_engine else None)))


def changed(draft: Draft, case: Fires) -> Draft:
    return draft.with_values(Source.USER, case.values).with_facts(case.facts(draft.facts))


@pytest.mark.parametrize("name", FIRES)
def test_a_rule_reports_a_problem_and_its_fix_solves_it(good, name):
    case = FIRES[name]
    draft = changed(good(case.family), case)
    said = [each for each in of_rule(case.rule, draft, has_engine=case.has_engine) if each.path == case.path]
    assert [each.severity for each in said] == [case.severity]
    assert not of_rule(case.rule, good(case.family)), "it reports a valid plan, too"
    fix = said[0].fix
    assert (fix is not None and bool(fix.changes)) == case.has_fix
    assert (fix.task.tool if fix is not None and fix.task is not None else "") == case.tool
    if case.has_fix:
        fixed = draft.with_values(Source.USER, fix.changes)
        assert not fixed.value_problems()
        assert not of_rule(case.rule, fixed), "the fix does not solve it"


@pytest.mark.parametrize(
    ("dtype", "precision", "stops"),
    [("F16", "bf16", True), ("F16", "fp16", True), ("F16", "no", True), ("BF16", "bf16", False), ("BF16", "no", True)]
    + [("F32", precision, False) for precision in ("bf16", "fp16", "no")],
)
def test_a_model_is_not_trained_in_a_format_of_its_file_that_fails(good, dtype, precision, stops):
    """sd3_train.py trains the weights as they are in the file, unless half precision is on."""
    values = {"memory.mixed_precision": precision, "memory.half_weights": False}
    draft = good("sd3", "full").with_values(Source.USER, values)
    draft = draft.with_facts(replace(draft.facts, detection=replace(draft.facts.detection, dtype=dtype)))
    found = of_rule(memory.weights_of_file_can_be_trained, draft)
    assert [each.severity for each in found] == ["error"] * stops
    for each in found:
        assert not of_rule(memory.weights_of_file_can_be_trained, draft.with_values(Source.USER, each.fix.changes))


def test_every_rule_has_a_case():
    elsewhere = {
        dataset.batches_are_filled,
        memory.weights_of_file_can_be_trained,
        model.model_is_no_blind_link,
        output.output_is_new,
        choices.settings_are_read,
        choices.settings_suit_model,
        # kohya reads every family from single files: see test_trainable.py.
        model.single_files_are_read,
        # Of kohya's claims none says any of this: see test_simpletuner_claims.py.
        claimed.family_is_proved,
        claimed.notes_are_read,
        claimed.settings_are_not_replaced,
    }
    assert {case.rule for case in FIRES.values()} | elsewhere == set(RULES)


@pytest.mark.parametrize(("family", "method"), CELLS)
def test_no_rule_reports_a_valid_plan(good, family, method):
    draft = good(family, method)
    # That one tells what follows from the names that the engine writes, whatever the plan: see test_foreseen.py.
    rules = [rule for rule in RULES if rule is not loading.programs_load_the_result]
    assert [each for rule in rules for each in of_rule(rule, draft)] == []


def test_a_link_with_another_extension_than_its_target_is_reported(good, files, tmp_path):
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


def test_a_folder_without_a_component_that_it_lists_is_reported(good):
    draft = good()
    assert list(of_rule(model.model_is_known, draft)) == []
    facts = replace(draft.facts, detection=replace(draft.facts.detection, lacking=("text_encoder", "vae")))
    (found,) = of_rule(model.model_is_known, draft.with_facts(facts))
    assert found.severity == "error"
    assert "lists text_encoder and vae" in found.message
    (found,) = of_rule(model.model_is_known, draft.with_facts(facts).with_values(Source.USER, {"model.vae": "/mine"}))
    assert "lists text_encoder, and" in found.message


def test_an_existing_file_with_the_same_name_is_reported(good, tmp_path):
    assert of_rule(output.output_is_new, good()) == []
    (tmp_path / "portrait.safetensors").touch()
    assert [each.severity for each in of_rule(output.output_is_new, good())] == ["info"]


def test_a_nearly_full_disk_is_reported(good, monkeypatch):
    monkeypatch.setattr(output, "SPARE_DISK_BYTES", 2**62)
    assert [each.path for each in of_rule(output.folders_can_be_written, good())] == ["output.folder"]


@pytest.mark.parametrize(
    "path", [path for path in fields.all_fields() if path.startswith(("optimizer.", "schedule.", "network."))]
)
def test_settings_that_the_chosen_entry_does_not_read_are_reported(good, path):
    """Each setting of the catalogue, with every choice: it is read, or reported to have no effect, and its fix solves that."""
    section, _, setting = path.partition(".")
    chooser, entries = {
        "optimizer": ("optimizer.name", catalog.optimizers()),
        "schedule": ("schedule.scheduler", catalog.schedulers()),
        "network": ("network.algorithm", catalog.algorithms()),
    }[section]
    if path == chooser or not any(setting in entry.settings for entry in entries.values()):
        return
    for name, entry in entries.items():
        value = contract.other_value(fields.all_fields()[path])
        draft = good().with_values(Source.USER, {chooser: name, path: value})
        said = [each for each in of_rule(choices.settings_are_read, draft) if each.path == path]
        always = path == "schedule.warmup_steps"  # what a warm-up does with such a schedule is checked by the engine
        assert bool(said) == (setting not in entry.settings and not always), (name, said)
        for problem in said:
            fixed = draft.with_values(Source.USER, problem.fix.changes)
            assert path not in {each.path for each in of_rule(choices.settings_are_read, fixed)}


@pytest.mark.parametrize(
    ("family", "values", "severity"),
    [
        ("flux", {"schedule.min_snr_gamma": 5.0}, "warning"),
        ("flux", {"schedule.noise_offset": 0.1}, "warning"),
        ("sd15", {"schedule.flow_shift": 3.0}, "warning"),
        ("sd15", {"memory.blocks_to_swap": 3}, "warning"),
        ("sdxl", {"model.clip_skip": 2}, "warning"),
        ("flux", {"network.conv_rank": 4, "network.algorithm": "lokr"}, "warning"),
        ("sd15", {"optimizer.text_encoder_learning_rate": 1e-3}, "info"),
        ("sd15", {"schedule.min_snr_gamma": 5.0, "model.clip_skip": 2}, ""),
        ("flux", {"schedule.flow_shift": 3.0, "memory.blocks_to_swap": 3}, ""),
        ("sd15", {"network.conv_rank": 4, "network.algorithm": "lokr"}, ""),
        ("sd15", {"optimizer.text_encoder_learning_rate": 1e-3, "network.train_text_encoder": True}, ""),
        ("sd15", {"model.zero_terminal_snr": True}, ""),
    ],
)
def test_settings_that_do_not_suit_the_model_are_reported(good, family, values, severity):
    """By their declaration: for other prediction types, not supported by the engine, or without the setting they need."""
    draft = good(family).with_values(Source.USER, values)
    said = of_rule(choices.settings_suit_model, draft)
    path = next(iter(values))
    assert [(each.path, each.severity) for each in said] == ([(path, severity)] if severity else [])
    for problem in said:
        assert not of_rule(choices.settings_suit_model, draft.with_values(Source.USER, problem.fix.changes))


def any_value(found: fields.SettingField) -> st.SearchStrategy[Any]:
    """Any value that the declaration of a setting allows, except paths and free text."""
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
    """For any values: each fix solves its Problem, and after a few fixes no Problem with a fix is left."""
    backend = registry.get(engine)
    cells = [cell for cell in contract.cells(backend) if cell[0] in MODELS]
    family, method = chosen.draw(st.sampled_from(cells))
    paths = chosen.draw(st.lists(st.sampled_from(sorted(FREE)), max_size=25, unique=True))
    values = {path: chosen.draw(FREE[path], label=path) for path in paths}
    accept_fixes(good(family, method).with_values(Source.USER, values), backend)


@pytest.mark.parametrize(
    ("engine", "values"),
    [
        ("simpletuner", {"schedule.scheduler": "sine", "schedule.steps": 1, "dataset.bucket_step": 8}),
        ("kohya", {"optimizer.name": "ProdigyPlusScheduleFree", "schedule.scheduler": "warmup_stable_decay"}),
    ],
)
def test_accepting_fixes_comes_to_an_end_where_it_once_did_not(good, engine, values):
    """Found by the test above: a fix for one rule broke another, whose fix broke the first one again."""
    accept_fixes(good("sdxl").with_values(Source.USER, values), registry.get(engine))


def accept_fixes(draft: Draft, backend: Backend) -> None:
    """Accepts the first fix until no Problem has one. Each fix must solve its Problem."""
    for _ in range(MOST_FIXES):
        draft = engine_plans.looked(draft)
        fixable = [each for each in draft.problems(backend) if each.fix and each.fix.changes]
        if not fixable:
            return
        draft = draft.with_values(Source.USER, fixable[0].fix.changes)
        left = {(each.path, each.message) for each in draft.problems(backend)}
        assert (fixable[0].path, fixable[0].message) not in left, f"{fixable[0]} is not solved by its fix"
    pytest.fail(f"the fixes do not come to an end: {draft.problems(backend)}")

"""Every core rule speaks where it should, its fix mends what it speaks of, and it is silent about a good plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backends import engine_plans
from tests.backends.engine_trials import MODELS
from tests.core import recorded_headers
from trainer_core import catalog, detection, header, registry
from trainer_core.datasets.scan import Dataset
from trainer_core.hardware import Accelerator
from trainer_core.plan import fields
from trainer_core.plan.draft import Draft, Source
from trainer_core.plan.facts import Facts
from trainer_core.plan.rules import RULES, Case, choices, course, data, memory, model, output
from trainer_core.problems import Problem

KOHYA = registry.get("kohya")
CELLS = engine_plans.cells(KOHYA)
OLD_CARD = Accelerator("cuda", "an old card", 8 * engine_plans.GIB, 7 * engine_plans.GIB, "7.5")
OPTIMIZER_FAILS = {"optimizers": {"kohya": {"Lion": {"ok": False, "reason": "no such package"}}}}
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


@dataclass(frozen=True)
class Fires:
    """A rule, what is changed in a good draft so that it speaks, and what it says.

    `facts` are changes of the facts, made from the draft's own; `mends`: whether a fix is offered.
    """

    rule: Callable[[Case], Any]
    path: str
    severity: str
    values: Mapping[str, Any] = field(default_factory=dict)
    family: str = "sd15"
    facts: Callable[[Facts], Facts] = lambda facts: facts
    mends: bool = True
    has_engine: bool = True


def seen(**changes: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, detection=replace(facts.detection, **changes))


def machine(**changes: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, machine=replace(facts.machine, **changes))


def captions(*texts: str | None) -> Callable[[Facts], Facts]:
    def change(facts: Facts) -> Facts:
        shown = zip(facts.dataset.pictures, texts, strict=True)
        return replace(
            facts,
            dataset=replace(facts.dataset, pictures=tuple(replace(each, caption=text) for each, text in shown)),
        )

    return change


def without(name: str) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, **{name: None})


TI = {"model.method": "textual_inversion", "embedding.init_word": "cat"}
ADAPTS = {"optimizer.name": "Prodigy", "optimizer.learning_rate": 1.0}
STABLE = {"schedule.scheduler": "warmup_stable_decay", "schedule.steps": 100}
FIRES = {
    "no model": Fires(model.model_is_known, "model.path", "error", {"model.path": ""}, mends=False),
    "a model that is gone": Fires(
        model.model_is_known, "model.path", "error", {"model.path": "/nowhere/x.safetensors"}, mends=False
    ),
    "a file nobody knows": Fires(model.model_is_known, "model.path", "error", facts=without("detection"), mends=False),
    "a LoRA as a model": Fires(model.model_is_known, "model.path", "error", facts=seen(role="lora"), mends=False),
    "another family": Fires(model.model_is_known, "model.family", "error", {"model.family": "sdxl"}),
    "another prediction": Fires(
        model.model_is_known,
        "model.prediction",
        "error",
        {"model.prediction": "v_prediction"},
        facts=seen(prediction="epsilon", is_prediction_certain=True),
    ),
    "names with a prefix": Fires(
        model.names_are_read, "model.path", "error", family="flux", facts=seen(prefix="odd."), mends=False
    ),
    "a file by another ending": Fires(
        model.files_are_safetensors, "model.path", "error", {"model.path": __file__}, mends=False
    ),
    "a folder where a file is read": Fires(
        model.folders_are_read, "model.path", "error", {"model.path": "/"}, family="flux", mends=False
    ),
    "native settings of nobody": Fires(
        choices.native_tables_are_read, "native.khoya", "error", {"native": {"khoya": {}}}, mends=False
    ),
    "native settings of another engine": Fires(
        choices.native_tables_are_read, "native.simpletuner", "info", {"native": {"simpletuner": {"a": 1}}}, mends=False
    ),
    "a part too many": Fires(model.parts_are_there, "model.clip_l", "warning", {"model.clip_l": "/a/clip.safetensors"}),
    "a part that is gone": Fires(model.parts_are_there, "model.vae", "error", {"model.vae": "/a/vae.safetensors"}),
    "a part too few": Fires(
        model.parts_are_there, "model.clip_l", "error", {"model.clip_l": ""}, family="flux", mends=False
    ),
    "half a model": Fires(model.model_is_whole, "model.path", "error", facts=seen(role="diffusion_model"), mends=False),
    "a name that is no UTF-8": Fires(
        model.paths_are_readable_by_engines, "model.path", "error", {"model.path": "/a/\udce4.safetensors"}, mends=False
    ),
    "no engine": Fires(model.engine_claims_family, "model.family", "error", has_engine=False, mends=False),
    "a family of others": Fires(
        model.engine_claims_family, "model.family", "error", {"model.family": "pixart"}, mends=False
    ),
    "a method of others": Fires(
        model.engine_claims_method, "model.method", "error", {"model.method": "full"}, family="chroma"
    ),
    "no dataset": Fires(data.dataset_is_usable, "dataset.path", "error", {"dataset.path": ""}, mends=False),
    "an unread dataset": Fires(data.dataset_is_usable, "dataset.path", "error", facts=without("dataset"), mends=False),
    "what the scan found": Fires(
        data.dataset_is_usable,
        "dataset.path",
        "error",
        facts=lambda facts: replace(
            facts, dataset=replace(facts.dataset, problems=(Problem("dataset.path", "error", "No pictures."),))
        ),
        mends=False,
    ),
    "a word that means something": Fires(
        data.trigger_is_good, "dataset.trigger", "warning", {"dataset.trigger": "girl"}, mends=False
    ),
    "no word": Fires(data.trigger_is_good, "dataset.trigger", "warning", {"dataset.trigger": ""}, mends=False),
    "no word and no captions": Fires(
        data.trigger_is_good,
        "dataset.trigger",
        "error",
        {"dataset.trigger": " "},
        facts=captions(None, "a", "b"),
        mends=False,
    ),
    "a beginning of nothing": Fires(
        data.embedding_has_a_beginning, "embedding.init_word", "warning", {"embedding.vectors": 8}
    ),
    "two new words": Fires(
        data.embedding_has_a_beginning,
        "dataset.trigger",
        "error",
        {**TI, "dataset.trigger": "mika, picture"},
        mends=False,
    ),
    "no caption with the new word": Fires(
        data.embedding_has_a_beginning, "dataset.trigger", "error", {**TI, "dataset.trigger": "zwx"}, mends=False
    ),
    "a caption without the new word": Fires(
        data.embedding_has_a_beginning,
        "dataset.trigger",
        "warning",
        TI,
        facts=captions("mika", None, "a cat"),
        mends=False,
    ),
    "no beginning": Fires(
        data.embedding_has_a_beginning,
        "embedding.init_word",
        "warning",
        {**TI, "embedding.init_word": ""},
        mends=False,
    ),
    "no name": Fires(output.name_is_good, "output.name", "error", {"output.name": " "}, mends=False),
    "a name no system takes": Fires(output.name_is_good, "output.name", "error", {"output.name": "a/b:c?"}),
    "a prefix no system takes": Fires(output.name_is_good, "output.prefix", "error", {"output.prefix": "a\\"}),
    "a long name": Fires(
        output.name_is_good, "output.prefix", "error", {"output.prefix": "a" * 70, "output.name": "b" * 70}
    ),
    "no folder for a copy": Fires(
        output.folders_can_be_written, "output.copy_to", "error", {"output.copy_to": "/nowhere/loras"}
    ),
    "a folder that is a file": Fires(
        output.folders_can_be_written, "output.folder", "error", {"output.folder": str(Path(__file__) / "out")}
    ),
    "an optimizer of others": Fires(
        choices.engine_has_what_is_chosen, "optimizer.name", "error", {"optimizer.name": "SOAP"}
    ),
    "a schedule of others": Fires(
        choices.engine_has_what_is_chosen, "schedule.scheduler", "error", {"schedule.scheduler": "sine"}
    ),
    "an algorithm of others": Fires(
        choices.engine_has_what_is_chosen,
        "network.algorithm",
        "error",
        {"network.algorithm": "dylora"},
        family="flux",
    ),
    "an optimizer that failed": Fires(
        choices.optimizer_works_here,
        "optimizer.name",
        "error",
        {"optimizer.name": "Lion"},
        facts=machine(probes=OPTIMIZER_FAILS),
    ),
    "bf16 on an old card": Fires(
        memory.precision_suits_card, "memory.mixed_precision", "warning", facts=machine(accelerators=(OLD_CARD,))
    ),
    "too many blocks": Fires(
        memory.blocks_can_be_swapped, "memory.blocks_to_swap", "error", {"memory.blocks_to_swap": 36}, family="flux"
    ),
    "too many blocks of a variant": Fires(
        memory.blocks_can_be_swapped, "memory.blocks_to_swap", "error", {"memory.blocks_to_swap": 23}, family="sd3"
    ),
    "too many blocks by one method": Fires(
        memory.blocks_can_be_swapped,
        "memory.blocks_to_swap",
        "error",
        {"memory.blocks_to_swap": 25},
        family="lumina2",
    ),
    "a warm-up without end": Fires(
        course.schedule_fits, "schedule.warmup_steps", "error", {"schedule.steps": 5, "schedule.warmup_steps": 5}
    ),
    "samples after the end": Fires(
        course.schedule_fits, "sampling.every_steps", "warning", {"schedule.steps": 5, "sampling.every_steps": 6}
    ),
    "checkpoints after the end": Fires(
        course.schedule_fits, "output.save_every_steps", "warning", {"schedule.steps": 5, "output.save_every_steps": 6}
    ),
    "half a latent pixel": Fires(
        course.samples_can_be_drawn, "sampling.width", "error", {"sampling.width": 67, "sampling.every_steps": 5}
    ),
    "a rate that burns": Fires(
        course.learning_rate_suits_optimizer, "optimizer.learning_rate", "warning", {"optimizer.learning_rate": 1.0}
    ),
    "a rate that burns a model": Fires(
        course.learning_rate_suits_optimizer,
        "optimizer.learning_rate",
        "warning",
        {"model.method": "full", "optimizer.learning_rate": 0.005},
    ),
    "a small rate for one that adapts": Fires(
        course.learning_rate_suits_optimizer,
        "optimizer.learning_rate",
        "error",
        {**ADAPTS, "optimizer.learning_rate": 1e-4},
    ),
    "a curve for one that is free of it": Fires(
        course.learning_rate_suits_optimizer,
        "schedule.scheduler",
        "warning",
        {"optimizer.name": "AdamWScheduleFree", "schedule.warmup_steps": 10},
    ),
    "no decay": Fires(course.curve_fits_scheduler, "schedule.decay_steps", "error", STABLE),
    "a decay too long": Fires(
        course.curve_fits_scheduler, "schedule.decay_steps", "error", {**STABLE, "schedule.decay_steps": 101}
    ),
}


def of_rule(rule: Callable[[Case], Any], draft: Draft, *, has_engine: bool = True) -> list[Problem]:
    return list(rule(Case(draft._plan(), draft.facts, KOHYA if has_engine else None)))


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
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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

"""Several sample prompts: as data, as text, and with the values that an engine gets."""

from __future__ import annotations

import json
import tomllib

import hypothesis.strategies as st
import pytest
import tomli_w
from hypothesis import given

from trainer_core.draft.checks import Case, schedule
from trainer_core.draft.facts import Facts
from trainer_core.draft.layers import Draft, Source
from trainer_core.draft.relevance import Scope
from trainer_core.engines.contract import MACHINE, plan_for
from trainer_core.plan import fields, prompts, samples
from trainer_core.plan.sections import TrainingPlan
from trainer_core.profiles import exporting, shelf

PATH = "sampling.prompts"
TWO = ({"text": "{trigger}, portrait"}, {"text": "a castle", "width": 768, "seed": 7, "negative_prompt": "fog"})
ONE_LINE = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=30)
TABLES = st.fixed_dictionaries(
    {"text": ONE_LINE},
    optional={
        "negative_prompt": ONE_LINE,
        "width": st.integers(64, 4096),
        "height": st.integers(64, 4096),
        "inference_steps": st.integers(1, 150),
        "guidance": st.floats(0, 50),
        "seed": st.integers(0, 2**31 - 1),
    },
)


def test_one_prompt_is_a_list_of_one_with_the_shared_values():
    plan = plan_for("sdxl", sampling__prompt="{trigger}, smiling", sampling__seed=3, sampling__width=640)
    (only,) = plan.sample_prompts
    assert (only.index, only.text, only.width, only.seed) == (0, "mika, smiling", 640, 3)


def test_what_a_prompt_does_not_set_is_shared():
    first, second = plan_for("sdxl", sampling__prompts=TWO, sampling__width=1024, sampling__seed=5).sample_prompts
    assert (first.text, first.width, first.seed, first.negative_prompt) == ("mika, portrait", 1024, 5, "")
    assert (second.text, second.width, second.seed, second.negative_prompt) == ("a castle", 768, 7, "fog")


def test_a_prompt_without_the_trigger_word_is_recognised():
    def said(text: str) -> bool:
        return plan_for("sdxl", sampling__prompts=({"text": text},)).sample_prompts[0].has_trigger

    assert [said("{trigger}, a"), said("photo of Mika."), said("a mikado"), said("a castle")] == [
        True,
        True,
        False,
        False,
    ]


def test_texts_alone_are_prompts_too():
    plan = TrainingPlan.model_validate(tomllib.loads('[sampling]\nprompts = ["one", "two"]'))
    assert [prompt.text for prompt in plan.sample_prompts] == ["one", "two"]


def test_a_plan_survives_toml_and_json():
    plan = plan_for("sdxl", sampling__prompts=TWO)
    tables = plan.model_dump(exclude_none=True)
    for read in (tomllib.loads(tomli_w.dumps(tables)), json.loads(json.dumps(tables))):
        assert TrainingPlan.model_validate(read) == plan
        assert fields.flatten(read)[PATH] == TWO


def test_a_plan_without_prompts_opens_as_before():
    plan = TrainingPlan.model_validate({"sampling": {"prompt": "old"}})
    assert [prompt.text for prompt in plan.sample_prompts] == ["old"]


@given(st.lists(TABLES, max_size=5))
def test_prompts_survive_their_text(tables: list[dict[str, object]]):
    value, sentence = fields.check(PATH, tables)
    assert not sentence
    assert fields.from_text(PATH, fields.to_text(PATH, value)) == (value, "")


def test_a_line_has_the_options_of_sd_scripts():
    text = "{trigger}, a hat\n\na castle --w 768 --h 512 --s 30 --l 3.5 --d 7 --n fog, rain"
    first, second = fields.from_text(PATH, text)[0]
    assert first == {"text": "{trigger}, a hat"}
    expected = {"text": "a castle", "negative_prompt": "fog, rain", "width": 768, "height": 512, "inference_steps": 30}
    assert second == {**expected, "guidance": 3.5, "seed": 7}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([{"text": "a"}, {"text": "b", "width": 10}], "number 2: width"),
        ([{"text": "a", "size": 10}], "number 1: size"),
        ("a text", "list"),
        ([{"text": "a"}] * 33, "32"),
        ([5], "number 1"),
    ],
)
def test_a_wrong_prompt_is_named(value: object, words: str):
    sentence = fields.check(PATH, value)[1]
    assert words in sentence, sentence


@pytest.mark.parametrize(("text", "words"), [("a --x 5", "--x"), ("a --w big", "'big'"), ("[{", "JSON")])
def test_a_wrong_line_is_named(text: str, words: str):
    assert words in fields.from_text(PATH, text)[1]


def test_a_list_hides_the_one_prompt():
    draft = Draft(Facts(MACHINE)).with_values(Source.USER, {PATH: TWO})
    assert not Scope(draft.values).applies("sampling.prompt")
    assert Scope(Draft(Facts(MACHINE)).values).applies("sampling.prompt")


def problems(**values: object) -> dict[str, object]:
    plan = plan_for("sdxl", sampling=True, **values)
    found = [*schedule.prompts_are_used(Case(plan, Facts(MACHINE), None)), *_sides(plan)]
    return {problem.path: problem.fix.changes if problem.fix else None for problem in found}


def _sides(plan: TrainingPlan):
    return schedule.samples_can_be_drawn(Case(plan, Facts(MACHINE), None))


@pytest.mark.parametrize(
    ("layers", "is_said"),
    [
        ({Source.USER: {"sampling.prompt": "mine", PATH: TWO}}, True),
        ({Source.USER: {"sampling.prompt": "mine"}, Source.PROFILE: {PATH: TWO}}, True),
        ({Source.PROFILE: {"sampling.prompt": "its own"}, Source.USER: {PATH: TWO}}, False),
        ({Source.USER: {"sampling.prompt": "mine"}}, False),
    ],
)
def test_ones_own_prompt_that_a_list_replaces_is_reported(layers, is_said):
    draft = Draft(Facts(MACHINE), layers)
    assert ("sampling.prompt" in {problem.path for problem in draft.problems(None)}) == is_said


def test_a_plan_with_a_list_has_no_second_prompt():
    draft = Draft(Facts(MACHINE), {Source.PROFILE: {"sampling.prompt": "its own"}, Source.USER: {PATH: TWO}})
    assert draft.sketch().sampling.prompt == fields.all_fields()["sampling.prompt"].default
    assert draft.values["sampling.prompt"] == "its own"


def test_an_empty_prompt_is_reported_and_can_be_removed():
    assert problems(sampling__prompts=({"text": "a"}, {"text": " ,"})) == {PATH: {PATH: ({"text": "a"},)}}


def test_a_side_of_one_prompt_is_corrected_in_that_prompt():
    assert problems(sampling__prompts=({"text": "a"}, {"text": "b", "width": 500})) == {
        PATH: {PATH: ({"text": "a"}, {"text": "b", "width": 496})}
    }


def test_a_shared_side_that_no_prompt_uses_is_not_reported():
    own = {"text": "b", "width": 512}
    assert problems(sampling__prompts=(own,), sampling__width=500) == {}
    assert "sampling.width" in problems(sampling__prompts=(own, {"text": "c"}), sampling__width=500)


def test_a_value_is_replaced_wherever_it_is():
    sampling = plan_for("sdxl", sampling__prompts=({"text": "a", "seed": 0}, {"text": "b"}), sampling__seed=0).sampling
    assert samples.places_of(sampling, "seed", lambda seed: seed == 0) == ["sampling.seed", PATH]
    assert samples.replaced(sampling, "seed", 0, 1) == {
        "sampling.seed": 1,
        PATH: ({"text": "a", "seed": 1}, {"text": "b"}),
    }


def test_a_profile_has_the_prompts_without_the_trigger_word():
    job = plan_for(
        "sdxl",
        dataset__trigger="ohwx",
        sampling__prompts=({"text": "ohwx on a beach", "seed": 9}, {"text": "a castle"}),
    )
    profile = exporting.from_plan(job.model_dump(), title="Mine", wanted_id="mine").profile
    assert profile.settings[PATH] == ({"text": "{trigger} on a beach", "seed": 9}, {"text": "a castle"})
    assert shelf.loads(shelf.dumps(profile), "mine.toml").settings[PATH] == profile.settings[PATH]


def test_prompts_with_private_text_are_left_out_of_a_profile():
    job = plan_for("sdxl", sampling__prompts=({"text": "see /home/elena/x"},))
    draft = exporting.from_plan(job.model_dump(), title="Mine", wanted_id="mine")
    assert PATH not in draft.profile.settings
    assert any("Sample prompts was left out" in note for note in draft.notes)


def test_every_own_value_of_a_prompt_is_a_setting_too():
    for name in prompts.OWN:
        one, shared = prompts.SamplePrompt.model_fields[name], fields.all_fields()[f"sampling.{name}"]
        assert one.title == shared.title

"""Settings are declared once; everything else is derived from the declaration."""

import inspect
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_core.plan import fields, images, results, sections, subsets
from trainer_core.plan.sections import TrainingPlan

PATHS = sorted(fields.all_fields())


@pytest.mark.parametrize("path", PATHS)
def test_every_setting_has_a_title_and_a_short_tooltip(path):
    setting = fields.all_fields()[path]
    assert setting.title != path
    assert setting.doc, "a setting without a docstring has no tooltip"
    assert setting.doc.count(". ") <= 1, "at most two sentences"


@pytest.mark.parametrize("path", PATHS)
def test_every_default_is_within_its_bounds(path):
    value, sentence = fields.check(path, fields.all_fields()[path].default)
    assert sentence == ""
    assert value == fields.all_fields()[path].default


@pytest.mark.parametrize("path", PATHS)
def test_declarations_of_a_setting_are_consistent(path):
    known, setting = fields.all_fields(), fields.all_fields()[path]
    about = setting.about
    assert set(about.methods) <= set(known["model.method"].choices)
    assert set(about.predictions) <= set(known["model.prediction"].choices)
    assert not about.only_with or known[about.only_with].base_type in (bool, int, float, str)
    assert set(about.titles) <= set(setting.choices)
    assert not about.written or about.path
    assert not about.part or (setting.section == "model" and about.path)
    assert not about.policy or setting.is_shared
    assert about.policy or not about.card
    assert not about.empty or setting.base_type is str
    assert about.option.startswith("--") or not about.option


def test_no_two_settings_have_the_same_short_option():
    short = [setting.about.option for setting in fields.all_fields().values() if setting.about.option]
    assert len(short) == len(set(short))


def test_the_owner_of_a_setting():
    owners = {
        owner: {p for p in PATHS if fields.all_fields()[p].owner == owner} for owner in ("job", "person", "machine")
    }
    assert owners["job"] == {
        *(path for path in PATHS if path.startswith("model.") and path != "model.clip_skip"),
        *(
            "dataset.path",
            "dataset.trigger",
            "dataset.skip_unreadable",
            "dataset.subsets",
            "dataset.selection",
            "dataset.masks",
            "dataset.controls",
            "dataset.controls_2",
            "dataset.controls_3",
            "dataset.only_pairs",
            "dataset.class_path",
            "dataset.class_caption",
            "output.name",
            "output.prefix",
            "output.folder",
            "output.copy_to",
            "output.mirror_to",
            "output.keep_last",
        ),
        *(path for path in PATHS if path.startswith("guards.")),
    }
    assert owners["person"] == {"embedding.init_word"}
    assert owners["machine"] == {"memory.mixed_precision"}


def test_flat_and_nested_forms_are_the_same():
    nested = TrainingPlan().model_dump()
    assert fields.nest(fields.flatten(nested)) == nested


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("network.rank", 0),
        ("network.rank", True),
        ("network.rank", "16"),
        ("network.rank", 1.5),
        ("optimizer.learning_rate", math.nan),
        ("optimizer.learning_rate", math.inf),
        ("optimizer.name", "AdamWW"),
        ("memory.cache_latents", "false"),
        ("dataset.caption_extension", "../x"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_a_sentence(path, value):
    _, sentence = fields.check(path, value)
    assert fields.all_fields()[path].title in sentence


def test_whole_floats_and_integers_are_interchangeable():
    assert fields.check("network.rank", 16.0) == (16, "")
    value, sentence = fields.check("network.alpha", 8)
    assert (value, sentence) == (8.0, "")
    assert isinstance(value, float)


@given(
    path=st.sampled_from(PATHS),
    value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
)
def test_any_value_is_accepted_or_refused_and_an_accepted_one_makes_a_plan(path, value):
    checked, sentence = fields.check(path, value)
    if not sentence:
        TrainingPlan.model_validate(fields.nest({path: checked}))


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("network.rank", "16", 16),
        ("optimizer.learning_rate", "1e-4", 1e-4),
        ("memory.cache_latents", "off", False),
        ("output.name", "elena", "elena"),
    ],
)
def test_command_line_text_becomes_a_value(path, text, expected):
    assert fields.from_text(path, text) == (expected, "")


@given(path=st.sampled_from(PATHS), text=st.text())
def test_any_command_line_text_is_accepted_or_refused(path, text):
    _, sentence = fields.from_text(path, text)
    assert isinstance(sentence, str)


def test_a_tooltip_is_the_docstring_of_its_setting_and_not_of_what_follows_in_the_module():
    """The last setting of a module is followed by functions, whose docstrings are indented alike."""
    for classes in (sections, images, results, subsets):
        of_functions = {
            inspect.cleandoc(each.__doc__)
            for _, each in inspect.getmembers(classes, inspect.isfunction)
            if each.__doc__
        }
        wrong = [field.path for field in fields.all_fields().values() if field.doc in of_functions]
        assert not wrong

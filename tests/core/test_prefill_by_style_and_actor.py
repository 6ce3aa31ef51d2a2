"""What is prefilled for styles and for actors: the limits, and every environment variable that overrides them.

Source: the owner's document "LoRA Training Module" (seed 004).
"""

import pytest

from tests.support.policy_cases import prefilled
from trainer_core import policies

ACTORS = [
    (1, 4e-4, 800),
    (7, 4e-4, 800),
    (8, 4e-4, 800),
    (9, 4e-4, 900),
    (10, 4e-4, 1000),
    (11, 3e-4, 1100),
    (20, 3e-4, 2000),
    (21, 2.5e-4, 2100),
    (30, 2.5e-4, 3000),
    (31, 2.5e-4, 3000),
    (5000, 2.5e-4, 3000),
]
STYLES = [(1, 500), (9, 500), (10, 500), (11, 550), (15, 750), (39, 1950), (40, 2000), (41, 2000), (5000, 2000)]


@pytest.mark.parametrize(("images", "rate", "steps"), ACTORS)
def test_seed_004_actors(images, rate, steps):
    values = prefilled("actor", images).values
    assert (values["optimizer.learning_rate"], values["schedule.steps"]) == (rate, steps)


@pytest.mark.parametrize(("images", "steps"), STYLES)
def test_seed_004_styles(images, steps):
    values = prefilled("style", images).values
    assert (values["optimizer.learning_rate"], values["schedule.steps"]) == (4e-4, steps)


@pytest.mark.parametrize("policy", ["actor", "style"])
def test_seed_004_has_its_workflows_values(policy):
    values = prefilled(policy, 15).values
    assert (values["network.rank"], values["schedule.batch_size"], values["dataset.repeats"]) == (16, 2, 10)
    assert values["output.save_precision"] == "bf16"


def test_its_steps_are_optimizer_steps_and_said_to_be():
    one, many = prefilled("style", 20), prefilled("style", 20, schedule__gradient_accumulation=4)
    assert one.values["schedule.steps"] == many.values["schedule.steps"] == 1000
    assert "1000 optimizer steps" in many.message
    assert (one.epochs, many.epochs) == (10, 40)


OVERRIDES = [
    ("style", "SB_HP_STYLE_LR", "0.0005", 20, "optimizer.learning_rate", 5e-4),
    ("style", "SB_HP_STYLE_SPI", "60", 20, "schedule.steps", 1200),
    ("style", "SB_HP_STYLE_MIN", "700", 5, "schedule.steps", 700),
    ("style", "SB_HP_STYLE_MAX", "900", 50, "schedule.steps", 900),
    ("actor", "SB_HP_ACTOR_LR_T1", "1e-4", 10, "optimizer.learning_rate", 1e-4),
    ("actor", "SB_HP_ACTOR_LR_T2", ".00015", 11, "optimizer.learning_rate", 1.5e-4),
    ("actor", "SB_HP_ACTOR_LR_T3", " 2e-4 ", 21, "optimizer.learning_rate", 2e-4),
    ("actor", "SB_HP_ACTOR_T1_MAX", "12", 12, "optimizer.learning_rate", 4e-4),
    ("actor", "SB_HP_ACTOR_T2_MAX", "25", 25, "optimizer.learning_rate", 3e-4),
    ("actor", "SB_HP_ACTOR_SPI", "50", 20, "schedule.steps", 1000),
    ("actor", "SB_HP_ACTOR_MIN", "1000", 3, "schedule.steps", 1000),
    ("actor", "SB_HP_ACTOR_MAX", "2500", 40, "schedule.steps", 2500),
]


def test_every_override_of_the_document_is_tested():
    known = {name for policy in ("actor", "style") for name in policies.get(policy).environment}
    assert known == {name for _, name, *_ in OVERRIDES}
    assert len(known) == 12


@pytest.mark.parametrize(
    ("policy", "name", "text", "images", "path", "value"), OVERRIDES, ids=[o[1] for o in OVERRIDES]
)
def test_seed_004_overrides(policy, name, text, images, path, value):
    before, after = prefilled(policy, images), prefilled(policy, images, {name: text})
    assert after.values[path] == value != before.values[path]
    assert after.notes == before.notes
    assert name in after.reasons[path]


BAD = ["abc", "-1", "0", "nan", "inf", "1e999", "0x10", "1_000", "\u0661\u0662", "1;2", "$(id)", "1" * 400, "50.5"]


@pytest.mark.parametrize(("policy", "name"), [(o[0], o[1]) for o in OVERRIDES], ids=[o[1] for o in OVERRIDES])
def test_a_bad_value_is_refused_by_name_and_the_default_stands(policy, name):
    before = prefilled(policy, 15)
    for text in BAD:
        after = prefilled(policy, 15, {name: text})
        (note,) = [note for note in after.notes if note not in before.notes]
        assert note.severity == "warning"
        assert f"{name} is '{text[:60]}" in note.message
        assert "must be a" in note.message
        assert "is used" in note.message
        assert len(note.message) < 250
        assert after.values == before.values


def test_a_variable_is_shown_as_text():
    (note,) = prefilled("style", 15, {"SB_HP_STYLE_SPI": "\x1b[31m5\u202e0"}).notes
    assert "\x1b" not in note.message
    assert "\u202e" not in note.message
    assert "\\u001b" in note.message


@pytest.mark.parametrize(("name", "text"), [("SB_HP_STYLE_LR", ""), ("SB_HP_STYLE_SPI", "  "), ("SB_HP_OTHER", "9")])
def test_an_empty_or_foreign_variable_changes_nothing(name, text):
    assert prefilled("style", 15, {name: text}) == prefilled("style", 15)


@pytest.mark.parametrize(
    ("variables", "named", "defaults"),
    [
        ({"SB_HP_ACTOR_T1_MAX": "20"}, "SB_HP_ACTOR_T1_MAX (20) must be below SB_HP_ACTOR_T2_MAX (20)", "10 and 20"),
        ({"SB_HP_ACTOR_T1_MAX": "30", "SB_HP_ACTOR_T2_MAX": "25"}, "(30) must be below SB_HP_ACTOR_T2_MAX (25)", "10 and 20"),
        ({"SB_HP_ACTOR_T2_MAX": "10"}, "SB_HP_ACTOR_T1_MAX (10) must be below SB_HP_ACTOR_T2_MAX (10)", "10 and 20"),
        ({"SB_HP_ACTOR_MIN": "4000"}, "SB_HP_ACTOR_MIN (4000) must be at most SB_HP_ACTOR_MAX (3000)", "800 and 3000"),
    ],
)  # fmt: skip
def test_limits_that_contradict_each_other_are_refused_and_the_defaults_stand(variables, named, defaults):
    for images in (10, 11, 20, 21, 25, 30):
        found = prefilled("actor", images, variables)
        (note,) = found.notes
        assert named in note.message
        assert f"{defaults} are used" in note.message
        assert found.values == prefilled("actor", images).values


def test_equal_limits_of_steps_make_a_fixed_number():
    assert prefilled("style", 3, {"SB_HP_STYLE_MIN": "900", "SB_HP_STYLE_MAX": "900"}).values["schedule.steps"] == 900

"""Prefill policies: what each contains, bounds and order for every case, auto-adjust and undo, the community's rules."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import engine_plans
from tests.support.policy_cases import CARD, draft, prefilled, with_policy
from trainer_core import places, policies
from trainer_core.catalog import presets
from trainer_core.draft.layers import Source
from trainer_core.engines import registry
from trainer_core.errors import PolicyError
from trainer_core.models.families import load_families
from trainer_core.plan import fields
from trainer_core.policies import PolicyCase, environment
from trainer_core.problems import blocking

EVERY = list(policies.shipped())
STEPS, WARMUP, REPEATS = "schedule.steps", "schedule.warmup_steps", "dataset.repeats"


@pytest.mark.parametrize("name", EVERY)
def test_a_policy_says_what_it_is_for_and_where_it_comes_from(name):
    policy = policies.get(name)
    assert policy.title
    assert policy.explanation
    assert policy.sources
    assert set(policy.families) <= set(load_families())
    assert set(policy.reasons) <= set(policy.settings)
    assert policy.owns
    assert all(fields.all_fields()[path].is_shared for path in policy.owns)
    for variable in policy.environment:
        assert policies.values(policy, PolicyCase(5, environment={variable: "7"})).values, "its target is there"


def trained_by():
    for name in EVERY:
        for family in policies.get(name).families or ["sd15", "sdxl", "flux"]:
            for engine in registry.available():
                if family in engine.manifest.families:
                    yield pytest.param(name, family, engine, id=f"{name}-{family}-{engine.manifest.id}")


@pytest.mark.parametrize(("name", "family", "engine"), list(trained_by()))
def test_what_a_policy_sets_can_be_trained_or_has_a_fix_of_one_click(name, family, engine):
    claim = engine.manifest.families[family]
    values = dict(prefilled(name, 25).values)
    values |= {f"model.{part}": f"/models/{part}" for part in claim.parts if part not in claim.optional_parts}
    ignored = {f"model.{part}" for part in claim.parts} | {"model.path", "dataset.path"}

    def stopping():
        plan = engine_plans.plan(family, **{path.replace(".", "__"): value for path, value in values.items()})
        return blocking(p for p in engine_plans.problems(engine, plan) if p.path not in ignored)

    for problem in stopping():
        assert problem.fix is not None, problem.message
        values |= problem.fix.changes
    assert stopping() == ()


CASES = {
    "name": st.sampled_from(EVERY),
    "images": st.integers(1, 5000),
    "batch": st.integers(1, 256),
    "accumulation": st.integers(1, 1024),
}
USERS = st.fixed_dictionaries(
    {},
    optional={
        STEPS: st.integers(1, 1_000_000),
        REPEATS: st.integers(1, 1000),
        WARMUP: st.integers(0, 1000),
        "network.rank": st.integers(1, 1024),
        "optimizer.learning_rate": st.floats(1e-7, 1e-2),
        "optimizer.name": st.sampled_from(fields.all_fields()["optimizer.name"].choices),
        "schedule.scheduler": st.sampled_from(fields.all_fields()["schedule.scheduler"].choices),
    },
)


@settings(max_examples=200, deadline=None)
@given(**CASES, user=USERS)
def test_every_case_is_within_bounds_and_leaves_the_users_values(name, images, batch, accumulation, user):
    mine = {"schedule.batch_size": batch, "schedule.gradient_accumulation": accumulation, **user}
    policy = policies.get(name)
    found = policies.values(policy, PolicyCase(images, mine))
    whole = {**found.values, **mine}
    assert {path: text for path, value in found.values.items() if (text := fields.check(path, value)[1])} == {}
    assert not set(found.values) & set(mine)
    assert set(found.values) <= found.owns == policy.owns
    assert set(found.reasons) == set(found.values)
    if WARMUP in found.values:
        assert found.values[WARMUP] < whole[STEPS]
    if policy.steps and policy.steps.epochs and found.values.get(STEPS, 1_000_000) < 1_000_000:
        one_step = batch * accumulation / (images * whole[REPEATS])
        assert found.epochs is not None
        assert policy.steps.epochs <= found.epochs < policy.steps.epochs + one_step + 1e-9


@settings(max_examples=100, deadline=None)
@given(**CASES, more=st.integers(1, 200))
def test_more_images_never_mean_fewer_steps_more_repeats_or_a_higher_rate(name, images, batch, accumulation, more):
    at_once = {"schedule.batch_size": batch, "schedule.gradient_accumulation": accumulation}
    few, many = (
        policies.values(policies.get(name), PolicyCase(count, at_once)).values for count in (images, images + more)
    )
    # Repeats are whole numbers, so an epoch can be longer for 20 images than for 21: steps counted in epochs need not rise.
    if STEPS in few and not (policies.get(name).steps and policies.get(name).steps.epochs):
        assert few[STEPS] <= many[STEPS]
    if REPEATS in few:
        assert few[REPEATS] >= many[REPEATS]
    if name == "actor":
        assert few["optimizer.learning_rate"] >= many["optimizer.learning_rate"]


@settings(max_examples=100, deadline=None)
@given(**CASES, other=st.integers(1, 5000), user=USERS)
def test_a_recomputed_draft_depends_on_the_new_case_only(name, images, batch, accumulation, other, user):
    """No value of an earlier dataset or policy remains, and the user's layer is never changed."""
    mine = {"schedule.batch_size": batch, "schedule.gradient_accumulation": accumulation, **user}
    before = draft(images).with_values(Source.USER, mine)
    there = with_policy(name, before)
    moved = with_policy(name, there.with_facts(draft(other).facts))
    back = with_policy(name, moved.with_facts(before.facts))
    assert back == there
    assert back.layers[Source.USER] == mine
    assert with_policy("repeats-lora-scripts", there) == with_policy("repeats-lora-scripts", before)


@pytest.mark.parametrize("images", [0, -3])
def test_without_images_a_policy_sets_nothing_and_says_why(images):
    found = prefilled("flux-guide", images)
    assert (found.values, found.epochs) == ({}, None)
    assert "choose a dataset" in found.message
    assert [note.severity for note in found.notes] == ["info"]


def test_for_another_method_it_sets_nothing_and_for_another_family_it_warns():
    policy = policies.get("flux-guide")
    full = policies.values(policy, PolicyCase(25, family="flux", method="full"))
    assert full.values == {}
    assert "not for full" in full.message
    other = policies.values(policy, PolicyCase(25, family="sdxl", method="lora"))
    assert other.values == policies.values(policy, PolicyCase(25)).values
    assert [note.message for note in other.notes] == [
        "Low rates and few repeats, by the number of images is for flux, not for sdxl."
    ]


def test_an_invalid_value_of_the_user_is_ignored():
    found = prefilled("flux-guide", 25, schedule__steps="many", schedule__batch_size=-1, optimizer__name="Magic")
    assert found.values[STEPS] == 2000
    assert found.values[WARMUP] == 400
    assert found.epochs == 40


def test_a_value_that_overrides_the_policy_is_marked_in_its_message():
    message = prefilled("flux-guide", 25, schedule__steps=1000).message
    assert "1000 optimizer steps as set" in message
    assert "warm-up 200 steps, about 20 epochs" in message


def test_an_optimizer_with_a_learning_rate_or_schedule_of_its_own_keeps_it():
    prodigy = prefilled("flux-guide", 25, optimizer__name="Prodigy").values
    assert prodigy["optimizer.learning_rate"] == 1.0
    free = prefilled("flux-guide", 25, optimizer__name="AdamWScheduleFree").values
    assert (free["schedule.scheduler"], free[WARMUP]) == ("constant", 400)


def test_with_many_images_per_step_a_note_says_that_fewer_steps_are_enough():
    memory = presets.get("low-memory").values
    card = {path: memory[path] for path in ("schedule.batch_size", "schedule.gradient_accumulation")}
    (note,) = policies.values(policies.get("flux-guide"), PolicyCase(25, card)).notes
    assert "use 32000 images here, 16 per step" in note.message
    assert "125 use as many" in note.message
    assert prefilled("flux-guide", 25, schedule__batch_size=4).notes == ()


@pytest.mark.parametrize("preset", ["flux-16", "flux-24", "low-memory", "high-memory"])
def test_batch_accumulation_and_optimizer_come_from_the_memory_preset_and_the_rest_from_the_policy(preset):
    card = {**CARD, **presets.get(preset).values_for("flux")}
    found = policies.recompute(policies.get("style-002"), draft(30), card, {})
    whole = policies.layered(card, found)
    for path in ("schedule.batch_size", "schedule.gradient_accumulation", "optimizer.name", "dataset.resolution"):
        assert whole.get(path) == card.get(path, found.values.get(path)), path
    assert (whole[STEPS], whole["network.rank"]) == (1200, 16)
    assert whole["optimizer.learning_rate"] == (1.0 if card.get("optimizer.name") == "Prodigy" else 1e-4)
    at_once = card["schedule.batch_size"] * card["schedule.gradient_accumulation"]
    assert found.epochs == 1200 * at_once / 300


def test_auto_adjust_clears_the_users_values_it_owns_and_undo_brings_them_back():
    user = {STEPS: 1000, "network.rank": 64, "schedule.seed": 7, "output.name": "mika"}
    before = with_policy("flux-guide", draft(25).with_values(Source.USER, user))
    done = policies.adjust(policies.get("flux-guide"), before, CARD, {})
    assert done.cleared == {STEPS: 1000, "network.rank": 64}
    assert done.draft.layers[Source.USER] == {"schedule.seed": 7, "output.name": "mika"}
    assert (done.draft.values[STEPS], done.draft.values[WARMUP], done.draft.values["network.rank"]) == (2000, 400, 16)
    assert done.message.startswith("Preset B (16-30 images) for 25 images: 2000 optimizer steps")
    assert "Your own values were cleared: Rank 64, Steps 1000." in done.message
    assert policies.undo(done.draft, done) == before


def test_undo_keeps_other_settings_that_changed_since():
    before = draft(25, schedule__steps=1000)
    done = policies.adjust(policies.get("flux-guide"), before, CARD, {})
    since = done.draft.with_values(Source.USER, {"network.rank": 8, "output.name": "mika"})
    assert policies.undo(since, done).layers[Source.USER] == {STEPS: 1000, "output.name": "mika"}


def test_auto_adjust_without_images_clears_nothing():
    before = draft(0, schedule__steps=1000)
    done = policies.adjust(policies.get("flux-guide"), before, CARD, {})
    assert (done.draft, done.cleared) == (before, {})
    assert policies.undo(done.draft, done) == before


@settings(max_examples=60, deadline=None)
@given(**CASES, user=USERS)
def test_undo_restores_exactly(name, images, batch, accumulation, user):
    mine = {"schedule.batch_size": batch, "schedule.gradient_accumulation": accumulation, **user}
    before = with_policy(name, draft(images).with_values(Source.USER, mine))
    done = policies.adjust(policies.get(name), before, CARD, {})
    assert not set(done.draft.layers[Source.USER]) & policies.get(name).owns
    assert {**done.draft.layers[Source.USER], **done.cleared} == mine
    assert policies.undo(done.draft, done) == before


def repeats(policy, *counts):
    return [prefilled(policy, images).values[REPEATS] for images in counts]


def test_the_civitai_rule():
    assert repeats("repeats-civitai", 1, 7, 199, 200, 201, 5000) == [200, 29, 2, 1, 1, 1]
    assert prefilled("repeats-civitai", 30, schedule__batch_size=5).values[STEPS] == 420  # 30 * 7 * 10 / 5
    assert (
        prefilled("repeats-civitai-flux", 30, schedule__batch_size=4).values[STEPS] == 263
    )  # 30 * 7 * 5 / 4, rounded up


def test_the_kohya_colab_rules():
    assert repeats("repeats-kohya-colab", 1, 20, 100, 101, 5000) == [400, 20, 4, 1, 1]
    assert prefilled("repeats-kohya-colab", 20, schedule__batch_size=2).values[STEPS] == 2000
    for images in range(1, 101):
        assert 200 <= images * repeats("repeats-kohya-colab", images)[0] <= 400
    assert repeats("repeats-kohya-colab-xl", 1, 10, 40, 41, 100, 101) == [100, 10, 3, 2, 1, 1]


def test_the_lora_scripts_rule():
    assert repeats("repeats-lora-scripts", 1, 10, 11, 50, 51, 100, 101, 5000) == [7, 7, 5, 5, 3, 3, 1, 1]
    assert prefilled("repeats-lora-scripts", 10).owns == {REPEATS}


def test_steps_calculated_from_epochs_stay_within_the_bounds_of_the_setting():
    found = prefilled("repeats-civitai", 5000, dataset__repeats=1000)
    assert found.values[STEPS] == 1_000_000
    assert "limited to between 1 and 1000000" in found.reasons[STEPS]
    largest = prefilled("style-002-complex", 25, network__rank=1024).values
    assert largest["network.alpha"] == 1024.0


def test_policies_are_found_by_family_and_use():
    assert [policy.id for policy in policies.for_family("flux", "style")][:3] == [
        "style-002-complex",
        "style-002-fast",
        "style-002",
    ]
    people = [policy.id for policy in policies.for_family("flux", "character")]
    assert set(people) == {"flux-guide", "actor", "repeats-civitai-flux", "repeats-lora-scripts", "by-image-count"}
    assert "flux-guide" not in [policy.id for policy in policies.for_family("sdxl")]
    assert policies.for_family("flux", "character", "full") == []
    with pytest.raises(PolicyError, match="flux-guide"):
        policies.get("flux-guid")


GOOD = 'title = "T"\nexplanation = "E"\nsources = ["S"]\nsteps = { fixed = 100 }\n'
BROKEN = {
    "an unknown key": (GOOD + 'formula = "images * 40"', "formula"),
    "a rule of two kinds": (GOOD.replace("fixed = 100", "fixed = 100, per_image = 4"), "steps"),
    "a rule without a kind": (GOOD.replace("fixed = 100", "least = 4"), "steps"),
    "code for a number": (GOOD.replace("100", '"__import__(1)"'), "steps.fixed"),
    "limits upside down": (GOOD.replace("fixed = 100", "per_image = 4, least = 9, most = 8"), "least"),
    "too many steps": (GOOD.replace("100", "1000001"), "steps.fixed"),
    "a boolean for a number": (GOOD.replace("100", "true"), "steps.fixed"),
    "tiers out of order": (GOOD + "[[tiers]]\nup_to = 9\n[[tiers]]\nup_to = 9\n[[tiers]]", "rising order"),
    "a last tier with an end": (GOOD + "[[tiers]]\nup_to = 9", "rising order"),
    "no tiers": (GOOD + "tiers = []", "rising order"),
    "a path of a job": (GOOD + '[settings]\nmodel.path = "/etc/passwd"', "model.path"),
    "steps as a plain setting": (GOOD + "[settings]\nschedule.steps = 5", "schedule.steps"),
    "a setting out of bounds": (GOOD + "[settings]\nnetwork.rank = 0", "network.rank"),
    "a warm-up of all steps": (GOOD + "warmup_percent = 100", "warmup_percent"),
    "no sources": (GOOD.replace('["S"]', "[]"), "sources"),
    "a variable for something else": (GOOD + '[environment]\nHOME = "title"', "environment.HOME"),
    "no TOML": ("title = ", "is not TOML"),
    "no text": (b"\xff\xfe", "is not UTF-8"),
    "brackets without end": ("x = " + "[" * 100_000, "is not TOML"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "named"), BROKEN.values(), ids=list(BROKEN))
def test_a_damaged_policy_is_refused_with_file_key_and_reason(tmp_path, content, named):
    path = tmp_path / "mine.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PolicyError) as refused:
        policies.load(path)
    assert "mine.toml" in refused.value.message
    assert named in refused.value.message
    assert len(refused.value.message) < 500


def test_a_plain_policy_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    policy = policies.load(path)
    assert (policy.id, policy.owns) == ("mine", {STEPS})
    assert policies.values(policy, PolicyCase(3)).message == "T for 3 images: 100 optimizer steps, about 33 epochs."


def test_a_policy_with_former_names_of_keys_is_still_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + "pictures_per_step = 2\nrepeats = { pictures_per_epoch = 100 }\n")
    policy = policies.load(path)
    assert policy.images_per_step == 2
    assert policies.values(policy, PolicyCase(25)).values[REPEATS] == 4


def guide():
    return (places.CHECKOUT / "docs" / "guide" / "policies.md").read_text("utf-8")


def test_the_guide_names_every_policy_and_variable_with_its_default():
    variables = [
        (name, policy, target) for policy in policies.shipped().values() for name, target in policy.environment.items()
    ]
    assert [name for name in EVERY if f"`{name}`" not in guide()] == []
    for name, policy, target in variables:
        row = next(line for line in guide().splitlines() if f"`{name}`" in line)
        place = re.findall("`([A-Z0-9_]+)`", row).index(name)
        assert float(row.split("|")[2].split(",")[place]) == environment.default(policy, target)


def test_the_guides_example_is_a_policy(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", guide(), re.DOTALL)[1])
    policy = policies.load(path)
    found = policies.values(policy, PolicyCase(30, environment={"MY_STEPS_EACH": "90"}))
    assert found.values == {
        STEPS: 2700,
        WARMUP: 270,
        REPEATS: 7,
        "network.rank": 16,
        "network.alpha": 8.0,
        "schedule.scheduler": "cosine",
        "optimizer.learning_rate": 1e-4,
    }


def test_the_message_says_why():
    guide, style, repeats = (policies.get(name) for name in ("flux-guide", "style", "repeats-lora-scripts"))
    assert policies.values(guide, PolicyCase(12)).message.endswith(". Why: few images overfit easily.")
    found = policies.values(style, PolicyCase(12, environment={"SB_HP_STYLE_SPI": "60"}))
    assert found.message.endswith(". Why: 12 images, 60 steps per image. From SB_HP_STYLE_SPI.")
    given = PolicyCase(12, given={"schedule.steps": 700})
    assert "Why" not in policies.values(style, given).message, "the user said so"
    assert "Why" not in policies.values(repeats, PolicyCase(12)).message

"""Recipe and samples without a page: cards, epochs beside steps, the list of prompts, and one's own profiles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.page import button, click, draw_images, enter, hear, markup, on_page, prepare, unfold, wait_for
from trainer_core import profiles
from trainer_core.draft.layers import Source
from trainer_core.prepare import prompt_ideas

EVIL = "<img src=x onerror=\"window.__pwned='recipe'\">"
PATH = "sampling.prompts"


def change(app, **values):
    """Sets values as if the user had."""
    app.session.handler(lambda _: app.session.change({path.replace("__", "."): one for path, one in values.items()}))()


def samples(app):
    """The opened list of sample prompts."""
    unfold(app.samples.step)
    app.session.handler(lambda _: None)()
    return app.samples.prompts


def shown_prompts(found):
    return [row["prompt"] for row in found.list.state["rows"]]


def opened(app, name):
    """One of the folds about profiles, opened."""
    getattr(app.recipe.profile, {"compare": "comparing", "save": "saving", "share": "sharing"}[name]).children[
        0
    ].value = True
    return getattr(app.recipe.profile, name)


# ---- epochs ----


def test_epochs_follow_the_steps_and_everything_they_depend_on(open_app, home):
    app = open_app(prepare(home, steps=40))
    field = app.recipe.epochs.field
    change(app, dataset__repeats=2, schedule__batch_size=2)
    assert field.value == "6.7", "6 images, twice, two at a time: 6 steps make an epoch"
    assert "6 steps make an epoch." in app.recipe.epochs.line.value
    change(app, schedule__gradient_accumulation=3)
    assert field.value == "20"
    more = draw_images(home / "more", [f"ohwx, image {number}" for number in range(9)])
    change(app, dataset__path=str(more))
    assert field.value == "13.3"


def test_typed_epochs_become_steps(open_app, home):
    app = open_app(prepare(home, steps=40))
    enter(app.recipe.epochs.field, "7.5")
    assert app.session.values["schedule.steps"] == 45
    assert app.recipe.epochs.field.value == "7.5"
    assert app.session.bench.state.draft.source_of("schedule.steps") is Source.USER


@pytest.mark.parametrize("text", ["ten", "-1", "0", "99999999"])
def test_what_is_no_number_of_epochs_changes_nothing(open_app, home, text):
    app = open_app(prepare(home, steps=36))
    enter(app.recipe.epochs.field, text)
    assert app.session.values["schedule.steps"] == 36
    assert app.recipe.epochs.field.value == "6"
    assert app.session.message


def test_epochs_wait_for_images(open_app):
    app = open_app()
    assert app.recipe.epochs.field.disabled
    assert "once a dataset is chosen" in app.recipe.epochs.line.value


def test_saving_and_samples_are_typed_in_epochs_too(open_app, home):
    app = open_app(prepare(home, steps=60))
    unfold(app.output.step)
    samples(app)
    enter(app.output.epochs.field, "2")
    enter(app.samples.epochs.field, "0.5")
    assert app.session.values["output.save_every_steps"] == 12
    assert app.session.values["sampling.every_steps"] == 3
    assert app.samples.epochs.field.value == "0.5"


# ---- prompts ----


def test_one_prompt_stays_the_short_form_until_it_gets_more(open_app, home):
    app = open_app(prepare(home))
    found = samples(app)
    hear(found.list, {"kind": "prompts", "prompts": [{"text": "{trigger}, smiling"}]})
    assert app.session.values["sampling.prompt"] == "{trigger}, smiling"
    assert app.session.values[PATH] == ()
    hear(found.list, {"kind": "prompts", "prompts": [{"text": "{trigger}, smiling"}, {"text": "a castle", "seed": 7}]})
    assert app.session.values[PATH] == ({"text": "{trigger}, smiling"}, {"text": "a castle", "seed": 7})
    assert app.session.bench.state.draft.source_of("sampling.prompt") is not Source.USER
    assert not [one for one in app.session.problems if one.path.startswith("sampling.prompt")]


def test_options_that_are_pasted_with_a_prompt_become_its_values(open_app, home):
    app = open_app(prepare(home))
    found = samples(app)
    hear(found.list, {"kind": "prompts", "prompts": [{"text": "a castle --w 768 --d 7 --n blurry", "seed": 3}]})
    assert app.session.values[PATH] == ({"text": "a castle", "width": 768, "seed": 7, "negative_prompt": "blurry"},)
    hear(found.list, {"kind": "prompts", "prompts": [{"text": "a castle --ar 3:4"}]})
    assert app.session.values[PATH] == ({"text": "a castle --ar 3:4"},)
    assert "no option --ar" in app.session.message


def test_the_list_marks_prompts_without_the_trigger_word(open_app, home):
    app = open_app(prepare(home))
    found = samples(app)
    hear(found.list, {"kind": "prompts", "prompts": [{"text": "{trigger}"}, {"text": "ohwx, x"}, {"text": "a castle"}]})
    assert [row["control"] for row in found.list.state["rows"]] == [False, False, True]


def test_offers_are_added_once(open_app, home):
    app = open_app(prepare(home))
    found = samples(app)
    assert [one["id"] for one in found.list.offers][:2] == ["captions", "portrait"]
    hear(found.list, {"kind": "offer", "id": "captions"})
    hear(found.list, {"kind": "offer", "id": "control_person"})
    texts = [one["text"] for one in shown_prompts(found)]
    assert len(texts) == 1 + prompt_ideas.FROM_CAPTIONS + 1
    assert texts[-1] == prompt_ideas.templates()["control_person"].text
    hear(found.list, {"kind": "offer", "id": "control_person"})
    assert [one["text"] for one in shown_prompts(found)] == texts
    assert "already" in app.session.message


@pytest.mark.parametrize(
    "message",
    [
        None,
        "text",
        {},
        {"kind": "prompts"},
        {"kind": "prompts", "prompts": "text"},
        {"kind": "prompts", "prompts": [{"text": "a", "size": 3}]},
        {"kind": "prompts", "prompts": [{"text": 3}]},
        {"kind": "prompts", "prompts": [{"text": "a", "width": 1e99}]},
        {"kind": "prompts", "prompts": [{"text": "a"}] * 99},
        {"kind": "offer", "id": "no-such"},
        {"kind": "offer", "id": ["portrait"]},
        {"kind": "offer"},
    ],
)
def test_nothing_wrong_from_the_page_is_taken(open_app, home, message):
    app = open_app(prepare(home))
    found = samples(app)
    before = dict(app.session.values)
    hear(found.list, message)
    assert app.session.values == before


def test_what_cannot_be_used_is_said_in_the_list(open_app, home):
    app = open_app(prepare(home))
    found = samples(app)
    hear(found.list, {"kind": "prompts", "prompts": [{"text": "a"}, {"text": "b", "width": 3}]})
    assert "number 2: width" in found.list.told
    hear(found.list, {"kind": "prompts", "prompts": [{"text": "a"}, {"text": "b", "width": 512}]})
    assert found.list.told == ""


def test_the_users_prompts_can_be_removed_so_that_the_profile_applies(open_app, home):
    base = profiles.shipped()["sd15-character"]
    theirs = ({"text": "one"}, {"text": "two", "seed": 3})
    profiles.save(
        replace(base, id="with-prompts", title="Sampled", settings={**base.settings, PATH: theirs}, reasons={})
    )
    app = open_app(prepare(home), "with-prompts")
    found = samples(app)
    assert "They come from the profile Sampled." in found.source.value
    assert tuple(shown_prompts(found)) == theirs
    hear(found.list, {"kind": "prompts", "prompts": [{"text": "a"}, {"text": "b"}]})
    assert on_page(found.reset)
    click(found.reset)
    assert app.session.values[PATH] == theirs
    assert not on_page(found.reset)


def test_the_samples_fold_to_a_sentence_and_say_what_they_cost(open_app, home):
    app = open_app(prepare(home, steps=960))
    change(app, sampling__every_steps=240, sampling__width=1024, sampling__height=1024, sampling__at_start=True)
    found = samples(app)
    hear(found.list, {"kind": "prompts", "prompts": [{"text": text} for text in "abcd"]})
    assert "4 prompts at 1024 x 1024, every 240 steps and before the first" in app.samples.step.button.description
    assert "4 prompts, every 240 steps and before the first: 20 images" in found.cost.value
    hear(found.list, {"kind": "prompts", "prompts": [{"text": "a"}, {"text": "b", "width": 512}]})
    assert "2 prompts in 2 sizes" in app.samples.step.button.description
    change(app, sampling__every_steps=0)
    assert "none during the training" in app.samples.step.button.description
    assert "No samples are made" in found.cost.value


def test_memory_and_output_fold_to_sentences(open_app, home):
    app = open_app(prepare(home, steps=1920))
    change(app, output__save_every_steps=240, memory__cache_text_encoder=True, memory__mixed_precision="bf16")
    said = app.output.step.button.description
    assert "in outputs, fp16, a checkpoint every 240 steps, all 8 kept" in said
    assert "bf16, gradient checkpointing, latents and captions cached" in app.memory.step.button.description


# ---- cards and profiles ----


def test_a_card_takes_the_fitting_profile_and_ones_own_have_cards(open_app, home):
    profiles.save(replace(profiles.shipped()["sd15-character"], id="mine", title=EVIL))
    app = open_app(prepare(home))
    cards = app.recipe.profile.uses.widget
    assert [one["id"] for one in cards.cards] == [
        *("character", "style", "concept", "photorealism", "anime", "profile:mine")
    ]
    assert cards.cards[-1]["mine"]
    hear(cards, {"kind": "choose", "id": "style"})
    assert (app.session.bench.state.profile.id, cards.chosen) == ("sd15-style", "style")
    hear(cards, {"kind": "choose", "id": "profile:mine"})
    assert (app.session.bench.state.profile.id, cards.chosen) == ("mine", "profile:mine")
    for wrong in (
        None,
        {"kind": "choose", "id": "profile:/etc/passwd"},
        {"kind": "choose", "id": ["style"]},
        {"id": "style"},
    ):
        hear(cards, wrong)
    assert app.session.bench.state.profile.id == "mine"


def test_auto_adjust_says_in_one_message_what_it_set_and_why_and_is_undone(open_app, home):
    app = open_app(prepare(home, steps=40))
    enter(app.recipe.profile.policy, "repeats-civitai")
    click(button(app.recipe.widget, "Auto-adjust"))
    assert "10 epochs" in app.session.message
    assert "Your own value was cleared: Steps 40. “Undo” restores it." in app.session.message
    click(button(app.recipe.widget, "Undo"))
    assert app.session.values["schedule.steps"] == 40


def test_the_present_values_become_a_profile_of_ones_own(open_app, home):
    app = open_app(prepare(home, steps=40), "sd15-character")
    change(app, network__rank=77)
    found = opened(app, "save")
    assert "Rank 77" in found.what.value
    click(found.save)
    assert "name" in app.session.message
    enter(found.name, "My Figure")
    enter(found.about, "For one figure.")
    click(found.save)
    saved = profiles.own()[0]["my-figure"]
    assert (saved.title, saved.explanation, saved.settings["network.rank"]) == ("My Figure", "For one figure.", 77)
    assert app.session.bench.state.profile.id == "my-figure"
    assert not {
        path for path in saved.settings if path.endswith((".path", ".name", ".trigger")) and path != "optimizer.name"
    }


def test_a_profile_with_the_same_name_is_replaced_only_when_that_is_confirmed(open_app, home):
    profiles.save(replace(profiles.shipped()["sd15-character"], id="my-figure", title="My Figure"))
    before = profiles.own()[0]["my-figure"]
    app = open_app(prepare(home, steps=40))
    found = opened(app, "save")
    enter(found.name, "my figure")
    click(found.save)
    assert on_page(found.confirm)
    assert profiles.own()[0]["my-figure"] == before
    click(found.keep)
    assert not on_page(found.confirm)
    click(found.save)
    click(found.replace)
    assert profiles.own()[0]["my-figure"].title == "my figure"


def test_two_profiles_are_compared_with_differences_first(open_app, home):
    profiles.save(replace(profiles.shipped()["sd15-style"], id="evil", title=EVIL))
    app = open_app(prepare(home), "sd15-character")
    found = opened(app, "compare")
    assert found.choices[0].value == "sd15-character"
    enter(found.choices[1], "evil")
    assert "settings differ" in found.told.value
    rows = found.table.value.split("<tr")
    kinds = ["differs" in row for row in rows if 'scope="row"' in row]
    assert kinds == sorted(kinds, reverse=True)
    assert True in kinds
    assert "<img" not in markup(found.widget)


def test_an_uploaded_profile_is_looked_at_before_it_is_saved(open_app, home):
    app = open_app(prepare(home))
    found = opened(app, "share")
    made = replace(profiles.shipped()["sd15-style"], id="of-a-friend", title="Friend", author=EVIL)
    hear(found.exchange, {"kind": "file", "name": "../../x.toml", "text": profiles.dumps(made)})
    assert "“Friend”" in found.told.value
    assert "<img" not in found.told.value
    assert "of-a-friend" not in profiles.known()
    click(found.accept)
    assert profiles.own()[0]["of-a-friend"] == made
    assert ("Friend", "of-a-friend") in found.own.options


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "file", "name": "x.toml", "text": "id = 1"},
        {"kind": "file", "name": "x.toml", "text": "\ud800"},
        {"kind": "file", "name": "x.toml", "text": "x" * 100_000},
        {"kind": "file", "name": 3, "text": "x"},
        {"kind": "file", "name": "x.toml", "text": "x" * 1_000_000},
        {"kind": "large"},
        "text",
    ],
)
def test_an_uploaded_file_that_is_no_profile_is_refused(open_app, home, message):
    app = open_app(prepare(home))
    found = opened(app, "share")
    hear(found.exchange, message)
    assert not on_page(found.decide)
    assert profiles.own()[0] == {}


def test_a_profile_at_a_path_is_imported(open_app, home, tmp_path):
    made = replace(profiles.shipped()["sd15-style"], id="of-a-friend", title="Friend")
    (tmp_path / "a.toml").write_text(profiles.dumps(made))
    app = open_app(prepare(home))
    found = opened(app, "share")
    enter(found.origin, str(tmp_path / "a.toml"))
    click(found.look)
    wait_for(lambda: on_page(found.decide))
    click(found.accept)
    assert profiles.own()[0]["of-a-friend"] == made
    enter(found.origin, str(tmp_path / "none.toml"))
    click(found.look)
    wait_for(lambda: "none.toml" in found.told.value)


def test_ones_own_profile_is_downloaded_removed_and_put_back(open_app, home):
    mine = replace(profiles.shipped()["sd15-style"], id="mine", title="Mine")
    profiles.save(mine)
    app = open_app(prepare(home), "mine")
    found = opened(app, "share")
    sent = []
    found.exchange.save = lambda name, text: sent.append((name, text))
    assert found.download.disabled
    enter(found.own, "mine")
    click(found.download)
    assert sent[0][0] == "mine.toml"
    assert profiles.loads(sent[0][1]) == mine
    click(found.remove)
    assert "mine" not in profiles.known()
    assert app.session.bench.state.profile is None
    click(found.undo)
    assert profiles.own()[0]["mine"] == mine

"""The profile panel: what it offers and shows, also for profiles from outside."""

from dataclasses import replace

from tests.support.page import button, click, draw_images, enter, markup, prepare
from trainer_core import profiles

EVIL = "<img src=x onerror=\"window.__pwned='profile'\">"


def test_the_text_after_auto_adjust_follows_the_dataset(open_app, home):
    app = open_app(prepare(home, steps=40))
    panel = app.recipe.profile
    enter(panel.policy, "repeats-civitai")
    click(button(app.recipe.widget, "Auto-adjust"))
    assert "for 6 images" in panel.told.value
    assert "Your own value was cleared: Steps 40." in panel.told.value
    more = draw_images(home / "more", [f"ohwx, image {number}" for number in range(9)])
    app.session.handler(lambda _: app.session.change({"dataset.path": str(more)}))()
    assert "for 9 images" in panel.told.value
    assert "for 6 images" not in panel.told.value
    assert "Steps 40" in panel.told.value, "Undo can still restore it"
    click(button(app.recipe.widget, "Undo"))
    assert app.session.values["schedule.steps"] == 40
    assert "cleared" not in panel.told.value


def test_profiles_with_the_same_title_show_their_ids(open_app, home):
    profiles.save(replace(profiles.shipped()["sd15-character"], id="of-a-friend"))
    app = open_app(prepare(home))
    shown = {value: label for label, value in app.recipe.profile.choice.options}
    assert shown["of-a-friend"].endswith("(of-a-friend)")
    assert shown["sd15-character"] == "Character (sd15-character)"
    assert "(" not in shown["sd15-style"]


def test_no_text_of_a_profile_becomes_markup(open_app, home):
    told = {"title": EVIL, "explanation": EVIL, "reasons": {"network.rank": EVIL}, "author": EVIL, "licence": EVIL}
    base = profiles.shipped()["sd15-character"]
    sources = (replace(base.sources[0], title=EVIL, notes=EVIL),)
    profiles.save(replace(base, id="evil", **told, sources=sources))
    app = open_app(prepare(home), "evil")
    app.recipe.profile.fold.children[0].value = True
    assert "onerror" in markup(app.recipe.widget), "it is shown, as text"
    assert "<img" not in markup(app.recipe.widget)

"""Pairs of images in the trainer's dataset card: the folders of control images, the pairs side by side, and what has no partner."""

import pytest

from tests.support import recorded_headers
from tests.support.page import button, click, draw_images, enter, on_page, prepare, wait_for


@pytest.fixture
def app(open_app, home):
    settings = prepare(home)
    for name in ("before", "pose"):
        draw_images(home / name, [""] * 6)
    model = recorded_headers.write("folder-flux-kontext", home / "models")
    found = open_app({**settings, "model.path": str(model)}, engine="simpletuner")
    wait_for(lambda: found.session.bench.state.facts.dataset is not None)
    return found


def test_control_folders_are_chosen_and_the_pairs_shown_beside_each_other(app, home):
    pairs = app.dataset.pairs
    assert on_page(pairs.widget)
    # It is open, because the model cannot be trained without; and stays closed once it was closed.
    assert pairs.widget.children[0].value
    assert "For each image it needs 1 to 3 control images of the same name" in pairs.needed.value
    pairs.widget.children[0].value = False
    app.session.show()
    assert not pairs.widget.children[0].value
    app._seek("dataset.controls")
    assert {"dataset.controls", "dataset.only_pairs"} <= set(app.settings.controls)
    enter(app.settings.controls["dataset.controls"].control, str(home / "before"))
    assert "6 pairs of images. The caption is the instruction." in pairs.counts.value
    items = pairs.pairs.content["items"]
    assert items[:3] == [
        {"caption": "Target", "row": "image0.png: ohwx, image 0"},
        {"caption": "Control image", "row": "image0.png: ohwx, image 0"},
        {"caption": "Target", "row": "image1.png: ohwx, image 1"},
    ]
    assert pairs.widget.children[0].description.endswith(": before")
    enter(app.settings.controls["dataset.controls_2"].control, str(home / "pose"))
    assert [each["caption"] for each in pairs.pairs.content["items"][:3]] == [
        "Target",
        "Control image 1",
        "Control image 2",
    ]
    assert "6 pairs of one image and 2 control images." in pairs.counts.value


def test_images_and_control_images_without_a_partner_are_listed_and_can_be_left_out(app, home):
    (home / "before" / "image0.png").rename(home / "before" / "<b>other.png")
    app._seek("dataset.controls")
    enter(app.settings.controls["dataset.controls"].control, str(home / "before"))
    pairs = app.dataset.pairs
    assert "1 image without a control image: image0.png." in pairs.unmatched.value
    assert "1 image of the control images not used: &lt;b&gt;other.png." in pairs.unmatched.value
    assert "<b>" not in pairs.unmatched.value
    click(button(app.root, "Leave these images out"))
    assert app.session.values["dataset.only_pairs"] is True
    assert len(app.session.bench.state.facts.dataset.images) == 5


def test_a_model_without_control_images_has_no_such_group(open_app, home):
    found = open_app(prepare(home))
    assert not on_page(found.dataset.pairs.widget)


def test_the_group_opens_for_one_file_that_only_its_name_or_the_variant_tells_to_edit_images(open_app, home):
    settings = prepare(home)
    plain = recorded_headers.write("flux-dev", home / "models")
    (named := plain.with_name("flux1-dev-kontext.safetensors")).hardlink_to(plain)
    found = open_app({**settings, "model.path": str(named)}, engine="musubi")
    assert found.dataset.pairs.widget.children[0].value
    assert "For each image it needs a control image" in found.dataset.pairs.needed.value
    found.session.change({"model.path": str(plain)})
    found.session.show()
    assert not on_page(found.dataset.pairs.widget)
    found.session.change({"model.variant": "kontext"})
    found.session.show()
    assert on_page(found.dataset.pairs.widget)


def test_a_model_that_is_shown_one_control_image_has_one_field_for_it(open_app, home):
    settings = prepare(home)
    draw_images(home / "before", [""] * 6)
    model = recorded_headers.write("folder-z-image", home / "models")
    found = open_app({**settings, "model.path": str(model)}, engine="simpletuner")
    wait_for(lambda: found.session.bench.state.facts.dataset is not None)
    pairs = found.dataset.pairs
    assert not pairs.widget.children[0].value
    assert "can also be trained with a control image for each image" in pairs.needed.value
    found._seek("dataset.controls")
    enter(found.settings.controls["dataset.controls"].control, str(home / "before"))
    shown = [name for name in ("controls", "controls_2") if on_page(found.settings.controls[f"dataset.{name}"].widget)]
    assert shown == ["controls"]


def test_a_further_folder_has_fields_for_its_own(app, home):
    folders = ({"path": str(home / "pose"), "controls": str(home / "before")},)
    app.session.handler(lambda _: app.session.change({"dataset.subsets": folders}))()
    row = app.dataset.more.list.state["rows"][1]
    assert {"controls", "controls_2", "controls_3"} <= set(row["offered"])
    assert "6 pairs" in row["notes"]

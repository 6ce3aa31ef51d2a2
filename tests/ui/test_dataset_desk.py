"""The dataset inside a trainer: known datasets, images with captions, and fixes, without leaving the notebook."""

import pytest

from tests.support import chat_server
from tests.support.page import click, draw_images, enter, hear, inside, prepare, wait_for
from trainer_ui.components.cards import Cards


@pytest.fixture
def app(open_app, home):
    found = open_app(prepare(home))
    wait_for(lambda: found.session.bench.state.facts.dataset is not None)
    return found


def opened(app, group):
    """Opens a group of the dataset, and waits until the images were read."""
    enter(group.children[0], True)
    inner = wait_for(lambda: app.dataset.desk.inner)
    wait_for(lambda: inner.read is not None)
    return inner


def test_a_known_dataset_is_chosen_from_a_list_with_its_counts(open_app, home):
    draw_images(home / "datasets" / "harbour", ["a boat", "a mast", ""])
    app = open_app()
    desk = app.dataset.desk
    wait_for(lambda: len(desk.known.options) == 2)
    assert desk.known.options[1][0].startswith("harbour (3 images")
    enter(desk.known, str(home / "datasets" / "harbour"))
    assert app.session.values["dataset.path"] == str(home / "datasets" / "harbour")
    assert "3 will be trained" in app.dataset.counts.value


def test_a_caption_that_is_written_here_is_the_one_that_the_trainer_shows(app):
    inner = opened(app, app.dataset.desk.looks)
    first = inner.entries[0]
    base = inner.list.entries[0].caption
    inner.drafts.save(first.path, "written in the trainer", base)
    assert (inner.root / first.caption_path).read_text().strip() == "written in the trainer"
    wait_for(
        lambda: any(one.caption == "written in the trainer" for one in app.session.bench.state.facts.dataset.images)
    )
    inner.undo()
    wait_for(lambda: not inner.doing and inner.read is not None and inner.entry(first.path).caption == base)


def test_the_dataset_inside_follows_the_folder_and_the_trigger_of_the_trainer(app, tmp_path):
    inner = opened(app, app.dataset.desk.looks)
    other = draw_images(tmp_path / "other", ["a boat"])
    app.session.handler(lambda _: app.session.change({"dataset.path": str(other), "dataset.trigger": "inkwash"}))()
    wait_for(lambda: inner.root == other and inner.read is not None)
    assert inner.trigger == "inkwash"


def test_what_is_being_typed_is_saved_when_the_trainer_is_closed(app):
    inner = opened(app, app.dataset.desk.looks)
    first = inner.entries[0]
    inner.drafts.keep(first.path, "half a sent", first.caption)
    app.close()
    assert (inner.root / first.caption_path).read_text().strip() == "half a sent"


def test_images_that_come_in_become_the_dataset_of_the_trainer(open_app, home):
    app = open_app()
    enter(app.dataset.desk.brings.children[0], True)
    source = app.dataset.desk._source
    drop = source.drop
    photo = draw_images(home / "camera", ["a boat"])
    files = sorted(photo.iterdir())
    hear(drop, {"kind": "begin", "number": 1, "files": [[one.name, one.stat().st_size] for one in files]})
    parts = [[str(place + 1), 0] for place in range(len(files))]
    drop._handle_custom_msg(
        {"kind": "pieces", "number": 1, "parts": parts}, [memoryview(one.read_bytes()) for one in files]
    )
    hear(drop, {"kind": "finish", "number": 1})
    target = home / "datasets" / "my images"
    wait_for(lambda: app.session.values["dataset.path"] == str(target))
    assert (target / files[0].name).read_bytes() == files[0].read_bytes()
    wait_for(lambda: app.session.bench.state.facts.dataset is not None)
    assert len(app.session.bench.state.facts.dataset.images) == 1
    for odd in (
        None,
        {},
        {"kind": "pieces", "number": 1},
        {"kind": "begin", "number": 2, "files": "all"},
        {"kind": "finish", "number": 9},
    ):
        hear(drop, odd)
    click(app.dataset.desk.again)


def test_images_without_a_caption_get_one_in_the_trainer_and_the_counts_follow(open_app, home):
    app = open_app(prepare(home))
    root = home / "images"
    (root / "image4.txt").unlink()
    (root / "image5.txt").write_text(" \n")
    again = {"dataset.path": str(root)}
    app.session.handler(lambda _: app.session.change(again))()
    desk = app.dataset.desk
    assert "2 images have none" in desk.writes.children[0].description
    inner = opened(app, desk.writes)
    parts = list(inside(desk.writes))
    fields = {one.description: one for one in parts if getattr(one, "description", "")}
    assert fields["Images"].value == "without"
    wait_for(lambda: "(2)" in {value: title for title, value in fields["Images"].options}["without"])
    who = next(one for one in parts if isinstance(one, Cards))
    with chat_server.running() as server:
        hear(who, {"kind": "choose", "id": "server"})
        enter(fields["Address of the server"], server.url)
        enter(fields["Model of the server"], chat_server.MODEL)
        enter(fields["Another question"], True)
        question = next(
            one for one in inside(desk.writes) if one.has_trait("rows") and one.description == "Another question"
        )
        enter(question, chat_server.QUESTION)
        click(fields["Start"])
        write = wait_for(
            lambda: next((one for one in parts if getattr(one, "description", "") == "Write 2 captions"), None)
        )
        click(write)
        wait_for(lambda: not inner.doing and (root / "image4.txt").exists())
    wait_for(lambda: desk.writes.children[0].description.endswith("captions"))
    assert (root / "image0.txt").read_text() == "ohwx, image 0"
    images = app.session.bench.state.facts.dataset.images
    assert {one.name: one.caption for one in images}["image5.png"].startswith(chat_server.FINE[:10])
    assert "6 of 6 images have a caption" in app.dataset.counts.value

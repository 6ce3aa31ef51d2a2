"""Uploads that go on from a part, and what the bar says while files arrive."""

import os

import pytest

from tests.support.page import hear, wait_for
from tests.support.sending_page import PIECE, Page, filled, part
from trainer_core.keeping import unfinished
from trainer_ui.apps.file_uploader import FileUploader


@pytest.fixture
def app(opening, home):
    filled(home)
    return opening(FileUploader)


def test_continue_in_the_row_of_a_part_takes_its_folder_and_asks_for_its_file(app, home):
    content = os.urandom(3 * PIECE)
    part(app, "checkpoints", "base.bin", content, PIECE)
    page = Page(app)
    hear(app.unfinished.items, {"kind": "act", "item": unfinished.listed()[0].key, "act": "continue"})
    told = next(one for one in page.told if one["kind"] == "continue")
    assert (told["name"], told["text"]) == ("base.bin", "1.0 MB of 3.1 MB")
    assert app.arriving.drop.target == "Models / checkpoints"
    assert app.where.below.value == "checkpoints"
    [[name, have, *_, other, _]] = page.announce(("base.bin", len(content)))
    assert (have, other) == (PIECE, "")
    page.send(name, content, start=PIECE)
    page.finish(name, content)
    assert (home / "models" / "checkpoints" / "base.bin").read_bytes() == content
    app.session.show()
    assert app.unfinished.items.items == []


def test_continue_waits_while_other_files_arrive(app):
    part(app, "checkpoints", "base.bin", bytes(3 * PIECE), PIECE)
    page = Page(app)
    page.announce(("other.bin", PIECE))
    hear(app.unfinished.items, {"kind": "act", "item": unfinished.listed()[0].key, "act": "continue"})
    assert "Files arrive now" in app.session.message
    assert app.session.target.parts == ()


def test_a_part_in_another_folder_is_offered_to_the_page_and_adopted_when_the_user_wants(app, home):
    content = os.urandom(3 * PIECE)
    part(app, "checkpoints", "base.bin", content, PIECE)
    page = Page(app)
    [[name, have, _, _, place, other, there]] = page.announce(("base.bin", len(content)))
    assert (have, place, other, there) == (0, "models/base.bin", "models/checkpoints/base.bin", PIECE)
    page.say("adopt", id=name)
    row = page.answer("adopted")["row"]
    assert row[:5] == [name, PIECE, False, "", "models/checkpoints/base.bin"]
    page.send(name, content, start=PIECE)
    assert page.finish(name, content)["name"] == "models/checkpoints/base.bin"
    assert not (home / "models" / "base.bin").exists()


def test_the_bar_says_what_is_sent_and_what_it_waits_for(app):
    page, content = Page(app), os.urandom(3 * PIECE)
    bar = app.bars["bring"]
    assert "Ready for your files" in bar.headline.value
    [[first, *_], [second, *_]] = page.announce(("a.bin", len(content)), ("b.bin", len(content)))
    page.send(first, content)
    page.finish(first, content)
    page.say("pieces", [content[:PIECE]], parts=[[second, 0]])
    app.beat()
    assert "Sending 2 of 2" in bar.headline.value
    assert "4.2 MB of 6.3 MB are here" in bar.headline.value
    assert " left. Keep this page open." in bar.headline.value
    page.say("waits", **{"for": "paused"})
    wait_for(lambda: "Paused at 2 of 2" in bar.headline.value)
    page.say("waits", **{"for": "asks"})
    wait_for(lambda: "waits for your answer" in bar.headline.value)
    page.say("waits", **{"for": ["x"]})
    page.say("leave", id=second)
    page.say("end")
    wait_for(lambda: "Ready for your files" in bar.headline.value)

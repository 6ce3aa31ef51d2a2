"""The dataset app without a browser: what is read, shown, chosen, changed and taken back."""

import array

import pytest
from PIL import Image

from tests.support import chat_server
from tests.support.page import click, enter, go, hear, sent_by, wait_for
from trainer_core.curation import importing, selections
from trainer_core.curation.journal import Journal
from trainer_ui.apps.dataset_preparation import DatasetPreparation
from trainer_ui.components.image_list import CAPTIONED, KEEP, WARNING


@pytest.fixture
def folder(tmp_path):
    """Six images with captions, of which one has a byte order mark and Windows line ends."""
    root = tmp_path / "harbour"
    root.mkdir()
    for number in range(6):
        Image.new("RGB", (640, 512), (40 * number, 90, 120)).save(root / f"boat{number}.png")
        (root / f"boat{number}.txt").write_text(f"inkwash, boat, tag{number}\n", newline="")
    (root / "boat5.txt").write_bytes(b"\xef\xbb\xbfinkwash, boat, mast\r\n")
    return root


@pytest.fixture
def app(opening, folder):
    found = opening(DatasetPreparation, folder)
    wait_for(lambda: found.session.read is not None)
    idle(found)
    return found


def contents(root):
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}


def idle(app):
    """Waits until nothing is being done, and what was done is shown."""
    session = app.session
    wait_for(lambda: not session.doing and not session._is_reading)
    with session.lock:
        session.show()


def said(kind, number, text, base=None):
    """What the page says of a caption that is typed; `base` is what its file had."""
    base = f"inkwash, boat, tag{number}" if base is None else base
    return {"kind": kind, "id": number, "version": 1, "text": text, "base": base}


def select(app, *names):
    number = {one.name: tile for tile, one in app.images.list._tiles.items()}
    hear(
        app.images.list,
        {"kind": "choose", "version": app.images.list._version, "ids": [number[name] for name in names]},
    )


def test_a_folder_is_shown_with_its_images_captions_and_figures(app):
    assert [one.path for one in app.session.list.shown] == [f"boat{number}.png" for number in range(6)]
    assert app.places.counts["images"] == 6
    assert app.one.editor.content["name"] == "boat0.png"
    assert app.one.editor.content["caption"] == "inkwash, boat, tag0"
    assert app.one.editor.vocabulary[:2] == [["inkwash", 6], ["boat", 6]]
    assert "640 x 512" in app.one.editor.content["facts"]


def test_a_filter_shows_what_fits_and_an_error_says_where(app):
    enter(app.images.filter, "tag:tag3 or name:boat1*")
    assert [one.path for one in app.session.list.shown] == ["boat1.png", "boat3.png"]
    assert "2 of 6 images" in app.images.count.value
    enter(app.images.filter, "tag:(")
    assert "character 5" in app.images.wrong.value
    assert len(app.session.list.shown) == 2, "what was shown stays"


def test_the_page_gets_images_once_and_then_only_what_changed(app):
    sent = sent_by(app.images.list)
    hear(app.images.list, {"kind": "hello"})
    items, order = (next(pair for pair in sent if pair[0]["kind"] == kind) for kind in ("items", "order"))
    assert [item[1] for item in items[0]["items"]] == [f"boat{number}.png" for number in range(6)]
    assert all(item[2] & CAPTIONED for item in items[0]["items"])
    assert list(array.array("I", order[1][0])) == [item[0] for item in items[0]["items"]]
    sent.clear()
    enter(app.images.filter, "tag:tag3")
    assert [message["kind"] for message, _ in sent] == ["order", "current"]
    sent.clear()
    hear(app.images.list, {"kind": "mark", "version": app.images.list._version, "id": 3, "mark": "keep"})
    assert [(message["kind"], [item[0] for item in message["items"]]) for message, _ in sent] == [("items", [3])]
    assert sent[0][0]["items"][0][2] & KEEP


def test_what_the_kernel_says_carries_the_last_action_that_it_heard(app):
    """The page does not follow a word that is older than what the user did."""
    tiles = app.images.list
    sent = sent_by(tiles)
    hear(tiles, {"kind": "go", "version": tiles._version, "id": 3, "number": 7})
    assert app.one.editor.content["name"] == "boat3.png"
    assert sent == [], "what the page said is not said back"
    hear(app.one.editor, {"kind": "go", "by": 1})
    assert [(message["kind"], message["id"], message["number"]) for message, _ in sent] == [("current", 4, 7)]


def test_thumbnails_come_for_what_is_asked_and_only_for_this_dataset(app, folder):
    tiles = app.images.list
    sent = sent_by(tiles)
    (folder / "boat2.png").write_bytes(b"no image")
    hear(tiles, {"kind": "thumbs", "version": tiles._version, "ids": [1, 2, 99, "3", True, None]})
    wait_for(lambda: tiles._thread is None)
    ((message, buffers),) = [pair for pair in sent if pair[0]["kind"] == "thumbs"]
    assert [(one["id"], one["type"]) for one in message["items"]] == [(1, "image/jpeg"), (2, "")]
    assert buffers[0].startswith(b"\xff\xd8")
    sent.clear()
    hear(tiles, {"kind": "thumbs", "version": tiles._version - 1, "ids": [1]})
    for odd in (
        None,
        {},
        {"kind": "thumbs"},
        {"kind": "choose", "version": tiles._version, "ids": "all"},
        {"kind": []},
    ):
        hear(tiles, odd)
    assert sent == []


def test_a_caption_is_saved_in_the_form_of_its_file_and_can_be_taken_back(app, folder):
    before = contents(folder)
    editor = app.one.editor
    hear(editor, said("save", 5, "inkwash, boat, two masts", "inkwash, boat, mast"))
    assert (folder / "boat5.txt").read_bytes() == b"\xef\xbb\xbfinkwash, boat, two masts\r\n"
    idle(app)
    assert app.session.entry("boat5.png").author in ("", "user")
    go(app, "edits")
    assert app.edits.list.items[0]["title"] == "Caption of boat5.png"
    go(app, "images")
    click(app.bars["images"].undo)
    idle(app)
    assert contents(folder) == before


def test_a_caption_belongs_to_the_image_at_which_it_was_typed(app, folder):
    hear(app.one.editor, said("draft", 0, "typed at the first"))
    hear(app.one.editor, {"kind": "go", "by": 1})
    assert app.one.editor.content["name"] == "boat1.png"
    hear(app.one.editor, said("save", 0, "typed at the first"))
    assert (folder / "boat0.txt").read_text() == "typed at the first\n"
    assert (folder / "boat1.txt").read_text() == "inkwash, boat, tag1\n"


def test_what_is_being_typed_is_saved_when_the_app_is_closed(app, folder):
    hear(app.one.editor, said("draft", 2, "inkwash, half a sent"))
    assert (folder / "boat2.txt").read_text() == "inkwash, boat, tag2\n"
    app.close()
    assert (folder / "boat2.txt").read_text() == "inkwash, half a sent\n"


def test_a_caption_that_another_program_has_changed_meanwhile_is_read_and_not_lost(app, folder):
    (folder / "boat1.txt").write_text("from outside\n")
    click(app.bars["images"].again)
    idle(app)
    enter(app.images.filter, "outside")
    assert app.one.editor.content["caption"] == "from outside"


def test_a_caption_is_not_saved_over_one_that_came_from_elsewhere_meanwhile(app, folder):
    (folder / "boat0.txt").write_text("from a tagger\n")
    hear(app.one.editor, said("save", 0, "my own words"))
    assert (folder / "boat0.txt").read_text() == "from a tagger\n"
    assert "changed meanwhile" in app.session.message
    assert app.one.editor.content["caption"] == "my own words", "nothing typed is lost"
    assert app.one.editor.content["base"] == "from a tagger"
    hear(app.one.editor, said("save", 0, "my own words!", "from a tagger"))
    assert (folder / "boat0.txt").read_text() == "my own words!\n"


def test_a_caption_that_is_no_text_is_not_overwritten(app, folder):
    (folder / "boat3.txt").write_bytes(b"\xff\xfe\x00\xd8\xff")
    click(app.bars["images"].again)
    idle(app)
    hear(app.images.list, {"kind": "hello"})
    hear(app.images.list, {"kind": "go", "version": app.images.list._version, "id": 3, "number": 1})
    assert app.one.editor.content["locked"]
    hear(app.one.editor, said("save", 3, "new", ""))
    assert (folder / "boat3.txt").read_bytes() == b"\xff\xfe\x00\xd8\xff"
    assert "not overwritten" in app.session.message


def test_many_captions_change_at_once_after_a_preview_and_one_undo_restores_every_byte(app, folder):
    before = contents(folder)
    select(app, "boat1.png", "boat5.png")
    go(app, "captions")
    enter(app.bulk.kind, "replace-tag")
    enter(app.bulk.scope.widget, "chosen")
    enter(app.bulk.first, "boat")
    enter(app.bulk.second, "ship")
    wait_for(lambda: app.bulk.preview is not None)
    idle(app)
    assert app.bulk.button.description == "Change 2 captions"
    assert "<del>boat</del><ins>ship</ins>" in app.bulk.changes.value
    assert contents(folder) == before, "a preview writes nothing"
    click(app.bulk.button)
    idle(app)
    assert (folder / "boat5.txt").read_bytes() == b"\xef\xbb\xbfinkwash, ship, mast\r\n"
    assert (folder / "boat0.txt").read_text() == "inkwash, boat, tag0\n"
    click(app.bars["captions"].undo)
    idle(app)
    assert contents(folder) == before
    click(app.bars["captions"].redo)
    idle(app)
    assert (folder / "boat1.txt").read_text() == "inkwash, ship, tag1\n"


def test_a_tag_leads_to_its_images_and_to_the_form_that_removes_it(app):
    go(app, "captions")
    assert {item["id"] for item in app.tags.list.items[:2]} == {"boat", "inkwash"}
    hear(app.tags.list, {"kind": "act", "item": "tag4", "act": "show"})
    assert [one.path for one in app.session.list.shown] == ["boat4.png"]
    assert app.places.chosen == "images"
    go(app, "captions")
    hear(app.tags.list, {"kind": "act", "item": "tag4", "act": "remove"})
    wait_for(lambda: app.bulk.preview is not None)
    assert len(app.bulk.preview.changes) == 1


def test_findings_are_named_fixed_and_taken_back(app, folder):
    (folder / "boat1.txt").write_bytes(b"")
    (folder / "boat2.txt").write_bytes("inkwash, Brücke".encode("latin-1"))
    before = contents(folder)
    go(app, "check")
    enter(app.findings.trigger, "inkwash")
    click(app.bars["check"].again)
    idle(app)
    go(app, "images")
    assert app.images.list._tiles[1].flags & WARNING
    go(app, "check")
    fixes = {act["id"] for item in app.findings.list.items for act in item["acts"]}
    assert {"see", "utf-8", "write-trigger"} <= fixes
    assert app.places.counts["check"]
    click(app.findings.everything)
    idle(app)
    assert (folder / "boat2.txt").read_bytes() == "inkwash, Brücke".encode()
    assert (folder / "boat1.txt").read_bytes() != b""
    click(app.bars["check"].undo)
    idle(app)
    assert contents(folder) == before


def test_choices_and_selections_are_kept_beside_the_dataset(app, folder):
    select(app, "boat0.png", "boat4.png")
    click(app.images.chosen.reject)
    assert dict(selections.read(folder).choices) == {"boat0.png": "reject", "boat4.png": "reject"}
    click(app.images.chosen.reject)
    assert not selections.read(folder).choices, "the same again takes it back"
    enter(app.images.chosen.name, "the best")
    click(app.images.chosen.save)
    assert selections.read(folder).images("the best") == ("boat0.png", "boat4.png")


def test_images_that_are_moved_out_come_back(app, folder):
    before = contents(folder)
    select(app, "boat0.png", "boat4.png")
    click(app.images.chosen.away)
    idle(app)
    assert not {"boat0.png", "boat0.txt", "boat4.png"} & set(contents(folder))
    assert len(app.session.entries) == 4
    assert app.session.list.chosen == frozenset()
    app.session.undo(Journal(folder).undoable().number)
    idle(app)
    assert contents(folder) == before


def test_another_dataset_replaces_everything_that_belongs_to_the_first(app, tmp_path):
    select(app, "boat1.png")
    enter(app.images.filter, "boat")
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (512, 512)).save(other / "one.png")
    version = app.images.list._version
    enter(app.source.path, str(other))
    wait_for(lambda: app.session.read is not None and app.session.read.root == other)
    idle(app)
    assert (app.session.list.filter, app.session.list.chosen) == ("", frozenset())
    assert [tile.name for tile in app.images.list._tiles.values()] == ["one.png"]
    assert app.images.list._version == version + 1
    enter(app.source.path, str(tmp_path / "nowhere"))
    assert "There is no folder" in app.session.message
    assert app.session.root == other


def test_text_from_outside_is_shown_as_text(opening, tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    root = tmp_path / "evil"
    root.mkdir()
    Image.new("RGB", (512, 512)).save(root / f"{evil.replace('/', '')}.png")
    (root / f"{evil}.txt").write_text(f"{evil}, boat")
    app = opening(DatasetPreparation, root)
    wait_for(lambda: app.session.read is not None)
    go(app, "captions")
    enter(app.bulk.kind, "remove")
    enter(app.bulk.first, evil)
    wait_for(lambda: app.bulk.preview is not None)
    idle(app)
    assert "<img" not in app.bulk.changes.value
    assert "&lt;img" in app.bulk.changes.value
    go(app, "images")
    assert app.one.editor.content["caption"] == f"{evil}, boat"


def test_a_server_captions_the_images_after_its_host_was_named_and_nothing_human_is_replaced(app, folder):
    before = contents(folder)
    (folder / "boat4.txt").unlink()
    (folder / "boat5.txt").unlink()
    click(app.bars["images"].again)
    idle(app)
    go(app, "watch")
    with chat_server.running() as server:
        hear(app.machine.who, {"kind": "choose", "id": "server"})
        enter(app.machine.address, server.url)
        click(app.machine.list_models)
        wait_for(lambda: len(app.machine.models.options) > 1)
        enter(app.machine.models, chat_server.MODEL)
        app.machine.question.value = chat_server.QUESTION
        click(app.machine.start)
        wait_for(lambda: app.result.said is not None)
        idle(app)
        assert len(app.result.said.found) == 6
        assert app.result.button.description == "Write 2 captions"
        assert contents(folder) == {
            name: data for name, data in before.items() if name not in ("boat4.txt", "boat5.txt")
        }
        click(app.result.button)
        idle(app)
    assert (folder / "boat4.txt").read_text() == chat_server.FINE
    assert (folder / "boat0.txt").read_text() == "inkwash, boat, tag0\n"
    assert app.session.entry("boat4.png").author == f"endpoint {chat_server.MODEL}"
    click(app.bars["watch"].undo)
    idle(app)
    assert not (folder / "boat4.txt").exists()


def test_a_host_that_is_not_this_machine_gets_no_image_before_the_user_agrees(app):
    go(app, "watch")
    hear(app.machine.who, {"kind": "choose", "id": "server"})
    enter(app.machine.address, "https://captions.example.com/v1")
    enter(app.machine.model, "some-vl")
    assert "send them to captions.example.com" in app.machine.agree.description
    click(app.machine.start)
    wait_for(lambda: not app.machine.is_checking)
    assert any("leave this machine" in one.message for one in app.machine.problems)
    assert app.session.jobs.job is None


def test_a_tagger_that_is_not_here_is_offered_with_its_size(app):
    go(app, "watch")
    click(app.machine.start)
    wait_for(lambda: app.machine.problems)
    idle(app)
    (item,) = [one for one in app.machine.list.items if one["acts"]][:1]
    assert item["acts"][0]["words"].startswith("Fetch")
    assert "GiB" in item["title"]


def test_originals_of_an_import_with_conversion_are_brought_back_and_taken_back(app, folder, tmp_path):
    source = tmp_path / "scanner"
    source.mkdir()
    Image.new("RGB", (300, 300), "red").save(source / "scan.tif")
    original = (source / "scan.tif").read_bytes()
    importing.add(folder, [source], importing.Wishes(convert=["tiff"]))
    app.session.look()
    idle(app)
    go(app, "edits")
    (item,) = [one for one in app.edits.list.items if one["title"].startswith("Add 1 image")]
    assert [act["id"] for act in item["acts"]] == ["originals", "undo"]
    assert app.session.entry("scan.png") is not None
    hear(app.edits.list, {"kind": "act", "item": item["id"], "act": "originals"})
    idle(app)
    assert (folder / "scan.tif").read_bytes() == original
    assert not (folder / "scan.png").exists()
    assert "Bring 1 original back" in app.session.message
    app.session.undo()
    idle(app)
    assert (folder / "scan.png").is_file()
    assert not (folder / "scan.tif").exists()


def test_a_model_is_chosen_from_cards_that_say_what_each_is_for(app):
    go(app, "watch")
    machine = app.machine
    assert [card["id"] for card in machine.who.cards] == ["tagger", "server", "local"]
    assert all(card["what"].strip() for cards in (machine.tagger.cards, machine.local.cards) for card in cards)
    hear(machine.tagger, {"kind": "choose", "id": "camie-tagger-v2"})
    assert machine.settings().model == "camie-tagger-v2"
    assert machine.tagger.chosen == "camie-tagger-v2"
    hear(machine.who, {"kind": "choose", "id": "local"})
    hear(machine.local, {"kind": "choose", "id": "no such model"})
    assert machine.settings().model == machine.local.cards[0]["id"]

"""The file uploader without a browser: what comes in, what is shown, and what can be done with it."""

import hashlib
import os
import time
import zipfile
from io import BytesIO

import pytest

from tests.support import recorded_networks
from tests.support.page import button, click, enter, go, hear, on_page, wait_for
from tests.support.sending_page import PIECE, Page, filled, idle, table
from trainer_core.keeping import bounds, trash, unfinished
from trainer_ui.apps.file_uploader import FileUploader


@pytest.fixture
def app(opening, home):
    filled(home)
    return opening(FileUploader)


def test_a_file_arrives_in_the_chosen_folder_with_the_hash_of_the_page(app, home):
    hear(app.where.cards, {"kind": "choose", "id": "datasets"})
    page, content = Page(app), os.urandom(3 * PIECE + 5)
    [[name, have, taken, reason, place, *_]] = page.announce(("set.bin", len(content)))
    assert (have, taken, reason, place) == (0, False, "", "datasets/set.bin")
    assert page.send(name, content)["parts"] == [[name, len(content)]]
    told = page.finish(name, content)
    assert told["name"] == "datasets/set.bin"
    assert told["sha256"] == hashlib.sha256(content).hexdigest()
    assert (home / "datasets" / "set.bin").read_bytes() == content


def test_a_reloaded_page_goes_on_and_the_unfinished_file_is_listed_meanwhile(app, home):
    page, content = Page(app), os.urandom(3 * PIECE)
    [[name, *_]] = page.announce(("big.bin", len(content)))
    page.say("pieces", [content[:PIECE]], parts=[[name, 0]])
    app.session.show()
    assert app.unfinished.items.items[0]["title"] == "models/big.bin"
    again = Page(app, number=2)
    [[name, have, *_]] = again.announce(("big.bin", len(content)))
    assert have == PIECE
    again.say("check", id=name)
    assert again.answer("checked")["sha256"] == hashlib.sha256(content[:PIECE]).hexdigest()
    again.send(name, content, start=PIECE)
    again.finish(name, content)
    assert (home / "models" / "big.bin").read_bytes() == content
    page.say("pieces", [b"x"], parts=[[name, 0]])
    assert page.drop.send is not None
    assert again.told[-1]["kind"] == "lost", "a page that was replaced is told so"


def test_an_answer_that_the_page_has_not_heard_is_given_again(app):
    page = Page(app)
    [[name, *_]] = page.announce(("a.txt", 2))
    page.send(name, b"ok")
    assert page.finish(name, b"ok") == page.finish(name, b"ok")
    assert not (bounds.spot("models").path / "a-2.txt").exists()


def test_a_model_is_recognised_and_moves_only_when_the_user_says_so(app, home, tmp_path):
    content = recorded_networks.write(recorded_networks.NAMES[0], tmp_path).read_bytes()
    page = Page(app)
    [[name, *_]] = page.announce(("my lora.safetensors", len(content)))
    page.send(name, content)
    told = page.finish(name, content)
    assert "LoRA" in told["text"]
    assert told["belongs"] == "models/loras"
    assert (home / "models" / "my lora.safetensors").exists()
    page.say("end")
    page.say("accept", id=name)
    assert "models/loras/my lora.safetensors" in page.answer("moved")["text"]
    assert (home / "models" / "loras" / "my lora.safetensors").read_bytes() == content


def test_a_taken_name_is_told_and_replaced_only_by_choice(app, home):
    hear(app.where.cards, {"kind": "choose", "id": "models"})
    enter(app.where.below, "loras")
    page = Page(app)
    [[name, _, taken, *_]] = page.announce(("elena.safetensors", 3))
    assert taken
    page.send(name, b"new")
    assert page.finish(name, b"new", choice="replace")["text"].endswith("is in the trash.")
    assert (home / "models" / "loras" / "elena.safetensors").read_bytes() == b"new"
    assert trash.listed()[0].size_bytes == 7


def test_a_zip_is_unpacked_when_the_box_is_ticked(app, home):
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("set/a.png", b"a")
        archive.writestr("../evil", b"x")
    content = packed.getvalue()
    page = Page(app)
    [[name, *_]] = page.announce(("set.zip", len(content)))
    page.send(name, content)
    told = page.finish(name, content, unpack=True)
    assert told["text"] == "Unpacked 1 file into models/set. 1 was left out."
    assert told["notes"] == ["../evil: its name leads out of the folder."]
    assert not told["doubtful"]
    assert (home / "models" / "set" / "a.png").read_bytes() == b"a"
    assert not (home / "models" / "set.zip").exists()


def test_a_zip_that_is_unpacked_among_the_files_lists_each_entry_that_was_left_out(app, home):
    link = zipfile.ZipInfo("set/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(home / "models" / "set.zip", "w") as archive:
        archive.writestr("set/a.png", b"a")
        archive.writestr("set/../../evil", b"x")
        archive.writestr("set/.bashrc", b"x")
        archive.writestr(link, "/etc/passwd")
    app.session.look()
    go(app, "files")
    table(app, "choose", "set.zip")
    click(app.chosen.unpack)
    wait_for(lambda: "Unpacked 1 file into models/set. 3 were left out." in app.session.message)
    idle(app)
    assert on_page(app.chosen.notes)
    for line in ("set/../../evil: its name leads out", "set/.bashrc: it is hidden", "set/link: it is a link."):
        assert line in app.chosen.notes.value
    table(app, "choose", "loras")
    assert not on_page(app.chosen.notes), "they belong to the zip"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("zero.safetensors", b"", "empty"),
        ("one.safetensors", b"x", "not a model"),
        ("notzip.zip", b"no zip", "not a zip"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_gets_no_check_mark(app, name, content, words):
    page = Page(app)
    [[number, *_]] = page.announce((name, len(content)))
    if content:
        page.send(number, content)
    told = page.finish(number, content, unpack=True)
    assert told["doubtful"]
    assert words in told["text"]


def test_what_was_left_out_or_renamed_on_arrival_is_said(app):
    page = Page(app)
    rows = page.announce(("../../evil.txt", 2), (".bashrc", 2), ("CON.safetensors", 2), ("b" * 250 + ".txt", 2))
    assert [row[3] for row in rows] == [
        "its name leads out of the folder",
        "it is hidden, because its name begins with a dot",
        "",
        "",
    ]
    page.send(rows[3][0], b"ok")
    assert "was shortened to bbb" in page.finish(rows[3][0], b"ok")["text"]


@pytest.mark.parametrize(
    "message",
    [None, 3, {}, {"kind": "announce", "number": 1}, {"kind": "announce", "number": 1, "at": 1, "files": [["a"], 3]},
     {"kind": "pieces", "number": 1, "parts": "x"}, {"kind": "finish", "number": 1, "id": "x" * 500}, {"kind": "check", "number": 1, "id": "99"},
     {"kind": "accept", "number": 1, "id": "99"}, {"kind": "announce", "number": True, "at": 1, "files": []}],
)  # fmt: skip
def test_a_page_that_says_anything_changes_nothing(app, home, message):
    before = sorted(home.rglob("*"))
    page = Page(app)
    page.announce(("a.txt", 1))
    page.drop._handle_custom_msg(message, [])
    time.sleep(0.05)
    assert sorted(home.rglob("*")) == before
    assert page.announce(("b.txt", 1), at=2), "it still answers"


def test_a_folder_is_opened_and_its_files_are_chosen_renamed_and_deleted(app, home):
    go(app, "files")
    enter(app.files.root, "datasets")
    table(app, "open", "elena")
    assert app.files.table._content["path"] == ["Datasets", "elena"]
    assert [row[0] for row in app.files.table._content["rows"]] == ["0.png", "1.png", "2.png"]
    table(app, "choose", "0.png", "1.png")
    wait_for(lambda: app.session.size is not None)
    app.session.show()
    assert "2.0 kB" in app.chosen.facts.value or "2 kB" in app.chosen.facts.value
    table(app, "rename", "2.png", text="two.png")
    assert "Renamed 2.png to two.png" in app.session.message
    table(app, "rename", "two.png", text="../../evil.png")
    assert "cannot be the name" in app.session.message
    table(app, "delete", "0.png")
    assert on_page(app.chosen.asking)
    assert (home / "datasets" / "elena" / "0.png").exists(), "it was only asked"
    click(app.chosen.sure)
    idle(app)
    assert not (home / "datasets" / "elena" / "0.png").exists()
    assert app.places.counts == {"trash": 1}
    go(app, "trash")
    hear(app.trash.items, {"kind": "act", "item": trash.listed()[0].id, "act": "restore"})
    assert (home / "datasets" / "elena" / "0.png").exists()


def test_files_move_to_another_root_and_the_trash_is_emptied_after_a_question(app, home):
    go(app, "files")
    table(app, "open", "loras")
    table(app, "choose", "elena.safetensors")
    click(app.chosen.move)
    assert "No folder is chosen" in app.session.message
    enter(app.chosen.target, "outputs")
    click(app.chosen.move)
    idle(app)
    assert (home / "outputs" / "elena.safetensors").read_bytes() == b"weights"
    trash.delete(bounds.named("outputs/elena.safetensors"))
    app.session.look()
    go(app, "trash")
    click(app.trash.empty)
    assert trash.listed(), "it was only asked"
    click(button(app.trash.widget, "Remove it for good"))
    idle(app)
    assert trash.listed() == []


def test_only_what_is_in_the_folder_can_be_named_by_the_page(app, home):
    go(app, "files")
    version = app.files.table._version
    for names in (["../secret"], ["nothing"], "loras", [3], [None]):
        hear(app.files.table, {"kind": "delete", "version": version, "names": names})
        hear(app.files.table, {"kind": "open", "version": version, "names": names})
    for other in (version + 1, -1, None, "1"):
        hear(app.files.table, {"kind": "delete", "version": other, "names": ["loras"]})
    assert app.session.chosen == ()
    assert app.session.folder.parts == ()


def test_what_is_done_to_a_list_counts_although_the_folder_was_read_again_but_not_in_another_folder(app, home):
    go(app, "files")
    version = app.files.table._version
    (name,) = sorted(app.files.table._names)[:1]
    app.session.look()
    app.session.show_unasked()
    assert app.files.table._version != version
    hear(app.files.table, {"kind": "choose", "version": version, "names": [name]})
    assert app.session.chosen == (name,)
    enter(app.files.root, "datasets")
    assert "elena" in app.files.table._names
    hear(app.files.table, {"kind": "choose", "version": version, "names": ["elena"]})
    assert app.session.chosen == ()


def test_a_download_is_the_file_or_a_zip_that_is_made_while_it_is_sent(app, home):
    go(app, "files")
    enter(app.files.root, "datasets")
    table(app, "choose", "elena")
    told = []
    app.chosen.saver.send = lambda message, buffers=None: told.append((message, buffers))
    hear(app.chosen.saver, {"kind": "begin"})
    wait_for(lambda: told)
    number = told[-1][0]["number"]
    assert told[-1][0]["name"] == "elena.zip"
    content = b""
    while not (told[-1][0]["kind"] == "piece" and told[-1][0]["end"]):
        count = len(told)
        hear(app.chosen.saver, {"kind": "next", "number": number})
        wait_for(lambda count=count: len(told) > count)
        content += told[-1][1][0]
    with zipfile.ZipFile(BytesIO(content)) as packed:
        assert sorted(packed.namelist()) == ["elena/0.png", "elena/1.png", "elena/2.png"]
    assert not list(home.rglob("*.zip")), "nothing was written to the disk"


def test_an_unfinished_file_is_discarded(app):
    page = Page(app)
    [[name, *_]] = page.announce(("big.bin", 3 * PIECE))
    page.say("pieces", [bytes(PIECE)], parts=[[name, 0]])
    page.say("end")
    wait_for(lambda: not app.arriving.drop.is_receiving)
    app.session.show()
    hear(app.unfinished.items, {"kind": "act", "item": unfinished.listed()[0].key, "act": "discard"})
    assert unfinished.listed() == []


def test_a_link_is_checked_before_a_job_begins(app, home):
    go(app, "watch")
    enter(app.link.link, "/etc/passwd")
    click(app.link.fetch)
    assert "not a link" in app.session.message
    assert not (home / "jobs").exists()


def test_the_files_are_read_again_when_their_place_opens_and_after_each_arrival(app, home):
    def names():
        return [row[0] for row in app.files.table._content["rows"]]

    go(app, "files")
    assert names() == ["loras"]
    go(app, "bring")
    (home / "models" / "from elsewhere.txt").write_text("x")
    go(app, "files")
    assert names() == ["loras", "from elsewhere.txt"]
    page = Page(app)
    [[name, *_]] = page.announce(("a.bin", 3))
    page.send(name, b"abc")
    page.finish(name, b"abc")
    wait_for(lambda: app.session.is_stale or "a.bin" in names())
    app.beat()
    wait_for(lambda: "a.bin" in names())


def test_what_is_chosen_is_counted_as_it_will_be_sent(app, home):
    folder = home / "datasets" / "elena"
    (folder / ".easel-x.part").write_bytes(bytes(40_000))
    go(app, "files")
    enter(app.files.root, "datasets")
    table(app, "choose", "elena")
    wait_for(lambda: app.session.size is not None)
    app.session.show()
    assert "3 kB, 3 files. 1 more is not sent (40 kB)" in app.chosen.facts.value
    assert app.chosen.saver.size == 3000


def test_the_free_space_fills_the_meter_and_its_label_says_so(app):
    from trainer_core.keeping.listing import Space

    app.session.disk = Space(75_000_000_000, 100_000_000_000)
    app.bars["bring"].show()
    assert "Free on this disk" in app.bars["bring"].figures.value
    assert "width:75.0%" in app.bars["bring"].figures.value

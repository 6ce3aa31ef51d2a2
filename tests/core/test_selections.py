"""Selections and choices are kept whole, follow renamed images, and are read from damaged files as far as possible."""

import json
import threading

import pytest

from tests.support.page import draw_images
from trainer_core.curation import fixing, selections
from trainer_core.curation.journal import Change, Journal
from trainer_core.datasets import scan
from trainer_core.engines import registry
from trainer_core.errors import DatasetError


@pytest.fixture
def folder(tmp_path):
    return draw_images(tmp_path / "images", ["a cat", "a dog", "a bird"])


@pytest.fixture
def names(folder):
    return sorted(path.name for path in folder.glob("*.png"))


def file_of(folder):
    return folder / ".easel" / "selections.json"


def test_a_selection_and_choices_are_kept_in_the_agreed_form(folder, names):
    selections.keep(folder, " best of ", [names[1], names[0], names[1]])
    selections.choose(folder, names[:2], "keep")
    selections.choose(folder, names[1:], "reject")
    assert json.loads(file_of(folder).read_text()) == {
        "selections": {"best of": [names[1], names[0]]},
        "choices": {names[0]: "keep", names[1]: "reject", names[2]: "reject"},
    }
    selections.choose(folder, names[1:], "")
    found = selections.rename(folder, "best of", "good")
    assert found == selections.read(folder)
    assert found.images("good") == (names[1], names[0])
    assert found.choices == {names[0]: "keep"}
    assert not selections.remove(folder, "good").named


def test_a_dataset_without_selections_is_not_written_to(folder):
    assert selections.read(folder) == selections.Selections()
    assert not (folder / ".easel").exists()


@pytest.mark.parametrize("name", ["", "  ", "a/b", "..", ".hidden", "a\nb", "x" * 65, "a:b", "\u202eabc"])
def test_a_name_that_no_folder_could_have_is_refused(folder, names, name):
    with pytest.raises(DatasetError, match="cannot be the name"):
        selections.keep(folder, name, names)


@pytest.mark.parametrize("path", ["../out.png", "/etc/passwd", ".easel/lock", "a\\..\\b.png"])
def test_a_path_out_of_the_dataset_is_refused(folder, path):
    with pytest.raises(DatasetError, match="not a path inside"):
        selections.keep(folder, "mine", [path])
    assert not file_of(folder).exists()


def test_unknown_names_and_choices_are_refused(folder, names):
    selections.keep(folder, "mine", names)
    selections.keep(folder, "other", names)
    for call in (
        lambda: selections.remove(folder, "yours"),
        lambda: selections.rename(folder, "mine", "other"),
        lambda: selections.choose(folder, names, "perhaps"),
        lambda: selections.read(folder).images("yours"),
    ):
        with pytest.raises(DatasetError):
            call()
    assert set(selections.read(folder).named) == {"mine", "other"}


def test_a_renamed_and_a_converted_image_stay_in_the_selection(folder, names):
    from PIL import Image

    Image.new("RGB", (300, 300), "red").save(folder / "odd.gif")
    upper = folder / "Mixed.Png"
    (folder / names[0]).rename(upper)
    selections.keep(folder, "mine", ["Mixed.Png", "odd.gif", names[1]])
    selections.choose(folder, ["odd.gif"], "keep")
    found = scan.scan(folder, registry.get("kohya").manifest.dataset)
    changes, refused = fixing.changes(found, ["rename", "convert"])
    assert not refused
    journal = Journal(folder)
    journal.apply("fix", "Fix", changes)
    kept = selections.read(folder)
    assert kept.images("mine") == ("Mixed.png", "odd.png", names[1])
    assert kept.choices == {"odd.png": "keep"}
    selections.choose(folder, [names[1]], "reject")
    assert "odd.png" in file_of(folder).read_text()
    journal.undo()
    kept = selections.read(folder)
    assert kept.images("mine") == ("Mixed.Png", "odd.gif", names[1])
    assert kept.choices == {"odd.gif": "keep", names[1]: "reject"}


def test_an_image_that_is_moved_twice_stays_in_the_selection(folder, names):
    selections.keep(folder, "mine", names)
    journal = Journal(folder)
    for old, new in ((names[0], "inner/first.png"), ("inner/first.png", "second.png")):
        journal.apply("rename", "Rename", [Change(old, None), Change(new, folder / old)])
    assert selections.read(folder).images("mine") == ("second.png", *names[1:])
    journal.undo()
    assert selections.read(folder).images("mine") == ("inner/first.png", *names[1:])


def test_an_image_that_is_gone_is_named_and_comes_back_with_an_undo(folder, names):
    selections.keep(folder, "mine", names)
    journal = Journal(folder)
    journal.apply("move-out", "Move out", [Change(names[0], None)])
    kept = selections.choose(folder, names[1:], "keep")
    assert kept.images("mine") == tuple(names[1:])
    assert kept.missing("mine") == (names[0],)
    journal.undo()
    assert selections.read(folder).images("mine") == tuple(names)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"selections": 3}',
        '{"choices": []}',
        '{"selections": {"a/b": []}}',
        "[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_damaged_file_is_said_and_kept_beside_the_new_one(folder, names, text):
    selections.keep(folder, "mine", names)
    content = text if isinstance(text, bytes) else text.encode()
    file_of(folder).write_bytes(content)
    assert len(selections.read(folder).notes) == 1
    assert selections.keep(folder, "new", names).images("new") == tuple(names)
    assert file_of(folder).with_name("selections.json.damaged").read_bytes() == content


def test_what_can_be_used_of_a_file_is_used(folder, names):
    selections.keep(folder, "mine", names)
    content = {
        "selections": {"mine": [names[0], 5, "../x.png"], "": [names[1]]},
        "choices": {names[0]: "keep", names[1]: "later"},
        "written_by": "another version",
    }
    file_of(folder).write_text(json.dumps(content))
    found = selections.read(folder)
    assert found.named == {"mine": (names[0],)}
    assert found.choices == {names[0]: "keep"}
    assert found.notes == ("4 entries of selections.json cannot be used.",)
    selections.choose(folder, [names[2]], "keep")
    assert json.loads(file_of(folder).read_text())["written_by"] == "another version"


def test_a_link_in_place_of_the_file_is_not_followed(folder, names, tmp_path):
    outside = tmp_path / "secret.json"
    outside.write_text('{"selections": {"stolen": []}}')
    (folder / ".easel").mkdir()
    file_of(folder).symlink_to(outside)
    assert not selections.read(folder).named
    selections.keep(folder, "mine", names)
    assert outside.read_text() == '{"selections": {"stolen": []}}'


def test_changes_from_several_threads_are_all_kept(folder, names):
    threads = [threading.Thread(target=selections.keep, args=(folder, f"set {number}", names)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(selections.read(folder).named) == 8

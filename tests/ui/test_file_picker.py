"""The file picker: what it may show, what it refuses, and that a choice goes into the field."""

import os
from pathlib import Path

import pytest

from tests.support import recorded_headers
from tests.support.page import click, prepare, wait_for
from trainer_core import places
from trainer_ui import browsing
from trainer_ui.browsing import NotAllowedError, Place
from trainer_ui.components.file_picker import FilePicker


@pytest.fixture
def person(tmp_path, monkeypatch):
    """A home folder with models, a dataset, a hidden folder, and links; beside it what no picker may show."""
    mine, secret = tmp_path / "person", tmp_path / "secret"
    for folder in (mine / "models", mine / "images", mine / ".ssh", secret):
        folder.mkdir(parents=True)
    (mine / "models" / "a.safetensors").write_bytes(b"x" * 2_000_000)
    (mine / "models" / "notes.txt").write_text("notes")
    (mine / "models" / "B.CKPT").write_bytes(b"x")
    (secret / "key.safetensors").write_bytes(b"x")
    (mine / "models" / "inside").symlink_to(mine / "images")
    (mine / "models" / "outside").symlink_to(secret)
    (mine / "models" / "out.safetensors").symlink_to(secret / "key.safetensors")
    (mine / "models" / "gone.safetensors").symlink_to(mine / "nothing")
    monkeypatch.setenv("HOME", str(mine))
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    return mine


def names(listing):
    return [item.name for item in listing.items]


def test_a_folder_lists_folders_first_and_only_files_of_the_wanted_kind(person):
    seen = browsing.look(person / "models", browsing.roots(), browsing.MODELS)
    assert names(seen) == ["inside", "a.safetensors", "B.CKPT"]
    assert [item.size_bytes for item in seen.items] == [0, 2_000_000, 1]
    assert seen.parent == person
    assert "notes.txt" in names(browsing.look(person / "models", browsing.roots()))
    assert names(browsing.look(person / "models", browsing.roots(), browsing.MODELS, "CKPT")) == ["B.CKPT"]


def test_hidden_folders_and_links_that_lead_out_are_not_listed(person):
    assert ".ssh" not in names(browsing.look(person, browsing.roots()))
    assert not {"outside", "out.safetensors", "gone.safetensors"} & set(
        names(browsing.look(person / "models", browsing.roots()))
    )


@pytest.mark.parametrize(
    "path",
    [
        "{secret}",
        "{secret}/key.safetensors",
        "{mine}/../secret",
        "{mine}/models/outside",
        "{mine}/models/out.safetensors",
        "{mine}/models/outside/key.safetensors",
        "/etc/passwd",
        "/",
        "",
        "{mine}\0/x",
        "{mine}-evil",
    ],
)
def test_no_path_leads_out_of_the_roots(person, path):
    (person.parent / "person-evil").mkdir()
    text = path.format(mine=person, secret=person.parent / "secret")
    with pytest.raises(NotAllowedError):
        browsing.allowed(text, [Place(person, "Home")])


def test_the_parent_of_a_root_is_not_offered(person):
    assert browsing.look(person, [Place(person, "Home")]).parent is None
    nested = [Place(person, "Home"), Place(person / "models", "Models")]
    assert browsing.look(person / "models", nested).parent == person


def test_a_large_folder_is_cut_and_says_so(person, monkeypatch):
    monkeypatch.setattr(browsing, "MOST_ENTRIES", 3)
    for number in range(9):
        (person / "images" / f"{number}.png").write_bytes(b"")
    seen = browsing.look(person / "images", browsing.roots())
    assert (len(seen.items), seen.left_out) == (3, 6)


def test_a_name_that_is_not_text_is_left_out(person):
    (person / "images" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    assert names(browsing.look(person / "images", browsing.roots())) == []


def test_the_folders_used_lately_come_first_and_damaged_memory_is_ignored(person):
    for folder in ("models", "images", "models"):
        browsing.remember(person / folder)
    assert browsing.recent() == (person / "models", person / "images")
    (places.home() / "recent-folders.json").write_text('{"folders": [3, null, "/nowhere"]}')
    assert browsing.recent() == ()
    (places.home() / "recent-folders.json").write_text("[")
    assert browsing.recent() == ()


TAKEN: list[Path] = []


@pytest.fixture
def picker(person):
    TAKEN.clear()
    return FilePicker("Model", "file", browsing.MODELS, TAKEN.append)


def tell(picker, **message):
    """What the page sends."""
    assert picker is not None
    picker._heard(picker, message, [])


def test_the_page_gets_a_folder_and_a_choice_is_taken(picker, person):
    picker.look_at("")
    wait_for(lambda: picker.content.get("path") == str(person))
    tell(picker, kind="open", path=str(person / "models"), find="")
    wait_for(lambda: picker.content.get("path") == str(person / "models"))
    assert [item["name"] for item in picker.content["items"]] == ["inside", "a.safetensors", "B.CKPT"]
    assert picker.content["items"][1]["size"] == "2 MB"
    tell(picker, kind="choose", path=str(person / "models" / "a.safetensors"))
    assert [person / "models" / "a.safetensors"] == TAKEN
    assert browsing.recent() == (person / "models",)


def test_what_the_page_sends_is_checked(picker, person):
    picker.look_at("")
    wait_for(lambda: picker.content.get("path"))
    for message in (
        {"kind": "choose", "path": "/etc/passwd"},
        {"kind": "choose", "path": str(person / "models")},
        {"kind": "choose", "path": str(person / "models" / "out.safetensors")},
        {"kind": "choose", "path": 3},
        {"kind": "choose", "path": ["x"]},
        {"kind": "choose", "path": "x" * 5000},
        {"kind": "open"},
        {},
    ):
        tell(picker, **message)
    picker._heard(picker, "x", [])
    assert TAKEN == []
    tell(picker, kind="open", path="/etc", find="")
    wait_for(lambda: "not in a folder that Easel may show" in picker.content.get("said", ""))
    assert picker.content["path"] == str(person)


def test_a_chosen_model_goes_into_the_field_and_the_picker_closes(open_app, home, person):
    path = recorded_headers.write("sd15", person / "models")
    app = open_app()
    browse = app.model.browse
    assert browse.picker is None, "it is made when it is first opened"
    click(browse.button)
    assert browse.picker in browse.widget.children
    wait_for(lambda: browse.picker.content.get("path"))
    tell(browse.picker, kind="choose", path=str(path))
    assert app.session.values["model.path"] == str(path)
    assert app.session.bench.state.family == "sd15"
    assert browse.picker not in browse.widget.children
    click(browse.button)
    wait_for(lambda: browse.picker.content.get("path") == str(person / "models"))
    tell(browse.picker, kind="close")
    assert browse.picker not in browse.widget.children


def test_a_chosen_folder_is_the_dataset_and_a_companion_file_has_a_picker(open_app, home, person):
    settings = prepare(home)
    app = open_app(settings, engine="kohya")
    click(app.dataset.browse.button)
    wait_for(lambda: app.dataset.browse.picker.content.get("path"))
    tell(app.dataset.browse.picker, kind="choose", path=str(person / "images"))
    assert app.session.values["dataset.path"] == str(person / "images")
    tell(app.dataset.browse.picker, kind="choose", path=str(person / "models" / "a.safetensors"))
    assert app.session.values["dataset.path"] == str(person / "images"), "a file is no dataset"

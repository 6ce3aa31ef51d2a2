"""The file picker: what it may show, what it refuses, and that a choice goes into the field."""

import os
from pathlib import Path

import pytest

from tests.support import recorded_headers
from tests.support.page import click, prepare, wait_for
from trainer_core import places
from trainer_ui import browsing
from trainer_ui.apps.checkpoint_merger import CheckpointMerger
from trainer_ui.apps.lora_utilities import LoraUtilities
from trainer_ui.apps.model_converter import ModelConverter
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


def test_a_picker_of_models_begins_where_models_are_and_then_where_the_field_was_used_last(person):
    ours = places.models()
    ours.mkdir(parents=True)
    assert browsing.first_folders("Model", models=True)[0] == person, "an empty folder of models helps nobody"
    (ours / "a.safetensors").write_bytes(b"x")
    assert browsing.first_folders("Model", models=True)[0] == ours
    assert browsing.first_folders("Dataset", models=False)[0] == person
    browsing.remember(person / "images", "Dataset")
    browsing.remember(person / "models", "Model")
    assert browsing.first_folders("Dataset", models=False)[0] == person / "images"
    assert browsing.first_folders("Model", models=True)[0] == person / "models"
    assert browsing.first_folders("VAE", models=True)[0] == person / "models", "the last one of any field"
    (places.home() / "recent-folders.json").write_text('{"folders": 3, "fields": {"Model": 3, "VAE": "/nowhere"}}')
    assert browsing.first_folders("Model", models=True)[0] == ours


def test_rows_of_one_field_share_their_folder(person):
    first, second = (FilePicker(f"LoRA {number}", "file", browsing.MODELS, TAKEN.append) for number in (1, 2))
    assert first.field == second.field == "LoRA"


def test_the_models_of_other_programs_are_offered_and_the_end_of_up_is_explained(picker, person):
    for name in ("ComfyUI/models/loras", "stable-diffusion-webui/models", "stable-diffusion-webui/embeddings"):
        (person / name).mkdir(parents=True)
    picker.look_at("")
    wait_for(lambda: picker.content.get("path") == str(person / "ComfyUI" / "models"))
    titles = [start["title"] for start in picker.content["starts"]]
    assert "Models: ComfyUI" in titles
    assert "Models: Stable Diffusion WebUI, embeddings" in titles
    assert picker.content["top"] == ""
    tell(picker, kind="open", path=str(person), find="")
    wait_for(lambda: picker.content.get("path") == str(person))
    assert picker.content["parent"] == ""
    assert "easel models folders add" in picker.content["top"]


@pytest.mark.parametrize(
    ("kind", "wants"),
    [
        (ModelConverter, {"convert.files": "either", "check.file": "either"}),
        (
            CheckpointMerger,
            {"merge.a": "file", "merge.vae": "file", "bake.checkpoint": "either", "bake.networks": "file"},
        ),
        (LoraUtilities, {"merge.files": "file", "extract.tuned": "either", "extract.base": "either"}),
    ],
)
def test_each_picker_offers_what_its_tool_takes(kind, wants):
    fields = {f"{one.id}.{field.name}": field for one in kind.utilities for card in one.cards for field in card.fields}
    assert {name: fields[name].wants for name in wants} == wants


def test_the_picker_of_a_row_offers_folders_where_the_tool_takes_them(opening, home):
    app = opening(ModelConverter)
    [rows] = [one for one in app.forms["convert"].controls if one.field.name == "files"]
    assert rows.rows[0].browse.wants == "either"
    assert rows.rows[0].browse.button.description == "Choose a file or folder"
    assert ".index.json" in rows.rows[0].browse.extensions

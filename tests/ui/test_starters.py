"""Base models to begin with: the table, the list in the model step, downloads from a real server, and the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from tests.support import trained_models
from tests.support.downloading import SECRET
from tests.support.page import click, enter, inside, on_page, wait_for, wait_for_fetch
from trainer_core import hardware, places
from trainer_core.cli import main
from trainer_core.engines import registry
from trainer_core.models import downloads, starters
from trainer_core.models.families import load_families

HEADERS = Path(__file__).parents[1] / "data" / "headers"
SHIPPED = starters.shipped()


@pytest.mark.parametrize("one", SHIPPED.values(), ids=list(SHIPPED))
def test_a_starter_model_has_its_facts_and_is_of_a_family_that_an_engine_trains(one):
    assert one.family in load_families()
    assert any(one.family in engine.manifest.families for engine in registry.available())
    assert one.repo.count("/") == 1
    assert one.file.endswith(".safetensors") or not one.file
    assert not one.size_bytes or 1e9 < one.size_bytes < 60e9
    assert one.licence == one.licence.lower()
    assert one.licence_url.startswith("https://")
    assert one.licence_title
    assert one.about.endswith(".")
    assert one.source
    assert one.link.shown
    assert downloads.parse(one.address) == one.link
    assert bool(one.how_to_get_access) == one.gated


def test_starter_models_are_in_a_use_each_and_the_first_needs_no_token():
    first = next(iter(SHIPPED.values()))
    assert not first.gated
    assert len({one.use for one in SHIPPED.values()}) >= 3
    assert len({(one.repo, one.file) for one in SHIPPED.values()}) == len(SHIPPED)


def saved_as(one):
    return str(places.models() / "checkpoints" / one.file)


def press(app, name):
    app.model.starters.list.chosen = name
    app.model.starters.list._heard(app.model.starters.list, {"kind": "get", "id": name}, [])


def test_the_list_is_open_without_models_and_says_where_it_is_saved(open_app, home):
    app = open_app(engine="")
    assert on_page(app.model.starters.widget)
    wait_for(lambda: app.model.shelf.library is not None)
    assert app.model.starters.list.is_open
    app.model.starters.list.chosen = "sdxl"
    told = app.model.starters.list.told
    assert str(places.models()) in told["text"]
    assert told["button"] == "Download 6.94 GB"
    assert not list(home.rglob("*.safetensors")), "nothing is downloaded before it is asked for"


def test_the_list_is_folded_when_there_are_models_here(open_app, home):
    models = home / "models"
    models.mkdir(parents=True)
    (models / "mine.safetensors").write_bytes(save(trained_models.sd15()))
    app = open_app(engine="")
    wait_for(lambda: app.model.shelf.library is not None and not app.model.starters.list.is_open)
    enter(app.model.known, str(models / "mine.safetensors"))
    assert not on_page(app.model.starters.widget)


def test_a_starter_model_is_downloaded_and_becomes_the_model(open_app, hub):
    one = starters.get("sd15")
    hub.hub(one.repo, {one.file: save(trained_models.sd15()), "README.md": b"# a model"})
    app = open_app(engine="")
    press(app, "sd15")
    wait_for(lambda: app.session.values["model.path"] == saved_as(one))
    assert app.session.bench.state.family == "sd15"
    assert Path(saved_as(one)).is_file()
    assert not on_page(app.model.starters.widget)


def test_a_starter_that_is_a_folder_is_downloaded_as_a_whole(open_app, hub):
    one = starters.get("qwen-image-2-1")
    recorded = json.loads((HEADERS / "folder-qwen-image21.json").read_text())["configs"]
    weights = {"img_in.weight": np.zeros((1, 1), np.float16)}
    files = {
        "model_index.json": json.dumps(recorded[""]).encode(),
        "transformer/config.json": json.dumps(recorded["transformer"]).encode(),
        "transformer/diffusion_pytorch_model.safetensors": save(weights),
        "scheduler/scheduler_config.json": json.dumps(recorded["scheduler"]).encode(),
    }
    hub.hub(one.repo, {**files, "README.md": b"# a model"})
    app = open_app(engine="")
    press(app, one.id)
    wait_for(lambda: Path(app.session.values["model.path"]).is_dir())
    folder = Path(app.session.values["model.path"])
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.is_file()} == set(files)
    assert app.session.bench.state.family == "qwen_image21"


def test_a_stopped_download_goes_on_from_the_same_list(open_app, hub):
    one = starters.get("sd15")
    app = open_app(engine="")
    press(app, "sd15")
    wait_for_fetch(app.model.fetch, "failed")
    wait_for(lambda: on_page(app.model.starters.widget))
    hub.hub(one.repo, {one.file: save(trained_models.sd15())})
    click(app.model.fetch.get)
    wait_for(lambda: app.session.values["model.path"] == saved_as(one))


def test_a_gated_model_says_what_to_do_and_asks_for_the_token_first(open_app, hub):
    one = starters.get("flux-dev")
    hub.hub(one.repo, {one.file: save(trained_models.sd15())}, token=SECRET)
    app = open_app(engine="")
    press(app, "flux-dev")
    assert app.model.fetch.state == "asking"
    assert on_page(app.model.fetch.ask)
    assert one.page in app.model.fetch.says.value
    assert "easel-is-failed" not in app.model.fetch.widget._dom_classes
    assert not [each for each in hub.requests if one.repo in each.path]
    enter(app.model.fetch.token, SECRET)
    click(app.model.fetch.use)
    wait_for(lambda: app.session.values["model.path"] == saved_as(one))
    states = [each.get_state() for each in inside(app.root)]
    assert SECRET not in json.dumps(states, default=str)


def test_a_full_disk_is_said_before_and_offers_no_download(open_app, monkeypatch):
    monkeypatch.setattr(starters, "free_disk_bytes", lambda _: 1_000_000_000)
    app = open_app(engine="")
    app.model.starters.list.chosen = "flux-dev"
    told = app.model.starters.list.told
    assert told["tone"] == "warn"
    assert told["button"] == ""
    assert "1.0 GB are free there, and it needs 23.8 GB" in told["text"]
    assert hardware.free_disk_bytes(places.models()) > 0


def test_a_message_that_is_not_of_the_list_starts_nothing(open_app, hub):
    app = open_app(engine="")
    for message in (
        None,
        3,
        {"kind": "get"},
        {"kind": "get", "id": "../x"},
        {"kind": "get", "id": ["sdxl"]},
        {"id": "sdxl"},
    ):
        app.model.starters.list._heard(app.model.starters.list, message, [])
    app.model.starters.list.chosen = "no such model"
    assert app.model.fetch.state == "idle"
    assert not hub.requests


def test_the_command_lists_the_models_and_says_how_to_get_one(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    with pytest.raises(SystemExit):
        main(["models", "starter", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in rows] == list(SHIPPED)
    with pytest.raises(SystemExit):
        main(["models", "starter", "flux-dev"])
    said = " ".join(capsys.readouterr().out.split())
    assert "accept the conditions on" in said
    assert "easel models download" in said
    with pytest.raises(SystemExit) as ended:
        main(["models", "starter", "nothing"])
    assert ended.value.code == 2

"""The model panel without a page: models on this machine, links that are inspected and downloaded, and companion files."""

from __future__ import annotations

import json
import math

import pytest

from tests.support import recorded_headers
from tests.support.downloading import SECRET
from tests.support.page import button, click, enter, inside, on_page, prepare, wait_for, wait_for_fetch
from trainer_core import places
from trainer_core.models.header import BITS


def part(name: str) -> bytes:
    """A complete file of a recorded layout with one byte for each weight, so that it is small."""
    tensors, position = {}, 0
    for key, (_, shape) in recorded_headers.load(name)["tensors"].items():
        size = math.prod(shape) * BITS["F8_E4M3"] // 8
        tensors[key] = {"dtype": "F8_E4M3", "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    return recorded_headers.file_bytes(tensors, bytes(position))


def test_a_link_is_inspected_and_then_downloaded(open_app, home, hub, tiny):
    hub.hub("org/tiny-sdxl", tiny)
    app = open_app(prepare(home))
    enter(app.model.path, "org/tiny-sdxl")
    wait_for_fetch(app.model.fetch, "offered")
    wait_for(lambda: on_page(app.model.fetch.get))
    assert "Stable Diffusion XL" in app.model.fetch.says.value
    assert app.session.values["model.path"] == "org/tiny-sdxl", "the previous model is not trained instead"
    app.session.start()
    assert app.session.message == "Not started. One thing stops it."
    (row,) = [row for row in app.launch.problems.rows if on_page(row.widget) and row.problem.severity == "error"]
    assert row.problem.message.startswith("The base model org/tiny-sdxl does not exist.")
    assert not list(places.models().rglob("model_index.json")), "only headers were downloaded"
    click(app.model.fetch.get)
    wait_for_fetch(app.model.fetch, "idle")
    wait_for(lambda: app.session.values["model.path"] != "org/tiny-sdxl")
    path = places.models() / "diffusers" / "tiny-sdxl"
    assert app.session.values["model.path"] == str(path)
    assert app.session.bench.state.family == "sdxl"
    wait_for(lambda: str(path) in [value for _, value in app.model.known.options])
    assert not on_page(app.model.fetch.widget)


def test_a_failed_download_is_reported_and_nothing_is_chosen(open_app, home, hub, tiny):
    app = open_app(prepare(home))
    before = app.session.values["model.path"]
    enter(app.model.path, "hf:org/missing")
    wait_for_fetch(app.model.fetch, "failed")
    wait_for(lambda: on_page(app.model.fetch.widget))
    assert not on_page(app.model.fetch.ask)
    app.session.start()
    assert app.session.message == "Not started. One thing stops it."
    (row,) = [row for row in app.launch.problems.rows if on_page(row.widget) and row.problem.severity == "error"]
    assert row.problem.message.startswith("The base model is a link: download it first.")
    hub.hub("org/missing", tiny)
    click(app.model.fetch.get)
    wait_for_fetch(app.model.fetch, "offered")
    enter(app.model.path, "hf:org/gone")
    wait_for_fetch(app.model.fetch, "failed")
    enter(app.model.path, before)
    assert not on_page(app.model.fetch.widget), "a path hides the failure"


def test_a_token_is_requested_used_and_never_shown(open_app, home, hub, tiny):
    hub.hub("org/closed", tiny, token=SECRET)
    app = open_app(prepare(home))
    enter(app.model.path, "hf:org/closed")
    wait_for_fetch(app.model.fetch, "failed")
    wait_for(lambda: on_page(app.model.fetch.ask))
    enter(app.model.fetch.token, SECRET)
    click(app.model.fetch.use)
    wait_for_fetch(app.model.fetch, "offered")
    states = [one.get_state() for one in inside(app.root)]
    assert SECRET not in json.dumps(states, default=str)


def test_companion_files_are_found_by_their_content(open_app, home):
    settings = prepare(home)
    for name, called in (("flux-dev", "some-flux"), ("t5xxl", "anything"), ("clip-g", "clip_l"), ("vae-flux", "ae")):
        recorded_headers.write_file(home / "models" / f"{called}.safetensors", recorded_headers.load(name)["tensors"])
    app = open_app(settings, engine="kohya")
    enter(app.model.path, str(home / "models" / "some-flux.safetensors"))
    controls = app.model.companions.controls
    found = {path: one.control.value for path, one in controls.items() if on_page(one.widget)}
    assert found == {
        "model.vae": str(home / "models" / "ae.safetensors"),
        "model.clip_l": "",
        "model.t5xxl": str(home / "models" / "anything.safetensors"),
    }
    assert controls["model.t5xxl"].source.description == "found here"
    assert "CLIP" in app.model.companions.missing.value
    enter(controls["model.clip_l"].control, str(home / "models" / "clip_l.safetensors"))
    assert "OpenCLIP" in controls["model.clip_l"].note or "CLIP-G" in controls["model.clip_l"].note
    enter(app.model.path, settings["model.path"])
    assert app.session.values["model.t5xxl"] == ""


def test_companion_files_follow_the_chosen_engine(open_app, home):
    settings = prepare(home)
    for name in ("flux-dev", "t5xxl"):
        recorded_headers.write_file(home / "models" / f"{name}.safetensors", recorded_headers.load(name)["tensors"])
    app = open_app({**settings, "model.path": str(home / "models" / "flux-dev.safetensors")})
    assert app.session.values["model.t5xxl"] == "", "the rehearsal needs none"
    enter(app.model.engine.choice, "kohya")
    assert app.session.values["model.t5xxl"] == str(home / "models" / "t5xxl.safetensors")


def test_a_missing_companion_file_is_downloaded_and_used(open_app, home, hub):
    settings = prepare(home)
    for name in ("flux-dev", "t5xxl", "vae-flux"):
        recorded_headers.write_file(home / "models" / f"{name}.safetensors", recorded_headers.load(name)["tensors"])
    app = open_app({**settings, "model.path": str(home / "models" / "flux-dev.safetensors")}, engine="kohya")
    wait_for(lambda: on_page(app.model.companions.get))
    missing = app.session.bench.state.facts.companions.missing
    assert [each.setting for each in missing] == ["clip_l"]
    (missing,) = missing
    (problem,) = (each for each in app.session.problems if each.path == "model.clip_l")
    source = f"hf:{missing.sources[0].repo}/{missing.sources[0].file}"
    assert (problem.fix.task.command, problem.fix.task.setting) == (
        f"easel models download {source}",
        "model.clip_l",
    )
    hub.hub(missing.sources[0].repo, {missing.sources[0].file: part("clip-l")})
    click(button(app.model.companions.widget, app.model.companions.get.description))
    wait_for(lambda: app.session.values["model.clip_l"])
    assert (places.models() / "text_encoders") in type(home)(app.session.values["model.clip_l"]).parents
    wait_for(lambda: not [problem for problem in app.session.problems if problem.path == "model.clip_l"])
    wait_for(lambda: not on_page(app.model.companions.get))


@pytest.mark.parametrize("text", ["htps://civitai.com/models/1", "ftp://host/a.safetensors"])
def test_a_link_that_is_not_understood_stays_in_the_field_with_the_reason(open_app, home, text):
    app = open_app(prepare(home))
    enter(app.model.path, text)
    assert app.model.path.value == text
    (found,) = (each for each in app.session.problems if each.path == "model.path" and each.severity == "error")
    assert text.partition(":")[0] in found.message
    app.session.start()
    assert app.session.message.startswith("Not started.")

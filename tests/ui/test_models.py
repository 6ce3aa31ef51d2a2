"""The model panel without a page: what lies here, links looked at and fetched, and the files beside a model."""

from __future__ import annotations

import json
import math

from tests.core import recorded_headers
from tests.core.downloading import SECRET
from tests.ui.page import button, click, enter, inside, on_page, prepare, wait_for
from trainer_core import places
from trainer_core.header import BITS


def part(name: str) -> bytes:
    """A whole file of a recorded layout, its weights one byte each, so that it is as small as it can be."""
    tensors, position = {}, 0
    for key, (_, shape) in recorded_headers.load(name)["tensors"].items():
        size = math.prod(shape) * BITS["F8_E4M3"] // 8
        tensors[key] = {"dtype": "F8_E4M3", "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    return recorded_headers.file_bytes(tensors, bytes(position))


def test_a_link_is_looked_at_and_then_fetched(open_app, home, hub, tiny):
    hub.hub("org/tiny-sdxl", tiny)
    app = open_app(prepare(home))
    before = app.session.values["model.path"]
    enter(app.model.path, "org/tiny-sdxl")
    wait_for(lambda: app.model.fetch.state == "offered")
    wait_for(lambda: on_page(app.model.fetch.get))
    assert "Stable Diffusion XL" in app.model.fetch.says.value
    assert app.session.values["model.path"] == before, "nothing is chosen by looking"
    assert not list(places.models().rglob("model_index.json")), "nothing has come but headers"
    click(app.model.fetch.get)
    wait_for(lambda: app.model.fetch.state == "idle")
    wait_for(lambda: app.session.values["model.path"] != before)
    path = places.models() / "diffusers" / "tiny-sdxl"
    assert app.session.values["model.path"] == str(path)
    assert app.session.bench.family == "sdxl"
    wait_for(lambda: str(path) in [value for _, value in app.model.known.options])
    assert not on_page(app.model.fetch.widget)


def test_what_cannot_be_had_is_said_and_nothing_is_chosen(open_app, home, hub, tiny):
    app = open_app(prepare(home))
    before = app.session.values["model.path"]
    enter(app.model.path, "hf:org/missing")
    wait_for(lambda: app.model.fetch.state == "failed")
    wait_for(lambda: on_page(app.model.fetch.widget))
    assert not on_page(app.model.fetch.ask)
    assert app.session.values["model.path"] == before
    hub.hub("org/missing", tiny)
    click(app.model.fetch.get)
    wait_for(lambda: app.model.fetch.state == "offered")
    enter(app.model.path, "hf:org/gone")
    wait_for(lambda: app.model.fetch.state == "failed")
    enter(app.model.path, before)
    assert not on_page(app.model.fetch.widget), "a path puts the failure away"


def test_a_token_is_asked_for_used_and_shown_nowhere(open_app, home, hub, tiny):
    hub.hub("org/closed", tiny, token=SECRET)
    app = open_app(prepare(home))
    enter(app.model.path, "hf:org/closed")
    wait_for(lambda: app.model.fetch.state == "failed")
    wait_for(lambda: on_page(app.model.fetch.ask))
    enter(app.model.fetch.token, SECRET)
    click(app.model.fetch.use)
    wait_for(lambda: app.model.fetch.state == "offered")
    states = [one.get_state() for one in inside(app.root)]
    assert SECRET not in json.dumps(states, default=str)


def test_files_beside_a_model_are_found_by_what_they_are(open_app, home):
    settings = prepare(home)
    for name, called in (("flux-dev", "some-flux"), ("t5xxl", "anything"), ("clip-g", "clip_l"), ("vae-flux", "ae")):
        recorded_headers.write_file(home / "models" / f"{called}.safetensors", recorded_headers.load(name)["tensors"])
    app = open_app(settings, engine="kohya")
    enter(app.model.path, str(home / "models" / "some-flux.safetensors"))
    controls = app.model.beside.controls
    found = {path: one.control.value for path, one in controls.items() if on_page(one.widget)}
    assert found == {
        "model.vae": str(home / "models" / "ae.safetensors"),
        "model.clip_l": "",
        "model.t5xxl": str(home / "models" / "anything.safetensors"),
    }
    assert controls["model.t5xxl"].source.value == "found here"
    assert "CLIP" in app.model.beside.missing.value
    enter(controls["model.clip_l"].control, str(home / "models" / "clip_l.safetensors"))
    assert "OpenCLIP" in controls["model.clip_l"].note or "CLIP-G" in controls["model.clip_l"].note
    enter(app.model.path, settings["model.path"])
    assert app.session.values["model.t5xxl"] == ""


def test_another_engine_finds_what_it_needs_beside_the_model(open_app, home):
    settings = prepare(home)
    for name in ("flux-dev", "t5xxl"):
        recorded_headers.write_file(home / "models" / f"{name}.safetensors", recorded_headers.load(name)["tensors"])
    app = open_app({**settings, "model.path": str(home / "models" / "flux-dev.safetensors")})
    assert app.session.values["model.t5xxl"] == "", "the rehearsal needs none"
    enter(app.launch.engine.choice, "kohya")
    assert app.session.values["model.t5xxl"] == str(home / "models" / "t5xxl.safetensors")


def test_a_missing_file_is_fetched_and_taken(open_app, home, hub):
    settings = prepare(home)
    for name in ("flux-dev", "t5xxl", "vae-flux"):
        recorded_headers.write_file(home / "models" / f"{name}.safetensors", recorded_headers.load(name)["tensors"])
    app = open_app({**settings, "model.path": str(home / "models" / "flux-dev.safetensors")}, engine="kohya")
    wait_for(lambda: on_page(app.model.beside.get))
    missing = app.session.bench.facts.beside.missing
    assert [each.setting for each in missing] == ["clip_l"]
    (missing,) = missing
    hub.hub(missing.sources[0].repo, {missing.sources[0].file: part("clip-l")})
    click(button(app.model.beside.widget, app.model.beside.get.description))
    wait_for(lambda: app.session.values["model.clip_l"])
    assert (places.models() / "text_encoders") in type(home)(app.session.values["model.clip_l"]).parents
    wait_for(lambda: not [problem for problem in app.session.problems if problem.path == "model.clip_l"])
    wait_for(lambda: not on_page(app.model.beside.get))

"""The model panel while its threads work: links, downloads and scans that overlap, and tokens."""

from __future__ import annotations

import threading

from tests.support import recorded_headers
from tests.support.downloading import SECRET
from tests.support.misbehaving import send
from tests.support.page import click, enter, on_page, prepare, wait_for, wait_for_fetch
from trainer_core.models import library


def delayed(server, path: str) -> threading.Event:
    """Delays the answer to the next request for this path until the event is set."""
    go = threading.Event()

    def wait(handler, served):
        go.wait(200)
        (served.always or send)(handler, served)

    server.files[path].faults.append(wait)
    return go


def inspecting() -> set[threading.Thread]:
    """The threads that inspect a link."""
    return {one for one in threading.enumerate() if one.name == "easel-fetch"}


def test_the_answer_for_an_earlier_link_is_ignored(open_app, home, hub, tiny):
    hub.hub("org/slow", tiny)
    hub.hub("org/quick", tiny)
    go = delayed(hub, "/api/models/org/slow/revision/main")
    hub.files["/api/models/org/slow"].faults.extend(hub.files["/api/models/org/slow/revision/main"].faults)
    app = open_app(prepare(home))
    before = inspecting()
    enter(app.model.path, "hf:org/slow")
    (slow,) = inspecting() - before
    enter(app.model.path, "hf:org/quick")
    wait_for_fetch(app.model.fetch, "offered")
    go.set()
    slow.join(200)
    assert "quick is a" in app.model.fetch.says.value
    assert app.model.fetch.remote.name == "quick"


def test_a_path_chosen_while_a_link_is_inspected_drops_the_link(open_app, home, hub, tiny):
    hub.hub("org/slow", tiny)
    go = delayed(hub, "/api/models/org/slow/revision/main")
    hub.files["/api/models/org/slow"].faults.extend(hub.files["/api/models/org/slow/revision/main"].faults)
    settings = prepare(home)
    app = open_app(settings)
    before = inspecting()
    enter(app.model.path, "hf:org/slow")
    (slow,) = inspecting() - before
    enter(app.model.path, settings["model.path"])
    go.set()
    slow.join(200)
    assert app.model.fetch.state == "idle"
    assert app.model.path.value == settings["model.path"]


def test_a_model_chosen_during_a_download_stays_chosen_afterwards(open_app, home, hub):
    lora = recorded_headers.write("lora-kohya-sd15", home.parent)
    link = hub.put("/one.safetensors", lora.read_bytes())
    settings = prepare(home)
    app = open_app(settings)
    enter(app.model.path, link)
    wait_for_fetch(app.model.fetch, "offered")
    go = delayed(hub, "/one.safetensors")
    click(app.model.fetch.get)
    enter(app.model.path, link.replace("one", "two"))
    assert "A download is in progress" in app.session.message
    enter(app.model.path, settings["model.path"])
    assert app.model.path.value == settings["model.path"]
    go.set()
    wait_for_fetch(app.model.fetch, "idle")
    assert app.session.values["model.path"] == settings["model.path"]
    wait_for(lambda: "one.safetensors is downloaded" in app.session.message)


def test_a_scan_requested_during_another_runs_after_it(open_app, home, monkeypatch):
    app = open_app(prepare(home))
    shelf = app.model.shelf
    wait_for(lambda: not shelf.is_looking)
    reached, go, scan = threading.Event(), threading.Event(), library.scan

    def slow(**more):
        found = scan(**more)
        reached.set()
        go.wait(200)
        return found

    monkeypatch.setattr(library, "scan", slow)
    shelf.look()
    reached.wait(200)
    late = recorded_headers.write("vae-sd", home / "models")
    shelf.look()
    go.set()
    wait_for(lambda: late in [entry.path for entry in shelf.library.entries])
    wait_for(lambda: not shelf.is_looking)


def test_a_token_replaces_the_refused_one_in_a_link(open_app, home, hub, tiny):
    hub.hub("org/closed", tiny, token=SECRET)
    app = open_app(prepare(home))
    enter(app.model.path, f"{hub.url}/org/closed?token=wrong{SECRET}")
    wait_for(lambda: on_page(app.model.fetch.ask))
    enter(app.model.fetch.token, SECRET)
    click(app.model.fetch.use)
    wait_for_fetch(app.model.fetch, "offered")


def test_no_token_is_requested_for_a_site_that_gets_none(open_app, home, hub):
    link = hub.put("/closed.safetensors", b"", token=SECRET).replace("127.0.0.1", "localhost")
    app = open_app(prepare(home))
    enter(app.model.path, link)
    wait_for(lambda: on_page(app.model.fetch.widget) and app.model.fetch.state == "failed")
    assert "needs no login" in app.model.fetch.says.value
    assert not on_page(app.model.fetch.ask)


def test_an_unused_token_does_not_stay_in_the_field(open_app, home, hub, tiny):
    hub.hub("org/closed", tiny, token=SECRET)
    settings = prepare(home)
    app = open_app(settings)
    enter(app.model.path, "hf:org/closed")
    wait_for(lambda: on_page(app.model.fetch.ask))
    enter(app.model.fetch.token, SECRET)
    enter(app.model.path, settings["model.path"])
    assert app.model.fetch.token.value == ""
    enter(app.model.fetch.token, SECRET)
    app.close()
    assert app.model.fetch.token.value == ""

"""The model panel while its threads are at work: links, downloads and scans that overlap, and tokens on their way."""

from __future__ import annotations

import threading

from tests.core import recorded_headers
from tests.core.downloading import SECRET
from tests.core.misbehaving import well
from tests.ui.page import click, enter, on_page, prepare, wait_for
from trainer_core import library


def held_up(server, path: str) -> threading.Event:
    """Has the answer to the next request for this path wait for the event."""
    go = threading.Event()

    def wait(handler, served):
        go.wait(200)
        (served.always or well)(handler, served)

    server.files[path].faults.append(wait)
    return go


def asking() -> set[threading.Thread]:
    """The threads that ask for a link."""
    return {one for one in threading.enumerate() if one.name == "easel-fetch"}


def test_the_answer_for_an_earlier_link_is_not_heard(open_app, home, hub, tiny):
    hub.hub("org/slow", tiny)
    hub.hub("org/quick", tiny)
    go = held_up(hub, "/api/models/org/slow/revision/main")
    hub.files["/api/models/org/slow"].faults.extend(hub.files["/api/models/org/slow/revision/main"].faults)
    app = open_app(prepare(home))
    before = asking()
    enter(app.model.path, "hf:org/slow")
    (slow,) = asking() - before
    enter(app.model.path, "hf:org/quick")
    wait_for(lambda: app.model.fetch.state == "offered")
    go.set()
    slow.join(200)
    assert "quick is a" in app.model.fetch.says.value
    assert app.model.fetch.remote.name == "quick"


def test_a_path_chosen_while_a_link_is_asked_for_puts_the_question_away(open_app, home, hub, tiny):
    hub.hub("org/slow", tiny)
    go = held_up(hub, "/api/models/org/slow/revision/main")
    hub.files["/api/models/org/slow"].faults.extend(hub.files["/api/models/org/slow/revision/main"].faults)
    settings = prepare(home)
    app = open_app(settings)
    before = asking()
    enter(app.model.path, "hf:org/slow")
    (slow,) = asking() - before
    enter(app.model.path, settings["model.path"])
    go.set()
    slow.join(200)
    assert app.model.fetch.state == "idle"
    assert app.model.path.value == settings["model.path"]


def test_what_is_chosen_during_a_download_stands_when_it_has_come(open_app, home, hub):
    lora = recorded_headers.write("lora-kohya-sd15", home.parent)
    link = hub.put("/one.safetensors", lora.read_bytes())
    settings = prepare(home)
    app = open_app(settings)
    enter(app.model.path, link)
    wait_for(lambda: app.model.fetch.state == "offered")
    go = held_up(hub, "/one.safetensors")
    click(app.model.fetch.get)
    enter(app.model.path, link.replace("one", "two"))
    assert "A download is going on" in app.session.message
    enter(app.model.path, settings["model.path"])
    assert app.model.path.value == settings["model.path"]
    go.set()
    wait_for(lambda: app.model.fetch.state == "idle")
    assert app.session.values["model.path"] == settings["model.path"]
    wait_for(lambda: "one.safetensors has come" in app.session.message)


def test_a_look_that_is_asked_for_during_another_follows_it(open_app, home, monkeypatch):
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


def test_a_token_in_a_link_that_was_refused_gives_way_to_another(open_app, home, hub, tiny):
    hub.hub("org/closed", tiny, token=SECRET)
    app = open_app(prepare(home))
    enter(app.model.path, f"{hub.url}/org/closed?token=wrong{SECRET}")
    wait_for(lambda: on_page(app.model.fetch.ask))
    enter(app.model.fetch.token, SECRET)
    click(app.model.fetch.use)
    wait_for(lambda: app.model.fetch.state == "offered")


def test_no_token_is_asked_for_where_none_would_be_sent(open_app, home, hub):
    link = hub.put("/closed.safetensors", b"", token=SECRET).replace("127.0.0.1", "localhost")
    app = open_app(prepare(home))
    enter(app.model.path, link)
    wait_for(lambda: on_page(app.model.fetch.widget) and app.model.fetch.state == "failed")
    assert "needs no login" in app.model.fetch.says.value
    assert not on_page(app.model.fetch.ask)


def test_a_token_that_was_typed_and_not_used_is_not_left_in_the_field(open_app, home, hub, tiny):
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

"""The notebook for training on other machines, without a browser: what is chosen, said beforehand, started, and kept."""

import json
import os
from io import BytesIO

import pytest
from PIL import Image

from tests.support import buckets
from tests.support.page import button, click, enter, go, hear, inside, markup, prepare, wait_for
from tests.support.remote_runs import Homes
from trainer_core.jobs.state import JobState
from trainer_core.prepare import kept_form
from trainer_core.prepare.workbench import Workbench
from trainer_core.remote import checking, credentials, kept_settings
from trainer_core.remote.machines import book
from trainer_core.remote.patience import Patience
from trainer_core.remote.runpod.carrier import kind
from trainer_core.training.run import list_runs
from trainer_ui.apps.remote_training import RemoteTraining
from trainer_ui.remote_desk import STYLES_ELSEWHERE, check_of

SECRET = "rpa_PLANTED0123456789SECRET"
ENDPOINT = "MODEL_TRAINING_RUNPOD_ENDPOINT_ID"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in credentials.KNOWN:
        monkeypatch.delenv(name, raising=False)
    yield
    for name in credentials.KNOWN:
        credentials.forget(name)


@pytest.fixture
def homes(tmp_path, monkeypatch, home):
    made = Homes(tmp_path / "homes", monkeypatch)
    yield made
    for run in list_runs(made.here / "runs"):
        if run.is_live:
            run.stop(grace_s=1)


@pytest.fixture
def app(opening, home):
    return opening(RemoteTraining, Workbench(engine="rehearsal"))


def keep_form(settings):
    bench = Workbench(engine="rehearsal")
    bench.set(settings)
    kept_form.keep(kept_form.kept_in("lora_trainer"), kept_form.form_of(bench))


def said(app):
    """Everything that the app has put into the page, and what its components were told."""
    parts = [markup(app.root)]
    for widget in inside(app.root):
        parts += [
            str(widget.trait_values().get(name, "")) for name in ("value", "items", "text", "description", "cards")
        ]
    return "\n".join(parts)


def choose(cards, name):
    hear(cards, {"kind": "choose", "id": name})


def test_the_settings_that_the_lora_trainer_has_kept_are_taken_over(opening, home):
    keep_form(prepare(home) | {"network.rank": 24})
    app = opening(RemoteTraining, Workbench(engine="rehearsal"))
    assert app.source.chosen == "lora_trainer"
    assert app.session.values["network.rank"] == 24
    assert app.parameters.controls["network.rank"].control.description == "Network Dimension"
    assert app.parameters.controls["network.rank"].control.value == 24
    assert "6 images" in markup(app.source.pairs)


def test_a_notebook_without_settings_is_told_and_nothing_changes(app):
    choose(app.source.cards, "finetuning_trainer")
    assert app.session.message.startswith("Finetuning Trainer has no settings here.")
    assert app.source.chosen == ""
    assert app.session.values["model.path"] == ""


def test_a_plan_in_a_file_is_taken_over_and_a_wrong_one_refused(app, home, tmp_path):
    (tmp_path / "plan.toml").write_text('schema_version = 1\nengine = "rehearsal"\n[network]\nrank = 48\n')
    choose(app.source.cards, "plan")
    enter(app.source.path, str(tmp_path / "plan.toml"))
    assert app.session.values["network.rank"] == 48
    (tmp_path / "other.toml").write_text("[network]\nrang = 3\n")
    enter(app.source.path, str(tmp_path / "other.toml"))
    assert "network.rang" in app.session.message
    assert app.session.values["network.rank"] == 48


def test_each_parameter_of_the_documents_is_a_setting_of_the_plan(app):
    click_fold(app, "Advanced Parameters")
    titles = {one.control.description: path for path, one in app.parameters.controls.items()}
    assert titles["Network Alpha"] == "network.alpha"
    assert titles["Max Training Steps"] == "schedule.steps"
    assert titles["Trigger Token"] == "dataset.trigger"
    assert titles["Gradient Dtype"] == "memory.mixed_precision"
    enter(app.parameters.controls["network.alpha"].control, "7")
    assert app.session.bench.state.draft.values["network.alpha"] == 7


def click_fold(app, title):
    toggle = next(one for one in inside(app.root) if getattr(one, "description", "") == title)
    toggle.set_state({"value": True})


def test_what_a_start_sends_is_said_beforehand_for_each_trainer(opening, home):
    keep_form(prepare(home))
    book.keep(book.Entry("gpu-box", "me@gpu-box.invalid"))
    kept_settings.keep_setting(ENDPOINT, "abc123")
    kept_settings.keep_setting("S3_USER_BUCKET", "my-bucket")
    app = opening(RemoteTraining, Workbench(engine="rehearsal"))
    assert [one["id"] for one in app.where.cards.cards] == ["runpod:abc123", "ssh:gpu-box", "here"]
    assert "Nothing." in markup(app.outlook.told)
    choose(app.where.cards, "runpod:abc123")
    told = markup(app.outlook.told)
    assert "6 images and 6 captions" in told
    assert "sent to your bucket unless it is there" in told
    assert app.bar.start.description.startswith("Start on RunPod\nsends up to ")
    wait_for(lambda: check_of(app.desk.on) in app.desk.said)
    choose(app.where.cards, "here")
    assert app.bar.start.description == "Start training\non this computer"


def test_the_trainer_and_its_price_are_remembered(opening, home):
    kept_settings.keep_setting(ENDPOINT, "abc123")
    app = opening(RemoteTraining, Workbench(engine="rehearsal"))
    choose(app.where.cards, "runpod:abc123")
    enter(app.where.price, "$0,69")
    assert app.desk.price == 0.69
    enter(app.where.price, "cheap")
    assert "no price per hour" in app.session.message
    again = opening(RemoteTraining, Workbench(engine="rehearsal"))
    assert again.desk.on == "runpod:abc123"
    assert again.where.price.value == "0.69"


def test_a_training_on_another_machine_is_started_watched_and_its_lora_comes_back(opening, homes):
    kept = homes.bench(steps=4, more={"output.save_every_steps": 0, "sampling.every_steps": 0})
    kept_form.keep(kept_form.kept_in("lora_trainer"), kept_form.form_of(kept))
    app = opening(RemoteTraining, Workbench(engine="rehearsal"))
    enter(app.where.other, f"home:{homes.there}")
    wait_for(lambda: check_of(app.desk.on) in app.desk.said)
    assert "known only when it trains" in app.desk.said[check_of(app.desk.on)][0]
    click(app.bar.start)
    run = wait_for(lambda: app.session.run)
    assert not app.session.trains_here, "another machine trains, so this one could train as well"
    wait_for(lambda: app.places.chosen == "watch")
    wait_for(lambda: run.state is JobState.COMPLETED)
    assert "elena.safetensors" in [path.name for path in homes.out.glob("*.safetensors")]
    assert len(list_runs(homes.there / "remote-runs")) == 1
    go(app, "history")
    assert app.history.number == 1
    choose(app.source.cards, "plan")
    assert app.desk.obstacle() is not None
    app.session.begin_from(run)
    assert app.desk.obstacle() is None


def test_a_trainer_that_does_not_exist_is_refused_with_those_that_do(opening, home):
    keep_form(prepare(home))
    app = opening(RemoteTraining, Workbench(engine="rehearsal"))
    enter(app.where.other, "moon:base")
    wait_for(lambda: check_of(app.desk.on) in app.desk.said)
    sentence, tone = app.desk.said[check_of(app.desk.on)]
    assert "names no trainer" in sentence
    assert "ssh:NAME" in sentence
    assert tone == "danger"


def test_a_key_is_entered_masked_kept_in_memory_and_shown_nowhere(app, home):
    go(app, "accounts")
    keys = app.accounts.keys
    hear(keys.list, {"kind": "act", "item": "RUNPOD_API_KEY", "act": "enter"})
    assert keys.field.description == "RUNPOD_API_KEY"
    enter(keys.field, SECRET)
    click(keys.keep)
    assert keys.field.value == ""
    assert "found: this session" in keys.list.items[0]["text"]
    assert SECRET not in said(app)
    assert SECRET not in app.session.message
    written = [path for path in home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert written == []
    hear(keys.list, {"kind": "act", "item": "RUNPOD_API_KEY", "act": "forget"})
    assert "not set" in keys.list.items[0]["text"]


def test_a_started_program_inherits_a_remembered_key_only_while_it_is_lent(monkeypatch):
    credentials.remember("RUNPOD_API_KEY", SECRET)
    credentials.remember("NGROK_AUTHTOKEN", SECRET)
    with credentials.lent(kind.variables):
        assert os.environ["RUNPOD_API_KEY"] == SECRET
        assert "NGROK_AUTHTOKEN" not in os.environ, "no run needs it"
    assert "RUNPOD_API_KEY" not in os.environ
    monkeypatch.setenv("RUNPOD_API_KEY", "of-the-environment")
    with credentials.lent(kind.variables):
        assert os.environ["RUNPOD_API_KEY"] == "of-the-environment"
    assert os.environ["RUNPOD_API_KEY"] == "of-the-environment"


def test_a_key_in_the_field_of_a_setting_is_refused_and_not_written(app, home):
    go(app, "accounts")
    enter(app.accounts.endpoint.fields["S3_USER_BUCKET"], "hf_" + "a1B2" * 9)
    assert "looks like a key" in app.session.message
    assert "hf_a1B2" not in app.session.message
    assert not (home / "remote.toml").exists()


def test_settings_of_the_endpoint_are_found_by_every_part_of_easel(app):
    go(app, "accounts")
    enter(app.accounts.endpoint.fields[ENDPOINT], "abc123")
    enter(app.accounts.endpoint.fields["S3_USER_BUCKET"], "s3://my-bucket/")
    values = credentials.settings()
    assert values.text("S3_USER_BUCKET") == "my-bucket"
    assert values.source(ENDPOINT).endswith("remote.toml")
    assert app.where.cards.cards[0]["id"] == "runpod:abc123"


def test_the_environment_counts_more_than_what_is_kept_and_the_page_says_so(app, monkeypatch):
    go(app, "accounts")
    enter(app.accounts.endpoint.fields[ENDPOINT], "abc123")
    monkeypatch.setenv(ENDPOINT, "other")
    app.session.show()
    assert "counts more" in markup(app.accounts.endpoint.notes[ENDPOINT])
    assert credentials.settings().text(ENDPOINT) == "other"


def test_the_test_of_the_connection_has_a_line_with_what_to_do_for_each_fault(app):
    go(app, "accounts")
    click(app.accounts.endpoint.test)
    wait_for(lambda: "check" in app.desk.said)
    app.session.show()
    lines = {row["title"]: (row["aside"], row["text"]) for row in app.accounts.endpoint.list.items}
    assert lines["Id of the access key for S3"] == (
        "! wrong",
        "The id of the access key for S3 is not set. Enter it under “Keys”.",
    )
    assert lines["Answer of the endpoint"] == (
        "· not tested",
        "It was not tested, because the API key and the endpoint are missing.",
    )
    assert lines["Access to the bucket"][0] == "· not tested"
    assert lines["Webhook"][0] == "· not used"
    # Two keys of S3, that of RunPod, the endpoint and the bucket; what follows from them is not counted.
    assert app.desk.said["check"][0].startswith("5 things do not work yet")


def test_an_empty_machine_and_a_refused_one_are_told_beside_the_button(app):
    go(app, "accounts")
    machines = app.accounts.machines
    click_fold(app, "Add a machine")
    click(machines.add)
    assert "Give the machine a name." in markup(machines.says)
    enter(machines.name, "my box")
    enter(machines.address, "me@127.0.0.1:1")
    click(machines.add)
    assert "cannot be the name of a machine" in markup(machines.says)
    assert 'role="status"' in markup(machines.says)
    assert book.read() == {}
    enter(machines.name, "box")
    click(machines.add)
    assert "box was added." in markup(machines.says)
    wait_for(lambda: "machine box" in app.desk.said)
    app.session.show()
    assert app.desk.said["machine box"][0][:30] in markup(machines.says)


def test_the_connection_is_tested_with_what_the_fields_show_and_a_typed_key_is_not_kept(app, monkeypatch, home):
    monkeypatch.setenv(ENDPOINT, "of-the-environment")
    # Nothing listens there, and one attempt shows that.
    monkeypatch.setenv("RUNPOD_ENDPOINT_BASE_URL", "http://127.0.0.1:9/v2")
    monkeypatch.setattr(checking, "BRIEF", Patience(attempts=1))
    go(app, "accounts")
    card, keys = app.accounts.endpoint, app.accounts.keys
    enter(card.fields[ENDPOINT], "typed123")
    hear(keys.list, {"kind": "act", "item": "RUNPOD_API_KEY", "act": "enter"})
    enter(keys.field, SECRET)
    click(card.test)
    wait_for(lambda: "check" in app.desk.said)
    app.session.show()
    lines = {row["title"]: (row["aside"], row["text"]) for row in card.list.items}
    assert lines["API key of RunPod"] == ("✓ ok", "It comes from the field on the page.")
    assert lines["Id of the RunPod endpoint that trains"] == ("✓ ok", "It comes from the field on the page.")
    assert "127.0.0.1" in lines["Answer of the endpoint"][1], "RunPod was asked"
    assert credentials.settings().source("RUNPOD_API_KEY") is None
    assert credentials.settings().text(ENDPOINT) == "of-the-environment"
    assert SECRET not in str(lines)
    assert all(SECRET.encode() not in path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_a_machine_is_added_checked_and_removed(app):
    go(app, "accounts")
    machines = app.accounts.machines
    click_fold(app, "Add a machine")
    enter(machines.name, "box")
    enter(machines.address, "me@127.0.0.1:1")
    click(machines.add)
    assert book.read()["box"].address == "me@127.0.0.1:1"
    assert "ssh:box" in [one["id"] for one in app.where.cards.cards]
    wait_for(lambda: "machine box" in app.desk.said)
    assert app.desk.said["machine box"][1] == "danger"
    # The thread shows it a moment later, and only then Remove can be used.
    app.session.show()
    hear(machines.list, {"kind": "act", "item": "box", "act": "remove"})
    assert book.read() == {}


def test_the_versions_of_a_style_are_listed_and_a_link_is_made_only_when_asked(app, tmp_path, monkeypatch):
    folder = tmp_path / "resources" / "style_images" / "16_foggy"
    folder.mkdir(parents=True)
    row = {"id": "a", "name": "v1.0", "timestamp": "2026-11-20T10:30:00Z", "parameters": {"network_dim": 16}}
    done = {**row, "status": "completed", "loraUrl": "s3://my-bucket/runs/v1.safetensors"}
    failed = {**row, "id": "b", "name": "<b>v2</b>", "status": "failed"}
    (folder / "training_versions.json").write_text(json.dumps({"versions": [done, failed]}))
    go(app, "versions")
    wait_for(lambda: "versions" in app.desk.said)
    app.session.show()
    rows = {one["title"]: one for one in app.versions.list.items}
    assert rows["v1.0"]["aside"] == "✓ completed"
    assert "s3://my-bucket/runs/v1.safetensors" in rows["v1.0"]["text"]
    assert rows["<b>v2</b>"]["acts"] == []
    assert app.versions.link.text == ""
    hear(app.versions.list, {"kind": "act", "item": "a", "act": "link"})
    wait_for(lambda: "link" in app.desk.said)
    assert "no access key" in app.desk.said["link"][0]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-key")
    hear(app.versions.list, {"kind": "act", "item": "a", "act": "link"})
    wait_for(lambda: app.versions.link.text)
    assert "X-Amz-Signature" in app.versions.link.text
    assert "planted-secret-key" not in said(app)


def test_the_tunnel_says_why_it_cannot_start(app):
    go(app, "accounts")
    click(app.accounts.tunnel.start)
    wait_for(lambda: "tunnel" in app.desk.said)
    app.session.show()
    assert "no authtoken is set" in markup(app.accounts.tunnel.headline)
    assert button(app.accounts.tunnel.widget, app.accounts.tunnel.start.description)


def test_a_style_is_brought_from_the_bucket_and_trained_on_runpod_only(app, tmp_path, monkeypatch):
    folder = tmp_path / "resources" / "style_images" / "16_foggy"
    folder.mkdir(parents=True)
    sets = [{"id": 1, "name": "Set 1", "images": ["a.png", "b.png"]}]
    (folder / "selection_sets.json").write_text(json.dumps({"sets": sets}))
    image = BytesIO()
    Image.effect_noise((128, 128), 50).convert("RGB").save(image, "PNG")
    with buckets.place() as place:
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        for name in ("a", "b"):
            place.put(f"styles/16/{name}.png", image.getvalue())
            place.put(f"styles/16/{name}.txt", b"a valley, style_16")
        choose(app.source.cards, "style")
        style = app.source.style
        wait_for(lambda: "styles" in app.desk.said)
        app.session.show()
        assert style.style.value == "16"
        assert style.set.value == 1
        click(style.take)
        assert "name the version" in app.session.message
        enter(style.version, "v1.0")
        click(style.take)
        wait_for(lambda: "style-images" in app.desk.said)
        brought = app.desk.said["style-images"][0]
        app.session.show()
        assert app.desk.obstacle() == ("", "This trainer trains no styles", STYLES_ELSEWHERE)
        click(app.bar.start)
        assert app.session.run is None
        with app.session.lock:
            # While the images are being brought again nothing can start, and another choice meanwhile counts.
            click(style.take)
            assert "Still missing: the images of a style" in markup(app.bar.headline)
            choose(app.source.cards, "plan")
        wait_for(lambda: "something else was chosen" in app.desk.said.get("style-images", ("",))[0])
        assert app.desk.style is None
    assert "2 images are here." in brought
    assert app.session.values["dataset.trigger"] == "style_16"
    assert app.session.values["output.name"] == "style_16_v1.0"
    assert app.session.values["schedule.steps"] == 500
    assert app.session.values["optimizer.learning_rate"] == 4e-4

"""What holds the start of a remote training, and what the page says of it before: the trainer, the source, the command."""

import pytest

from tests.support.page import click, enter, hear, markup, prepare, wait_for
from trainer_core.prepare import kept_form
from trainer_core.prepare.workbench import Workbench
from trainer_core.remote import credentials
from trainer_core.remote.machines import book
from trainer_ui.apps.remote_training import RemoteTraining
from trainer_ui.panels.remote.bar import HELD
from trainer_ui.remote_desk import check_of


@pytest.fixture
def app(opening, home, monkeypatch, tmp_path):
    """The notebook with the settings of the LoRA Trainer, which could start here, and a machine that nothing answers for."""
    monkeypatch.chdir(tmp_path)
    for name in credentials.KNOWN:
        monkeypatch.delenv(name, raising=False)
    bench = Workbench(engine="rehearsal")
    bench.set(prepare(home))
    kept_form.keep(kept_form.kept_in("lora_trainer"), kept_form.form_of(bench))
    book.keep(book.Entry("box", "me@127.0.0.1:1"))
    return opening(RemoteTraining, Workbench(engine="rehearsal"))


def choose(cards, name):
    hear(cards, {"kind": "choose", "id": name})


def test_a_trainer_that_cannot_train_holds_the_start_and_the_bar_says_why(app):
    assert "Ready to train" in markup(app.bar.headline)
    with app.session.lock:
        # The thread that asks cannot go on before this is over.
        choose(app.where.cards, "ssh:box")
        assert "Asking box what it has" in markup(app.bar.headline)
        assert HELD in app.bar.start._dom_classes
        click(app.bar.start)
        assert "Not started. Asking box what it has." in app.session.message
    wait_for(lambda: check_of("ssh:box") in app.desk.said)
    app.session.show()
    assert "box cannot be reached" in markup(app.bar.headline)
    assert app.desk.said[check_of("ssh:box")][0][:30] in markup(app.bar.headline)
    assert HELD in app.bar.start._dom_classes
    click(app.bar.start)
    assert "Not started. box cannot be reached." in app.session.message
    assert not app.session.starting
    enter(app.where.other, "moon:base")
    wait_for(lambda: check_of("moon:base") in app.desk.said)
    app.session.show()
    assert "moon:base cannot train" in markup(app.bar.headline)
    choose(app.where.cards, "here")
    assert "Ready to train" in markup(app.bar.headline)
    assert HELD not in app.bar.start._dom_classes


@pytest.mark.parametrize(("source", "missing"), [("style", "the images of a style"), ("plan", "a plan in a file")])
def test_a_source_that_is_not_ready_holds_the_start_of_what_was_prepared_before(app, source, missing):
    assert HELD not in app.bar.start._dom_classes
    choose(app.source.cards, source)
    assert f"Still missing: {missing}" in markup(app.bar.headline)
    assert HELD in app.bar.start._dom_classes
    click(app.bar.start)
    assert "Not started. Something is still missing." in app.session.message
    assert not app.session.starting
    choose(app.source.cards, "lora_trainer")
    assert "Ready to train" in markup(app.bar.headline)
    assert HELD not in app.bar.start._dom_classes


def test_a_plan_that_was_refused_leaves_nothing_that_starts(app, tmp_path):
    plan, wrong = tmp_path / "plan.toml", tmp_path / "wrong.toml"
    plan.write_text('schema_version = 1\nengine = "rehearsal"\n[network]\nrank = 48\n')
    wrong.write_text("[network]\nrang = 3\n")
    choose(app.source.cards, "plan")
    enter(app.source.path, str(plan))
    assert app.desk.obstacle() is None
    enter(app.source.path, str(wrong))
    assert "Still missing: a plan in a file" in markup(app.bar.headline)
    enter(app.source.path, str(plan))
    assert app.desk.obstacle() is None


def test_the_files_of_a_start_say_on_which_machine_the_command_runs(app):
    click(app.files.button)
    assert app.files.view.content["commands"]
    assert app.files.view.content["elsewhere"] == ""
    choose(app.where.cards, "ssh:box")
    assert app.files.view.content["trainer"] == "box"
    assert "Nothing of this runs on this computer" in app.files.view.content["elsewhere"]
    assert "6 images and 6 captions" in dict(app.files.view.content["sent"])["Images"]
    wait_for(lambda: check_of("ssh:box") in app.desk.said)

"""An engine that the machine of the notebook lacks: it is said before the start, installed by a button, and asked for again.

A real sshd on loopback answers (`tests/support/sshd.py`).
"""

import pytest

from tests.support import engine_records, sshd
from tests.support.page import click, hear, markup, prepare, wait_for
from trainer_core.prepare import kept_form
from trainer_core.prepare.workbench import Workbench
from trainer_core.remote import credentials
from trainer_core.remote.machines import book
from trainer_ui.apps.remote_training import RemoteTraining
from trainer_ui.formatting import AWAY
from trainer_ui.panels.remote.bar import HELD
from trainer_ui.remote_desk import check_of, machine_of


@pytest.fixture
def app(opening, home, monkeypatch, tmp_path):
    """The notebook with a job of the LoRA Trainer for an engine that needs an installation."""
    monkeypatch.chdir(tmp_path)
    for name in credentials.KNOWN:
        monkeypatch.delenv(name, raising=False)
    bench = Workbench(engine="kohya")
    bench.set(prepare(home))
    kept_form.keep(kept_form.kept_in("lora_trainer"), kept_form.form_of(bench))
    return opening(RemoteTraining, Workbench())


def test_an_engine_that_is_missing_there_holds_the_start_and_a_button_installs_it(app):
    with sshd.machine() as there:
        book.keep(book.Entry("box", there.address, identity=str(there.key), config="/dev/null"))
        app.desk.look()
        app.session.show()
        hear(app.where.cards, {"kind": "choose", "id": "ssh:box"})
        wait_for(lambda: check_of("ssh:box") in app.desk.said)
        app.session.show()
        row = app.bar.engine
        assert "kohya sd-scripts is not installed on box." in markup(row.offered)
        assert row.button.description == "Install kohya sd-scripts on box"
        assert row.button.button_style == "primary"
        assert HELD in app.bar.start._dom_classes
        # Prepare names the engine, who chose it, and why the others would not train it there.
        fold, inside = app.engine.panel.widget.children
        assert fold.description == "Engine: kohya sd-scripts, chosen by you"
        fold.value = True
        app.session.show()
        assert "SimpleTuner 4.10.1 stops" in markup(inside)
        assert "not installed on box" in markup(inside)
        assert "No engine is installed there" in app.desk.said[check_of("ssh:box")][0]
        click(app.bar.start)
        assert not app.session.starting

        # Somebody else installs it meanwhile: the button follows, and the machine is asked again.
        engine_records.write(there, "kohya", version="48d368f")
        click(row.button)
        wait_for(lambda: machine_of("box") in app.desk.said)
        assert app.desk.said[machine_of("box")] == ("kohya sd-scripts is installed there.", "")
        wait_for(lambda: "Installed there: kohya sd-scripts." in app.desk.said.get(check_of("ssh:box"), ("",))[0])
        app.session.show()
        assert AWAY in row.offered._dom_classes
        assert HELD not in app.bar.start._dom_classes


def test_an_engine_that_is_missing_here_has_its_button_too(app):
    assert "kohya sd-scripts is not installed." in markup(app.bar.install.offered)
    assert AWAY not in app.bar.here._dom_classes
    assert AWAY in app.bar.engine.offered._dom_classes

"""A missing engine is installed from the notebook: button, progress, Stop, and the engine can be used without a restart."""

import pytest
from ipywidgets.widgets import widget as ipywidgets_widget

from tests.support import recorded_headers, tiny_engine
from tests.support.page import button, click, enter, markup, on_page, prepare, wait_for
from tests.support.played import until
from tests.support.tiny_engine import wheel
from trainer_core import places
from trainer_core.engines import registry
from trainer_core.install import environments
from trainer_core.install import job as installation
from trainer_core.jobs.state import JobState

BACKEND = """
from dataclasses import replace
from backends.rehearsal import Rehearsal

class Tiny(Rehearsal):
    manifest = replace(Rehearsal.manifest, id="tiny", title="Tiny", hidden=False, needs_installation=True)

backend = Tiny()
"""
WAITS = "import time\ntime.sleep(600)\n"
TORCH = {
    "torch/__init__.py": f"from torch import version\n__version__ = '9.9'\ndef __getattr__(name):\n    {WAITS.replace(chr(10), '; ')}\n",
    "torch/version.py": "cuda = None\nhip = None\n",
}
"""A torch whose versions are known at once, and which takes long for anything else, as the trials of optimizers do."""

tiny = tiny_engine.engine


@pytest.fixture
def engine(tiny, monkeypatch, home):
    """An engine of an outside package; it is not installed, and other processes find it as well."""
    monkeypatch.setenv("PYTHONPATH", str(tiny.folder))
    (tiny.package / "__init__.py").write_text(BACKEND)
    entry = tiny.folder / "tiny_backend-1.0.dist-info" / "entry_points.txt"
    entry.write_text(entry.read_text().replace(":Tiny", ":backend"))
    registry.refresh()
    yield tiny
    for job in installation.known("tiny"):
        job.stop()
    registry.refresh()


def slow(engine):
    (engine.package / "tiny.txt").write_text(wheel(engine.package, "tinytrainer", "1.0", {"tinytrainer.py": WAITS}))


def says(app):
    return markup(app.root)


def test_the_button_installs_the_engine_and_no_restart_is_needed(open_app, home, engine):
    app = open_app(prepare(home), engine="tiny")
    panel = app.launch.install
    assert "Tiny is not installed." in markup(app.root)
    assert on_page(panel.start)
    assert not on_page(panel.stop)
    assert not app.session.bench.state.facts.engine("tiny").installed
    before = set(ipywidgets_widget._instances)
    click(button(app.root, "Install Tiny"))
    wait_for(lambda: environments.installed("tiny") is not None)
    wait_for(lambda: not on_page(panel.start) and not on_page(panel.widget))
    assert "Tiny is not installed." not in [problem.message for problem in app.session.problems]
    assert app.session.bench.state.facts.engine("tiny").version == "1.0"
    assert app.session.message == "Tiny is installed."
    assert set(ipywidgets_widget._instances) == before, "no thread made a widget"


def test_a_restarted_kernel_finds_the_installation_and_can_stop_it(open_app, home, engine):
    slow(engine)
    app = open_app(prepare(home), engine="tiny")
    click(button(app.root, "Install Tiny"))
    wait_for(lambda: "Installing Tiny: checking" in says(app))
    assert "Checking that it works." not in says(app), "the log is shown when it is asked for"
    enter(app.launch.install.widget.children[1].children[0], True)
    assert "Checking that it works." in says(app)
    app.close()
    again = open_app(prepare(home), engine="tiny")
    assert again.launch.install.jobs.job.name == app.launch.install.jobs.job.name
    wait_for(lambda: "Installing Tiny: checking" in says(again))
    assert on_page(again.launch.install.stop)
    assert not on_page(again.launch.install.start)
    click(again.launch.install.stop)
    wait_for(lambda: "was stopped" in says(again))
    wait_for(lambda: on_page(again.launch.install.start))
    assert environments.installed("tiny") is None


def test_an_installation_stays_visible_when_another_engine_is_chosen(open_app, home, engine):
    slow(engine)
    app = open_app(prepare(home), engine="tiny")
    click(button(app.root, "Install Tiny"))
    wait_for(lambda: "Installing Tiny" in says(app))
    with app.session.lock:
        app.session.bench.use_engine("rehearsal")
        app.session.show()
    assert on_page(app.launch.install.stop)
    assert not on_page(app.launch.install.start)


def test_the_engine_can_be_used_while_its_optimizers_are_tried(open_app, home, engine):
    (engine.package / "try_optimizers.py").write_text("")
    (engine.package / "tiny-torch.txt").write_text(wheel(engine.package, "torch", "9.9", TORCH))
    app = open_app(prepare(home), engine="tiny")
    panel = app.launch.install
    click(button(app.root, "Install Tiny"))
    wait_for(lambda: panel.is_installing)
    wait_for(lambda: "The engine is being installed" in says(app))
    wait_for(lambda: "You can start a training meanwhile." in says(app))
    wait_for(lambda: not panel.is_installing and "Ready to train" in says(app))
    assert panel.jobs.is_live
    assert app.session.bench.state.facts.engine("tiny").installed
    assert panel.stop.description == "Stop the trials"
    click(panel.stop)
    wait_for(lambda: "Tiny is installed. Not every optimizer was tried." in says(app))
    assert not on_page(panel.start)


def test_after_a_failure_another_engine_is_offered(open_app, home, engine):
    engine.table(imports=("tinytrainer", "missing_part"))
    app = open_app(prepare(home), engine="tiny")
    panel = app.launch.install
    assert not on_page(panel.other)
    click(button(app.root, "Install Tiny"))
    wait_for(lambda: on_page(panel.other))
    assert panel.other.description == "Use kohya sd-scripts instead"
    click(panel.other)
    assert app.session.backend.manifest.id == "kohya"
    assert panel.start.description == "Install kohya sd-scripts"
    assert "kohya sd-scripts is not installed." in says(app)
    assert not on_page(panel.other)
    assert not on_page(panel.widget), "the failure was that of the other engine"


def test_a_failure_is_explained_also_after_a_restart(open_app, home, engine):
    engine.table(imports=("tinytrainer", "missing_part"))
    app = open_app(prepare(home), engine="tiny")
    click(button(app.root, "Install Tiny"))
    wait_for(lambda: "Tiny was not installed. Tiny could not be installed" in says(app))
    assert "missing_part" in says(app)
    wait_for(lambda: on_page(app.launch.install.start))
    app.close()
    (job,) = installation.known("tiny")
    until(lambda: job.state is JobState.FAILED)
    again = open_app(prepare(home), engine="tiny")
    wait_for(lambda: "missing_part" in says(again))
    assert on_page(again.launch.install.start)


def test_nothing_is_offered_where_nothing_is_missing(open_app, home):
    app = open_app(prepare(home))
    assert not on_page(app.launch.install.widget)
    assert not on_page(app.launch.install.start)


def test_without_any_engine_the_first_view_offers_the_usual_one_and_says_what_it_takes(open_app):
    app = open_app(engine="")
    panel = app.launch.install
    assert app.session.backend is None
    assert on_page(panel.start)
    assert panel.start.description == "Install kohya sd-scripts"
    assert panel.start.button_style == "", "a model decides first"
    told = panel.offer.value
    assert "No training engine is installed yet." in told
    assert "Choose the base model first: it decides which engine you need." in told
    assert "what trains your model" not in told
    assert str(places.engines()) in told
    assert "GB are free" in told
    assert "SimpleTuner trains" in app.model.engine.others.value
    assert "DreamBooth" in app.model.engine.others.value


def test_an_app_with_an_engine_offers_none_before_a_model_is_known(open_app, engine):
    (places.engines() / "tiny").mkdir(parents=True)
    app = open_app()
    assert not on_page(app.launch.install.start)
    assert not on_page(app.launch.install.offer)


@pytest.mark.parametrize(
    ("engine", "model", "other"),
    [("musubi", "folder-ernie-image", "SimpleTuner"), ("simpletuner", "z-image", "kohya musubi-tuner")],
)
def test_an_engine_that_cannot_train_the_model_has_a_button_for_another_and_no_filled_installation(
    open_app, home, engine, model, other
):
    (home / "models").mkdir(parents=True)
    app = open_app({"model.path": str(recorded_headers.write(model, home / "models"))}, engine="")
    app.session.handler(lambda _: app.model.engine.choose(engine))()
    assert app.model.engine.switched
    panel = app.launch.install
    assert on_page(panel.start)
    assert panel.start.button_style == ""
    assert "what trains your model" not in panel.offer.value
    fix = button(app.root, f"Use {other}")
    assert fix.button_style == "primary"
    click(fix)
    assert app.session.backend.manifest.title == other
    assert app.model.engine.switched is None
    assert f"{other} is what trains your model." in panel.offer.value
    assert panel.start.button_style == "primary"
    assert not [one for one in app.session.problems if one.path == "model.path"]

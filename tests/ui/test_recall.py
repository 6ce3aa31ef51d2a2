"""The values of a subject are used again the next time, can be removed, and never replace what the user set."""

from tests.support.page import click, enter, on_page, prepare, wait_for
from trainer_core.draft.layers import Source
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.prepare import subjects


def test_a_started_job_keeps_its_values_for_the_subject(open_app, home):
    app = open_app(prepare(home, 20, steps_per_second=200) | {"network.rank": 8})
    click(app.launch.start)
    wait_for(lambda: app.session.run is not None)
    wait_for(lambda: app.session.run.state in FINAL_STATES)
    kept = subjects.recall("ohwx")
    assert kept["network.rank"] == 8
    assert not {"model.path", "dataset.path", "dataset.trigger", "output.name", "native"} & set(kept)


def test_the_values_of_a_subject_are_used_again_and_can_be_removed(open_app, home):
    settings = prepare(home)
    subjects.remember("mika", {"network.rank": 8, "schedule.steps": 777})
    app = open_app({"model.path": settings["model.path"], "schedule.steps": 50})
    enter(app.dataset.path, settings["dataset.path"])
    assert not on_page(app.dataset.kept)
    enter(app.dataset.trigger, "Mika ")
    assert app.session.values["network.rank"] == 8
    assert app.session.values["schedule.steps"] == 50, "what the user has set stays"
    assert "mika: Rank 8." in app.dataset.recalled.value
    assert on_page(app.dataset.kept)
    click(app.dataset.without)
    assert app.session.bench.state.draft.source_of("network.rank") is not Source.USER
    assert not on_page(app.dataset.kept)


def test_another_subject_removes_them_but_not_what_was_changed_since(open_app, home):
    subjects.remember("mika", {"network.rank": 8, "network.alpha": 2.0})
    app = open_app(prepare(home) | {"dataset.trigger": "mika"})
    assert app.session.values["network.rank"] == 8
    enter(app.settings.controls["network.rank"].control, 12)
    enter(app.dataset.trigger, "else")
    assert app.session.values["network.rank"] == 12
    assert app.session.bench.state.draft.source_of("network.alpha") is not Source.USER


def test_a_damaged_file_is_reported_and_not_used(open_app, home):
    path = subjects.remember("mika", {"network.rank": 8})
    path.write_text(path.read_text() + "\n[settings.model]\npath = '/etc/passwd'\n")
    app = open_app(prepare(home))
    enter(app.dataset.trigger, "mika")
    assert path.name in app.session.message
    assert app.session.bench.state.draft.source_of("network.rank") is not Source.USER
    assert app.session.values["dataset.trigger"] == "mika"

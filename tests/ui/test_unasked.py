"""Threads show their results without making a widget: JupyterLab would show nothing of a page that opens at that moment."""

from dataclasses import replace

import pytest
from ipywidgets.widgets import widget as ipywidgets_widget

from tests.support.page import act, button, click, go, markup, on_page, prepare, settle, wait_for
from trainer_core import hardware
from trainer_core.jobs.reading import JobReader
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.prepare.workbench import Workbench
from trainer_core.problems import Fix, Problem
from trainer_core.training.run import Run
from trainer_ui import session as sessions
from trainer_ui.panels.problems import READY_ROWS, ProblemList
from trainer_ui.session import Session

GIB = 1024**3


def there():
    """The widgets that a page would get."""
    return set(ipywidgets_widget._instances)


def test_less_free_memory_makes_no_widget(open_app, home, monkeypatch):
    # This machine is not measured meanwhile, however long the test takes.
    monkeypatch.setattr(sessions, "LOOK_S", float("inf"))
    device = hardware.Accelerator("cuda", "a card", 24 * GIB, 20 * GIB, "8.6")
    machine = hardware.Machine((device,), 32 * GIB, 30 * GIB, 100 * GIB, 4, "Linux x86_64")
    app = open_app(prepare(home))
    app.session.bench.use_machine(machine)
    settle()
    app.session.show()
    before = there()
    said = set()
    for free in (3, 2, 1):
        device = replace(device, free_vram_bytes=free * GIB)
        app.session.bench.use_machine(replace(machine, accelerators=(device,)))
        app.session.show_soon()
        wait_for(lambda free=free: f"of {free}.0 GiB free" in markup(app.root))
        said.add(app.launch.problems.widget.children)
    assert there() == before
    assert len(said) == 1
    told = [problem.severity for problem in app.session.problems]
    assert told == sorted(told, key=("error", "warning", "info").index)
    assert told[-1] == "info", "small images, which the scan of the dataset found before"


def test_the_end_of_a_run_makes_no_widget(open_app, home):
    app = open_app(prepare(home, 60, steps_per_second=60))
    click(button(app.root, "Start training"))
    wait_for(lambda: app.session.run is not None or app.session.message)
    run = app.session.run
    assert run is not None, app.session.message
    wait_for(lambda: app.places.chosen == "watch")
    go(app, "history")
    wait_for(lambda: [row["word"] for row in app.history.table.content["rows"]] == ["Running"])
    before = there()
    wait_for(lambda: run.state in FINAL_STATES)
    wait_for(lambda: [row["word"] for row in app.history.table.content["rows"]] == ["Finished"])
    wait_for(lambda: "already exists" in markup(app.root))
    assert there() == before
    read = []

    def summary(one):
        if one is not run:
            read.append(one)
        return JobReader.__dict__["summary"].__get__(one)

    with pytest.MonkeyPatch.context() as patch:
        # The run that is shown is followed; the history reads handles of its own.
        patch.setattr(Run, "summary", property(summary))
        app.session.show()
    assert read == [], "its events are not read again with each change"
    act(app, "close")
    assert app.session.run is None


@pytest.fixture
def listed(home):
    """A list of problems, and a function that shows problems in it."""
    session = Session(Workbench(engine="rehearsal"))
    session.wish, session.values = "style", session.bench.state.draft.values
    problems = ProblemList(session)

    def show(*told):
        session.problems = told
        problems.show()
        return [row.problem.message for row in problems.rows if on_page(row.widget)]

    return problems, show


def problem(message, **changes):
    return Problem("network.rank", "warning", message, Fix("Fix", changes) if changes else None)


def test_a_problem_with_other_numbers_keeps_its_row(listed):
    problems, show = listed
    show(problem("3.5 of 24 GiB", rank=8), problem("other"))
    row = next(row for row in problems.rows if row.problem and row.problem.message == "3.5 of 24 GiB")
    assert show(problem("other"), problem("2 of 24 GiB", rank=4)) == ["2 of 24 GiB", "other"]
    assert row.problem.fix.changes == {"rank": 4}


def test_the_button_of_a_fix_shows_its_whole_label(listed):
    problems, show = listed
    label = "Make it likely to fit with " + ", ".join(["gradient checkpointing"] * 9)
    show(Problem("", "warning", "It does not fit.", Fix(label, {"network.rank": 4})))
    assert label in [row.button.description for row in problems.rows]


def test_a_row_that_is_hidden_keeps_its_button_until_the_next_change(listed):
    problems, show = listed
    show(*(problem(f"a{'x' * number}", rank=number) for number in range(READY_ROWS)))
    rows = list(problems.rows)
    told = [row.problem for row in rows]
    show(problem("b", rank=99))
    assert [row.problem for row in rows] == told, "a click may be on its way to any of them"
    show(problem("c", rank=98))
    assert len(problems.rows) == READY_ROWS + 1
    assert any(row.problem.message == "c" for row in rows)

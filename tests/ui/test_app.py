"""The frame of every app: a new tool needs one file, a cell that runs again replaces its app, and one kernel starts jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ipywidgets.widgets import widget as ipywidgets_widget

from tests.support.page import button, click, go, inside, markup, on_page, prepare, settle, wait_for
from trainer_core import places
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job, list_jobs
from trainer_core.jobs.spec import Spec, Step
from trainer_core.jobs.state import JobState
from trainer_ui.app import App, Place
from trainer_ui.app_lock import AppLock
from trainer_ui.apps import lora_trainer
from trainer_ui.formatting import AWAY
from trainer_ui.job_session import JobSession, known_jobs
from trainer_ui.panels.card import card
from trainer_ui.panels.run import RunPanel
from trainer_ui.views import Views
from trainer_ui.widgets import Button

ROOT = Path(__file__).parents[2]


# A tool: this is all that the file of its app holds


class CopyPanel:
    """A button that copies."""

    def __init__(self, jobs: JobSession[Job]) -> None:
        self.jobs = jobs
        self.start = Button(description="Copy")
        self.start.on_click(jobs.views.handler(lambda _: jobs.start(copy)))
        self.widget = card("Copy", self.start)

    def show(self) -> None:
        self.start.disabled = self.jobs.starting or self.jobs.is_live


class CopyApp(App):
    """An app that copies, shows how far it is, and finds the job again."""

    id, title = "copy", "Copy"

    def __init__(self) -> None:
        jobs: JobSession[Job] = JobSession(Views())
        self.copy, self.run = CopyPanel(jobs), RunPanel(jobs, "job")
        super().__init__(jobs, {"copy": Place("Copy", [[self.copy]]), "watch": Place("Watch", [[self.run]])})

    def restore(self) -> None:
        self.jobs.follow_live(known_jobs("copying"))


def copy() -> Job:
    """A started job that counts until a file says that it may end."""
    folder = JobFolder.create(places.jobs(), "copy")
    code = (
        "import pathlib, time\n"
        "print('1 of 3', flush=True)\n"
        "while not pathlib.Path('go').exists(): time.sleep(.02)\n"
        "print('2 of 3\\n3 of 3')"
    )
    folder.write_spec(Spec("copying", (Step("copy", (sys.executable, "-c", code)),), folder.path, total_steps=3))
    job = Job(folder)
    job.launch()
    return job


KIND = """
from trainer_core.events import Progress
from trainer_core.jobs.kind import LineWatch, by_exit_code

def parse(line):
    done, _, total = line.partition(" of ")
    return Progress(int(done), int(total)) if total.isdigit() else None

class Copying:
    id, title = "copying", "Copying"
    def watch(self, folder, journal):
        return LineWatch(folder, journal, parse, by_exit_code)

kind = Copying()
"""


@pytest.fixture
def copying(home, tmp_path, monkeypatch):
    """The kind of the tool's job, in an installed package."""
    site = tmp_path / "site"
    about = site / "copying-1.dist-info"
    about.mkdir(parents=True)
    (site / "copying.py").write_text(KIND)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: copying\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[trainer_core.job_kinds]\ncopying = copying:kind\n")
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{ROOT}")
    yield
    for job in list_jobs(places.jobs()):
        job.stop()


@pytest.fixture
def opened():
    """Closes apps at the end of the test."""
    apps: list[App] = []
    yield apps.append
    for app in apps:
        app.close()


def listen(app):
    """The status in each message that the page would get from now on."""
    heard = []
    app.run.live.monitor.send = lambda message, buffers=None: heard.append(message.get("status", {}))
    return heard


def can_stop(app):
    return any(action["id"] == "stop" and action["possible"] for action in app.run.bar.bar.content.get("actions", ()))


def test_a_tool_needs_one_file_and_its_job_is_started_followed_and_found_again(copying, opened):
    app = CopyApp()
    opened(app)
    heard = listen(app)
    app.open()
    assert "Copy" in markup(app.root)
    click(button(app.root, "Copy"))
    wait_for(lambda: heard and heard[-1].get("step") == 1)
    wait_for(lambda: can_stop(app))
    assert app.copy.start.disabled
    assert app.places.live == "watch"
    assert app.places.chosen == "watch", "what was started is shown"
    app.close()
    assert app.jobs.is_live, "the job continues without the app"

    again = CopyApp()
    opened(again)
    heard = listen(again)
    again.open()
    assert again.jobs.job.name == app.jobs.job.name
    (again.jobs.job.folder.path / "go").touch()
    wait_for(lambda: heard and heard[-1].get("state") == "COMPLETED")
    assert (heard[-1]["step"], heard[-1]["total"]) == (3, 3)
    wait_for(lambda: not again.copy.start.disabled)


def test_the_job_of_a_tool_is_stopped_from_its_app(copying, opened):
    app = CopyApp()
    opened(app)
    app.open()
    click(app.copy.start)
    wait_for(lambda: can_stop(app))
    assert app.run.bar.bar.content["actions"][0]["asks"][0] == "Stop this job?"
    app.run.bar.bar._handle_custom_msg({"kind": "act", "id": "stop"}, [])
    wait_for(lambda: app.jobs.state is JobState.CANCELLED)
    wait_for(lambda: not app.copy.start.disabled)


def test_a_job_that_cannot_be_started_is_a_message(home, opened):
    app = CopyApp()
    opened(app)
    app.open()
    places.jobs().parent.mkdir(parents=True, exist_ok=True)
    places.jobs().write_text("a file where the folder should be")
    click(app.copy.start)
    wait_for(lambda: "cannot be written" in app.views.message)
    wait_for(lambda: not app.copy.start.disabled)
    assert app.jobs.job is None


# One app of each kind in a kernel


def test_a_cell_that_is_run_again_closes_the_app_that_it_showed(home, capsys):
    lora_trainer(engine="rehearsal")
    first = App.shown["lora_trainer"]
    lora_trainer(engine="rehearsal")
    second = App.shown["lora_trainer"]
    try:
        assert second is not first
        assert "opened again in another tab or cell. Run this cell again" in markup(first.root)
        assert not [one for one in inside(first.root) if isinstance(one, Button)]
        assert second.root.comm is not None
        assert second.lock.holder is not None
    finally:
        App.shown.pop("lora_trainer").close()
    assert second.lock.holder is None


# One kernel that starts jobs

OTHER = """
import sys
from trainer_ui.app_lock import AppLock
lock = AppLock("lora_trainer")
for line in sys.stdin:
    print(lock.acquire(take_over=line.strip() == "take over"), flush=True)
"""


@pytest.fixture
def other(home):
    """Another kernel that has the LoRA trainer open; asked, it says whether it may start jobs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    yield process
    process.kill()
    process.communicate()


def may_start(process, how=""):
    process.stdin.write(f"{how}\n")
    process.stdin.flush()
    return process.stdout.readline().strip() == "True"


def test_a_second_notebook_watches_until_it_takes_over(open_app, home, other):
    assert may_start(other)
    app = open_app(prepare(home))
    assert on_page(app.locked)
    assert "LoRA Trainer is open in another notebook" in markup(app.locked)
    click(app.launch.start)
    assert "Not started. LoRA Trainer is open in another notebook" in app.message.value
    assert app.session.run is None
    assert not app.session.starting
    click(app.take_over)
    assert not on_page(app.locked)
    assert not may_start(other)
    click(app.launch.start)
    run = wait_for(lambda: app.session.run)
    run.stop()


def test_the_lock_of_a_kernel_that_ended_is_free_and_the_notice_goes_without_a_new_widget(open_app, home, other):
    assert may_start(other)
    app = open_app(prepare(home))
    assert on_page(app.locked)
    before = set(ipywidgets_widget._instances)
    other.kill()
    other.wait()
    wait_for(lambda: not on_page(app.locked))
    assert AppLock("lora_trainer").acquire()
    assert set(ipywidgets_widget._instances) == before


def test_a_notebook_says_that_another_has_taken_over(open_app, home, other):
    app = open_app(prepare(home))
    assert not on_page(app.locked)
    assert not may_start(other)
    assert may_start(other, "take over")
    wait_for(lambda: on_page(app.locked))


def test_a_closed_app_holds_no_lock(open_app, home, other):
    app = open_app(prepare(home))
    assert not may_start(other)
    app.close()
    # A thread that found something may come late.
    app.session.show_unasked()
    assert may_start(other)


@pytest.mark.parametrize("content", ["", "nonsense", "[]", '{"pid": "x"}', '{"pid": 1, "started": "long ago"}'])
def test_a_damaged_or_stale_lock_is_ignored(home, content):
    lock = AppLock("copy")
    lock.path.parent.mkdir(parents=True)
    lock.path.write_text(content)
    assert lock.acquire()
    assert lock.holder is not None


def test_a_view_that_fails_says_so_and_keeps_no_other_view_from_being_shown(open_app):
    app = open_app()
    # What was looked for when the app was opened is shown before.
    settle()
    shown = []

    def fail():
        raise KeyError("a defect")

    app.session.add_view(fail)
    app.session.add_view(lambda: shown.append(app.places.chosen))
    go(app, "history")
    assert shown == ["history"]
    assert "a defect" in markup(app.notice)
    assert AWAY not in app.notice._dom_classes


def test_a_job_that_cannot_be_computed_says_so_and_the_places_still_open(open_app):
    app = open_app()

    def fail():
        raise OSError("a disk that is gone")

    app.session.bench.look = fail
    go(app, "results")
    assert "a disk that is gone" in markup(app.notice)
    assert AWAY not in app.notice._dom_classes
    assert "No result yet" in markup(app.root)

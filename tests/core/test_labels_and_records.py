"""Names, notes, tags and records of a run that several processes change at once, and names that would lead to two runs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tests.support.ends import easel_says
from tests.support.played import ended
from tests.support.written_runs import write_run
from trainer_core.cli import easel
from trainer_core.errors import JobError, RunError
from trainer_core.jobs.alone import alone
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.hosts.local import own_environment
from trainer_core.training import labels
from trainer_core.training.labels import Labels
from trainer_core.training.use import use

TAGS = """
import sys
from pathlib import Path
from trainer_core.jobs.alone import alone
from trainer_core.jobs.folder import JobFolder
from trainer_core.training import labels
folder = JobFolder(Path(sys.argv[1]))
for number in range(4):
    labels.change(folder, lambda known: known.tagged([f"{sys.argv[2]}{number}"]))
"""
TAKES = """
import sys
from pathlib import Path
from trainer_core.training.run import Run
from trainer_core.training.use import use
print(use(Run.attach(Path(sys.argv[1])), folder=Path(sys.argv[2])).delivered)
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))


def at_once(code, *arguments):
    command = [sys.executable, "-P", "-c", code]
    started = [
        subprocess.Popen([*command, *map(str, each)], env=own_environment(), stdout=subprocess.PIPE)
        for each in arguments
    ]
    return [process.communicate(timeout=120)[0].decode().strip() for process in started]


def test_no_tag_is_lost_that_several_processes_add_at_once():
    path = write_run("20260101-100000-a")
    at_once(TAGS, *((path, letter) for letter in "abcd"))
    assert len(labels.read(JobFolder(path)).tags) == 16


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("note", "sharp"), Labels("", "sharp", ("good",))),
        (("name", "sharp"), Labels("sharp", "", ("good",))),
        (("tag", "+sharp"), Labels("", "", ("good", "sharp"))),
    ],
)
def test_a_command_keeps_what_another_process_changes_meanwhile(words, expected):
    path = write_run("20260101-100000-a")
    command = [sys.executable, "-P", "-m", "trainer_core.cli", "runs", words[0], path.name, words[1]]
    with alone(path):
        waits = subprocess.Popen(command, env=own_environment(), stdout=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            waits.wait(3)
        labels.write(JobFolder(path), Labels(tags=("good",)))
    assert waits.wait(60) == 0
    assert labels.read(JobFolder(path)) == expected


def test_a_checkpoint_that_is_taken_four_times_at_once_is_delivered_once(tmp_path):
    run = ended(tmp_path, steps=20, output={"save_every_steps": 10, "folder": str(tmp_path / "out")})
    target = tmp_path / "mine"
    told = at_once(TAKES, *[(run.folder.path, target)] * 4)
    assert len(set(told)) == 1
    assert len(list(target.iterdir())) == 1
    assert list(run.folder.delivered.values()) == [told[0]]


def test_a_checkpoint_is_delivered_although_the_run_cannot_record_it(tmp_path):
    run = ended(tmp_path, steps=20, output={"save_every_steps": 10, "folder": str(tmp_path / "out")})
    # Neither the record nor the finished copy can be written.
    (run.folder.path / "delivered.json" / "in the way").mkdir(parents=True)
    (run.folder.path / "finished").rename(tmp_path / "finished")
    (run.folder.path / "finished").touch()
    answer = easel_says(run, "use", "--step", "10", "--to", str(tmp_path / "mine"))
    assert answer.exit_code == 0, answer.output
    [file] = (tmp_path / "mine").iterdir()
    plain = answer.output.replace("\n", "")
    assert file.name in plain
    assert "does not show that it was delivered" in plain
    assert "without Easel's metadata" in plain
    told = json.loads(easel_says(run, "use", "--step", "10", "--to", str(tmp_path / "other"), "--json").output)
    assert told["notices"]
    assert use(run, 10, tmp_path / "third").notices


def test_a_name_that_leads_to_another_run_too_is_refused():
    first, second = write_run("20260101-100000-mika"), write_run("20260102-100000-b")
    labels.change(JobFolder(first), lambda known: known.named("sharp"))
    other = JobFolder(second)
    for name, words in (
        ("sharp", "has this name already"),
        (" last ", "started last"),
        ("mika", "20260101-100000-mika"),
        (first.name, "20260101-100000-mika"),
    ):
        with pytest.raises(RunError, match=words):
            labels.check_name(other, name)
        found = CliRunner().invoke(easel, ["runs", "name", second.name, name])
        assert isinstance(found.exception, RunError)
    assert labels.read(other).name == ""
    assert CliRunner().invoke(easel, ["runs", "name", first.name, "sharp"]).exit_code == 0, "its own name"
    assert CliRunner().invoke(easel, ["runs", "name", second.name, "best"]).exit_code == 0
    assert CliRunner().invoke(easel, ["runs", "name", second.name, ""]).exit_code == 0


def test_an_ambiguous_name_is_answered_with_the_runs_that_it_may_mean_the_newest_first():
    write_run("20260101-100000-mika", state="FAILED")
    write_run("20260102-113000-mika")
    write_run("20260103-100000-other")
    error = CliRunner().invoke(easel, ["runs", "show", "mika"]).exception
    assert isinstance(error, JobError)
    first, second = (
        "20260102-113000-mika (completed, 2026-01-02 11:30)",
        "20260101-100000-mika (failed, 2026-01-01 10:00)",
    )
    assert f"2 runs are called 'mika', the newest first: {first}, {second}." in str(error)
    for number in range(12):
        write_run(f"20260201-1000{number:02d}-many")
    assert "and 2 more" in str(CliRunner().invoke(easel, ["runs", "show", "many"]).exception)

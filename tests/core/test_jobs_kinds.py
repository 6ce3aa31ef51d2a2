"""Kinds of job are found by id, a job may have several commands, and entry points are called when a job has ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.played import LIMIT_S, diagnosis, ended, job, kill, processes_of, record, result, start, told, until
from tests.support.written_runs import write_run
from trainer_core.engines import registry
from trainer_core.errors import JobError
from trainer_core.events import Phase
from trainer_core.jobs import kind as kinds
from trainer_core.jobs.folder import SCHEMA_VERSION, JobFolder
from trainer_core.jobs.job import Job, list_jobs
from trainer_core.jobs.spec import Spec, Step
from trainer_core.jobs.state import JobState
from trainer_core.training.run import Run, list_runs
from trainer_core.training.verdict import verdict

BEFORE_KINDS = Path(__file__).parents[1] / "data" / "runs" / "before-kinds"


def prepared(folder: Path, kind: str, *commands: tuple[str, ...], **more) -> Job:
    """A job of these commands, each a name and Python code."""
    here = JobFolder.create(folder, kind)
    steps = (Step(name, (sys.executable, "-c", code)) for name, code in commands)
    here.write_spec(Spec(kind, tuple(steps), here.path, **more))
    return Job(here)


def parts(run: Job) -> list[tuple[str, int, int]]:
    return [(one.name, one.part, one.parts) for one in told(run) if isinstance(one, Phase) and one.part]


def log(run: Job) -> str:
    return run.host.read(run.folder.log)[0].decode()


# Kinds


OUTSIDE = """
from pathlib import Path
from trainer_core.events import Progress
from trainer_core.jobs.kind import LineWatch, by_exit_code

def parse(line):
    done, _, total = line.partition(" of ")
    return Progress(int(done), int(total)) if total.isdigit() and done.isdigit() else None

class Copying:
    id, title = "copying", "Copying"
    def watch(self, folder, journal):
        return LineWatch(folder, journal, parse, by_exit_code)

kind = Copying()

def ended(folder):
    (Path(folder) / "called").write_text((Path(folder) / "result.json").read_text())

def broken(folder):
    raise LookupError("no queue today")
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An outside package with a kind of job, and two entry points that are called when a job has ended."""
    site = tmp_path / "site"
    about = site / "copying-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "copying.py").write_text(OUTSIDE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: copying\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[trainer_core.job_kinds]\ncopying = copying:kind\ngone = copying:nothing\n"
        "[trainer_core.job_ended]\nbroken = copying:broken\nqueue = copying:ended\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.syspath_prepend(str(site))


def test_a_kind_from_an_outside_package_is_found_by_its_id_and_entry_points_are_called_at_the_end(package, tmp_path):
    here = prepared(tmp_path / "jobs", "copying", ("copy", "print('1 of 2'); print('2 of 2')"), total_steps=2)
    here.launch()
    assert here.wait(LIMIT_S) is JobState.COMPLETED
    assert (here.summary.step, here.summary.total) == (2, 2)
    called = here.folder.path / "called"
    until(lambda: called.exists() and '"COMPLETED"' in called.read_text())
    until(lambda: "no queue today" in here.folder.supervisor_log.read_text())
    assert here.state is JobState.COMPLETED


def test_an_unknown_kind_gives_an_error_and_starts_no_program(package, tmp_path):
    here = prepared(tmp_path / "jobs", "os.system", ("touch", f"open({str(tmp_path / 'touched')!r}, 'w')"))
    here.launch()
    assert here.wait(LIMIT_S) is JobState.FAILED
    assert "no kind of job called 'os.system'" in diagnosis(here).cause
    known = diagnosis(here).cause.partition("Known: ")[2].removesuffix(".").split(", ")
    assert known == sorted(known)
    assert {"caption", "commands", "copying", "gone", "merge", "training"} <= set(known)
    assert not (tmp_path / "touched").exists()
    with pytest.raises(JobError, match="cannot be loaded"):
        kinds.get("gone")


def test_a_failure_shows_the_exit_code_and_the_last_line(tmp_path):
    here = prepared(tmp_path, "commands", ("only", "print('one\\n\\x1b[31mtwo\\x1b[0m'); raise SystemExit(4)"))
    here.launch()
    assert here.wait(LIMIT_S) is JobState.FAILED
    assert (diagnosis(here).cause, diagnosis(here).line) == ("The program ended with exit code 4.", "two")
    here = JobFolder.create(tmp_path, "nothing")
    here.write_spec(Spec("commands", (Step("only", ("/nowhere/program",)),), here.path))
    here = Job(here)
    here.launch()
    assert here.wait(LIMIT_S) is JobState.FAILED
    assert diagnosis(here).cause == "The program cannot be started: /nowhere/program: No such file or directory."


def test_a_kept_variable_reaches_the_program_but_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://somebody:secret@mirror.example")
    code = "import os; print(len(os.environ.get('UV_DEFAULT_INDEX', '')))"
    for keeps, seen in (("UV_DEFAULT_INDEX",), "38"), ((), "0"):
        here = prepared(tmp_path, "commands", ("only", code), keeps=keeps)
        here.launch()
        assert here.wait(LIMIT_S) is JobState.COMPLETED
        assert here.folder.log.read_text().strip() == seen
        # The supervisor, which may not have ended yet, removes the reserve, which is empty space.
        files = [file for file in here.folder.path.iterdir() if file != here.folder.reserve]
        assert not [file for file in files if b"secret" in file.read_bytes()]


def test_a_job_folder_without_steps_is_damaged(tmp_path):
    here = prepared(tmp_path, "commands", ("only", ""))
    here.folder.write("spec.json", {**record(here, "spec.json"), "steps": []})
    with pytest.raises(JobError, match="damaged: it has no steps"):
        _ = here.spec


def test_jobs_of_several_folders_are_listed_newest_first(tmp_path):
    prepared(tmp_path / "a", "commands", ("x", "")).folder.path.rename(tmp_path / "a" / "20260101-000000-old")
    prepared(tmp_path / "b", "commands", ("x", "")).folder.path.rename(tmp_path / "b" / "20260102-000000-new")
    (tmp_path / "b" / "something").mkdir()
    found = list_jobs(tmp_path / "a", tmp_path / "b", tmp_path / "none")
    assert [one.name for one in found] == ["20260102-000000-new", "20260101-000000-old"]


# Several commands


def test_a_run_with_caching_has_three_commands(tmp_path):
    run = ended(tmp_path, phases=True)
    assert run.state is JobState.COMPLETED
    assert parts(run) == [("cache latents", 1, 3), ("cache text", 2, 3), ("train", 3, 3)]
    names = [one.name for one in told(run) if isinstance(one, Phase)]
    assert names[:4] == ["cache latents", "caching latents", "cache text", "caching text"]
    assert (run.summary.part, run.summary.step, run.summary.total) == ("train, 3 of 3", 20, 20)
    assert log(run).count("cached 10 of 10") == 2
    assert result(run)["step"] == ""


def test_a_failing_command_ends_the_run_and_the_diagnosis_names_it(tmp_path):
    run = ended(tmp_path, phases=True, ending="oom", ends_in="cache text")
    assert run.state is JobState.FAILED
    assert result(run)["step"] == "cache text"
    assert diagnosis(run).id == "oom_cuda"
    assert diagnosis(run).cause.startswith("The step 'cache text' failed. ")
    assert [name for name, *_ in parts(run)] == ["cache latents", "cache text"]
    rows = {row["label"]: row["text"] for row in verdict(run)}
    assert "cache text" in rows["What happened"]


def test_a_stop_in_the_second_command_stops_the_run(tmp_path):
    run = start(tmp_path, phases=True, ending="hang", ends_in="cache text")
    until(lambda: "cached 5 of 10" in log(run).partition("caching text")[2])
    assert run.summary.part == "cache text, 2 of 3"
    assert run.summary.total == 20, "no training step was done"
    assert run.summary.step == 0
    assert run.stop() is JobState.CANCELLED
    assert processes_of(run) == []
    assert [name for name, *_ in parts(run)] == ["cache latents", "cache text"]
    assert result(run)["step"] == ""


def test_a_killed_command_ends_the_run(tmp_path):
    run = start(tmp_path, phases=True, ending="hang", ends_in="cache latents")
    until(lambda: "cached 5 of 10" in log(run))
    kill(run, "engine.json")
    assert run.wait(LIMIT_S) is JobState.FAILED
    assert result(run)["step"] == "cache latents"
    assert diagnosis(run).id == "out-of-memory"


# Folders of older versions


def test_a_run_folder_without_a_kind_is_a_training_run(tmp_path):
    shutil.copytree(BEFORE_KINDS, tmp_path / "20261128-230126-cg_mika")
    (run,) = list_runs(tmp_path)
    assert run.spec.kind == "training"
    assert [step.name for step in run.spec.steps] == ["train"]
    assert run.spec.steps[0].argv[1].endswith("backends/rehearsal/play.py")
    assert run.spec.steps[0].environment == {"PYTHONUTF8": "1"}
    assert run.folder.rendered.backend == "rehearsal"
    assert run.folder.rendered.artefacts.samples.glob == "sample/*.png"
    assert run.folder.versions["schema_version"] < SCHEMA_VERSION
    assert run.state is JobState.COMPLETED
    assert (run.summary.step, run.summary.total) == (6, 6)
    assert run.folder.plan["output"]["name"] == "mika"
    assert run.result is not None
    assert run.result["acceptance"]["rank"] == 4
    assert "File" in {row["label"] for row in verdict(run)}


def test_a_prepared_run_without_a_kind_can_be_started(tmp_path):
    run = Run.prepare(job(tmp_path, steps=3), registry.get("rehearsal"), folder=tmp_path / "runs")
    new = record(run, "spec.json")
    step, details = new["steps"][0], new["details"]
    old = {name: new[name] for name in ("working_directory", "stop_signal", "total_steps")}
    run.folder.write("spec.json", {**details, **old, "command": step["argv"][:3], "environment": step["environment"]})
    run.folder.write("versions.json", {**run.folder.versions, "schema_version": 1})
    again = Run.attach(run.folder.path)
    again.launch()
    assert again.wait(LIMIT_S) is JobState.COMPLETED


def test_jobs_import_neither_training_nor_engines():
    """The supervisor of a tool's job imports neither the engines nor the plan."""
    code = (
        "import sys, trainer_core.jobs.supervisor, trainer_core.jobs.hosts.contract, trainer_core.jobs.job\n"
        "allowed = 'errors events bounded probe problems providers text places files hardware child jobs'.split()\n"
        "print([m for m in sys.modules if m.startswith('trainer_core.') and m.split('.')[1] not in allowed])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.strip() == "[]"


def test_the_files_of_a_folder_are_one_line_with_their_names(tmp_path):
    made = [str(tmp_path / f"mika{end}.safetensors") for end in ("", "-step00000010", "-step00000020")]
    path = write_run("20260101-100000-mika", folder=tmp_path, result={"outputs": made})
    rows = [(row["label"], row["text"]) for row in verdict(Run.attach(path), is_for_page=True)]
    assert rows[0] == ("Files", f"mika.safetensors and 2 more in {tmp_path}")
    assert [row["text"] for row in verdict(Run.attach(path))][:3] == made

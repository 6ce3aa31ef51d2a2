"""The commands of runs on written run folders: what they print, their JSON, and their exit codes."""

from __future__ import annotations

import json
import re
import threading
import time

import click
import pytest

from tests.support import queued
from tests.support.played import until
from tests.support.written_runs import write_events, write_run
from trainer_core import cli, places
from trainer_core.cli import main, show
from trainer_core.errors import RunError
from trainer_core.estimate import formatting
from trainer_core.events import Phase, Progress, Step
from trainer_core.jobs.alone import alone
from trainer_core.jobs.folder import JobFolder
from trainer_core.text import size
from trainer_core.training import labels, trash, use
from trainer_core.training.labels import Labels
from trainer_core.training.run import Run

bench = queued.bench


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def easel(capsys):
    """Calls `easel` in this process, and returns what it printed; `check` is the exit code."""

    def call(*arguments, check=0):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        said = capsys.readouterr()
        assert (ended.value.code or 0) == check, said.out + said.err
        return said.out + said.err if check else said.out

    return call


@pytest.mark.parametrize(
    "arguments",
    [
        "runs show nothing",
        "runs trash restore nothing",
        "runs compare --sweep nothing",
        "diagnose nothing",
        "plan --engine nothing",
        "plan --profile nothing",
        "plan --preset nothing",
        "plan --policy nothing",
        "backends verify nothing",
        "backends audit nothing",
        "notify remove 7",
        "runs queue pause --gpu 77",
    ],
)
def test_a_name_that_nothing_has_is_wrong_use(easel, arguments):
    assert "nothing" in easel(*arguments.split(), check=2) or "77" in arguments or "7" in arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("runs history --limit 0", "0 is too small: the smallest number is 1."),
        ("runs history --limit -1", "-1 is too small"),
        ("runs history --limit many", "'many' is not a whole number."),
        ("runs stop x --grace nan", "'nan' is not a number of seconds."),
        ("runs stop x --grace 1e9", "from 0 to 3600 seconds"),
        ("runs retry x --fix two", "'two' is not a whole number."),
    ],
)
def test_a_wrong_number_is_explained_in_plain_words(easel, arguments, said):
    assert said in easel(*arguments.split(), check=2)


def test_a_deletion_names_few_files_and_counts_many(easel):
    run = write_run("20260101-100000-a")
    for step in range(10, 110, 10):
        (run / "output" / f"mika-step{step:08}.safetensors").write_bytes(b"x" * step)
    said = easel("runs", "delete", "20260101-100000-a", check=1)
    assert "10 files, mika-step00000010.safetensors to mika-step00000100.safetensors" in said
    assert said.count("safetensors") == 2
    assert (places.runs() / run.name).is_dir()


def test_history_shows_at_most_so_many_runs(easel):
    for day in (1, 2, 3):
        write_run(f"2026010{day}-100000-a")
    assert len(json.loads(easel("runs", "history", "--limit", "2", "--json"))) == 2


def test_the_list_and_the_details_have_times_names_and_relatives(easel):
    earlier = write_run("20260101-100000-a", result={"started": 1.7e9, "ended": 1.7e9 + 150, "seconds": 150.0})
    origin = {"run": earlier.name, "folder": str(earlier), "step": 60, "state": "s", "schedule_from": 60}
    run = write_run("20260102-100000-b", state="", versions={"retries": earlier.name})
    spec = json.loads((run / "spec.json").read_text())
    spec["details"]["resumes"] = origin
    (run / "spec.json").write_text(json.dumps(spec))
    (run / "guard.json").write_text(json.dumps({"guard": "Try less", "why": "Nothing is left.", "advice": "Buy."}))
    labels.write(JobFolder(run), Labels("sharp", "two\nlines", ("good",)))
    rows = {row["run"]: row for row in json.loads(easel("runs", "list", "--json"))}
    assert (rows[earlier.name]["started"], rows[earlier.name]["seconds"]) == (1.7e9, 150.0)
    assert (rows[run.name]["name"], rows[run.name]["started"]) == ("sharp", None)
    listed = easel("runs", "list")
    assert "sharp" in listed
    assert "2 min" in listed
    assert time.strftime("%Y-%m-%d %H:%M", time.localtime(1.7e9)) in listed
    told = json.loads(easel("runs", "show", run.name, "--json"))
    assert (told["name"], told["note"], told["tags"]) == ("sharp", "two\nlines", ["good"])
    assert told["extends"] == {"run": earlier.name, "step": 60}
    assert told["retries"] == earlier.name
    assert told["guard"] == {"guard": "Try less", "why": "Nothing is left.", "advice": "Buy."}
    shown = easel("runs", "show", run.name)
    for text in ("name: sharp", "note: two", "tags: good", f"extends: run {earlier.name}, step 60", "Nothing is left."):
        assert text in shown
    assert "started" in easel("runs", "show", earlier.name)


def test_a_running_run_has_its_step_time_and_speed(easel, bench):
    run = bench.prepared(steps=4000, steps_per_second=50.0)
    run.launch()
    until(lambda: run.summary.step > 20)
    (row,) = json.loads(easel("runs", "history", "--json"))
    assert row["steps"] > 20
    assert row["seconds"] > 0
    assert "- of" not in easel("runs", "history")
    (listed,) = json.loads(easel("runs", "list", "--json"))
    assert listed["left_s"] > 0
    shown = easel("runs", "show", "last")
    assert "s per step" in shown
    assert " left" in shown


@pytest.mark.parametrize("width", [60, 80])
def test_in_a_narrow_terminal_each_run_is_a_paragraph(easel, monkeypatch, width):
    name = "20260101-100000-a-long-name-of-a-run"
    write_run(name)
    monkeypatch.setattr(show.out, "_force_terminal", True)
    monkeypatch.setattr(show.out, "_width", width)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in easel("runs", "list").splitlines()]
    assert lines[0] == name
    assert "  state: COMPLETED" in lines


def _without_json(group, context, words=()):
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _without_json(command, context, (*words, name))
        elif not any("--json" in each.opts for each in command.params):
            yield " ".join((*words, name))


def test_every_command_has_json_except_those_that_watch_or_become_another_program():
    expected = {"runs follow", "jobs follow", "lab", "demo"}
    assert set(_without_json(cli.easel, click.Context(cli.easel))) == expected


def test_what_a_command_has_done_is_printed_as_json(easel):
    name = write_run("20260101-100000-a").name

    def told(*words, **more):
        return json.loads(easel("runs", *words, "--json", **more))

    assert told("name", name, "sharp") == {"run": name, "name": "sharp", "note": "", "tags": []}
    assert told("tag", name, "+good")["tags"] == ["good"]
    assert told("note", name, "two")["note"] == "two"
    assert told("note", name)["note"] == "two"
    assert told("stop", name) == {"run": name, "state": "COMPLETED", "stops_after_save": False}
    assert "--yes" in told("delete", name, check=2)["hint"]
    gone = told("delete", "sharp", "--yes")
    assert (gone["run"], gone["only_here"]) == (name, [])
    assert [row["name"] for row in told("trash", "list")] == ["sharp"]
    assert told("trash", "restore", "sharp") == {"run": name, "folder": str(places.runs() / name)}
    easel("runs", "delete", name, "--yes")
    assert "--yes" in told("trash", "empty", check=2)["hint"]
    assert [row["run"] for row in told("trash", "empty", "--yes")["removed"]] == [name]
    assert told("trash", "empty", "--yes") == {"removed": []}


def test_a_deleted_run_is_found_as_other_runs_are(easel):
    for day in (1, 2):
        write_run(f"2026010{day}-100000-mika")
        easel("runs", "delete", f"2026010{day}-100000-mika", "--yes")
    assert "20260101-100000-mika" in easel("runs", "trash", "restore", "mika", check=2), "two have this ending"
    easel("runs", "trash", "restore", "20260102")
    easel("runs", "trash", "restore", "mika")
    assert len(json.loads(easel("runs", "list", "--json"))) == 2


def test_a_model_folder_is_added_and_removed_with_json(easel, tmp_path):
    (tmp_path / "models").mkdir()
    added = json.loads(easel("models", "folders", "add", tmp_path / "models", "--json"))
    assert json.loads(easel("models", "folders", "remove", tmp_path / "models", "--json")) == {
        "removed": added["added"]
    }


def test_an_exported_profile_is_json_and_a_file(easel, tmp_path):
    out = tmp_path / "own.toml"
    told = json.loads(easel("profiles", "export", "sdxl-style", "--id", "own", "--out", out, "--json"))
    assert (told["id"], told["written"]) == ("own", str(out))
    assert 'id = "own"' in out.read_text()
    assert json.loads(easel("profiles", "export", "sdxl-style", "--json"))["written"] is None


def test_the_list_of_the_queue_says_that_it_pauses_after_a_failure(easel):
    assert "pauses" not in easel("runs", "queue", "list")
    easel("runs", "queue", "on-failure", "pause")
    assert "After a run that failed, the queue of its GPU pauses." in easel("runs", "queue", "list")
    assert "To go on: easel runs queue continue" in easel("runs", "queue", "pause")


def test_passwords_and_signatures_in_addresses_are_shown_nowhere(easel, tmp_path):
    link = "https://bob:s3cr3t@example.com/m.safetensors?token=t0ps3cret"
    name = write_run("20260101-100000-a", model__path=link).name
    asked = [
        (("plan", "--model", link, "--set", f"model.vae={link}"), 3),
        (("plan", "--model", link, "--json"), 3),
        (("train", "--sweep", f"model.path={link}"), 3),
        (("plan", link), 2),
        (("dataset", "check", link), 1),
        (("runs", "show", link, "--json"), 2),
        (("runs", "history", "--state", link), 2),
        (("runs", "show", name, "--json"), 0),
        (("runs", "history", "--json"), 0),
    ]
    for arguments, code in asked:
        said = easel(*arguments, check=code)
        assert "s3cr3t" not in said, arguments
        assert "t0ps3cret" not in said, arguments
        assert "m.safetensors" in said or name in said or "is not a state" in said
    (places.runs() / name / "engine.log").write_text(f"reading {link}\n")
    assert "s3cr3t" not in easel("jobs", "show", name)


def test_a_table_of_versions_has_plain_headings(easel):
    write_run("20260101-100000-a")
    headings = easel("runs", "versions", "mika").splitlines()[0].split()
    assert headings == ["version", "name", "started", "state", "images", "file", "run"]


def test_a_link_in_the_folder_of_runs_is_shown_as_a_link(easel, tmp_path):
    outside = write_run("20260101-100000-outside", folder=tmp_path / "elsewhere")
    places.runs().mkdir(parents=True)
    (places.runs() / "linked").symlink_to(outside)
    assert f"linked is a link to {outside}" in easel("runs", "list")
    assert json.loads(easel("runs", "history", "--json")) == []
    assert "COMPLETED" in easel("runs", "show", "linked")
    easel("runs", "delete", "linked", "--yes", check=1)
    assert outside.is_dir()


def test_a_comparison_shows_memory_in_units_that_people_read(easel):
    names = [write_run(f"2026010{day}-100000-a", network__rank=day).name for day in (1, 2)]
    shown = easel("runs", "compare", *names)
    assert "1.0 GiB" in shown
    assert "bytes)" in shown
    assert "in bytes" not in shown
    assert json.loads(easel("runs", "compare", *names, "--json"))["results"]


def test_a_delivery_that_a_deletion_has_overtaken_says_so():
    run = Run.attach(write_run("20260101-100000-a"))
    file = run.folder.output / "mika-step00000050.safetensors"
    file.write_bytes(b"weights")
    with alone(run.folder.output):
        deleting = threading.Thread(target=trash.delete, args=(run.folder.path,))
        deleting.start()
        deleting.join(0.3)
        assert run.folder.path.is_dir(), "a delivery that has begun is finished first"
    deleting.join(30)
    assert not run.folder.path.exists()
    with pytest.raises(RunError, match="was deleted meanwhile"):
        use.refuse_deleted(run)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("Éloïse Straße", "Eloise_Strasse"), ("mika", "mika"), ("日本", "job"), ("Łódź/../x", "Lodz_.._x")],
)
def test_letters_with_accents_stay_in_the_names_of_folders(tmp_path, name, folder):
    assert JobFolder.create(tmp_path, name).path.name[16:] == folder


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (700, "700 bytes"), (35_000, "34.2 KiB"), (5 << 20, "5.0 MiB"), (3 << 29, "1.5 GiB")],
)
def test_a_size_has_a_unit_in_which_it_is_not_zero(count, text):
    assert size(count) == text
    assert formatting.size_mib(count / (1 << 20)) == text


def test_a_name_that_is_taken_gets_a_number():
    first, second = (JobFolder(write_run(f"2026010{day}-100000-a")) for day in (1, 2))
    labels.write(first, Labels("rank=8"))
    assert labels.free_name(second, "rank=8") == "rank=8 (2)"
    assert labels.free_name(second, "prompt=a\nb " + "x" * 200) == "prompt=a b " + "x" * 89
    assert labels.free_name(second, "last") == "last (2)"


def test_the_last_bar_of_a_run_says_how_it_ended(easel):
    path = write_run("20260101-100000-a", state="CANCELLED")
    write_events(path, Step(30, 0.1, 1e-4), Progress(30, 60, 1.0), Phase("checking the result"))
    said = easel("runs", "follow", "last", check=1)
    assert "cancelled" in said
    assert "30/60" in said
    assert "checking the result" not in said

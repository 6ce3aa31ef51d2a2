"""The history of runs: labels, filters, versions of a subject, and comparisons."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from tests.support.written_runs import write_events, write_images, write_run
from trainer_core import places
from trainer_core.errors import RunError
from trainer_core.events import Step
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.state import JobState
from trainer_core.training import labels, numbers, trash
from trainer_core.training.comparison import compare
from trainer_core.training.history import Filter, history, past_run
from trainer_core.training.labels import Labels
from trainer_core.training.losses import curve
from trainer_core.training.run import Run
from trainer_core.training.versions import subjects, versions_of

OLD = Path(__file__).parents[1] / "data" / "runs" / "before-kinds"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))


def names(**wanted):
    return [run.run for run in history(wanted=Filter(**wanted))]


def test_the_history_has_settings_versions_outputs_and_peaks_newest_first():
    write_run("20260101-100000-a", network__rank=8)
    newest = {"outputs": ["/data/mika.safetensors"], "started": 2e9, "peak_gpu_memory_bytes": 5}
    write_run("20260102-100000-b", result=newest, versions={"profile": "sd15-character", "sweep": "s"})
    second, first = history()
    assert (first.run, first.settings["network.rank"], first.peak_memory_bytes) == ("20260101-100000-a", 8, 1 << 30)
    assert (second.outputs, second.peak_gpu_memory_bytes) == (("/data/mika.safetensors",), 5)
    assert (second.versions["profile"], second.versions["easel"]) == ("sd15-character", "0.1.0")
    assert (first.subject, first.family, first.images, first.total_steps) == ("Mika", "sd15", 3, 100)
    json.dumps([run.as_dict() for run in (first, second)], default=str)


def test_runs_are_filtered_by_state_family_tag_text_time_and_sweep():
    write_run("20260101-100000-a")
    write_run("20260102-100000-b", state="FAILED", versions={"sweep": "s1"}, model__family="flux")
    labels.write(JobFolder(places.runs() / "20260101-100000-a"), Labels("Best one", "sharp eyes", ("good",)))
    a, b = ["20260101-100000-a"], ["20260102-100000-b"]
    assert names(state="failed") == names(family="flux") == names(sweep="s1") == b
    assert names(tag="good") == names(text="best") == names(text="EYES") == names(state="completed") == a
    assert names(since=past_run(places.runs() / b[0]).started) == b
    assert names(text="nothing like it") == []


def test_a_run_of_an_older_easel_is_read_from_its_plan():
    shutil.copytree(OLD, places.runs() / "20251128-230126-cg_mika")
    write_run("20260101-100000-a", is_old=True, network__rank=8)
    old, new = history()
    assert (old.state, old.steps, old.family, old.name) == (JobState.COMPLETED, 6, "sd15", "cg_mika")
    assert new.settings["network.rank"] == 8
    assert versions_of("cg_mika")[0]["status"] == "completed"


def test_damaged_and_hostile_files_of_a_run_do_not_hide_the_others():
    write_run("20260101-100000-a")
    bad = write_run("20260102-100000-b")
    (bad / "versions.json").write_text(
        json.dumps({"schema_version": 2, "about": {"subject": 5, "settings": [1]}, "images": "x", "created": True})
    )
    (bad / "labels.json").write_text(json.dumps({"name": "x" * 5000, "note": 5, "tags": ["ok", "a b", 7, "ok"] * 50}))
    (bad / "result.json").write_text(json.dumps({"state": "NONSENSE", "seconds": "x", "outputs": "x", "diagnosis": 5}))
    (bad / "plan.toml").write_text("[")
    (places.runs() / "not a run").mkdir()
    found = {run.run: run for run in history()}
    assert set(found) == {"20260101-100000-a", "20260102-100000-b"}
    assert found["20260102-100000-b"].labels == Labels("x" * 100, "", ("ok",))


def test_labels_are_checked_when_they_are_written():
    for change in (
        lambda: Labels().named("x" * 101),
        lambda: Labels().named("two\nlines"),
        lambda: Labels().noted("x" * 4001),
        lambda: Labels().tagged(["a b"]),
        lambda: Labels().tagged([f"t{number}" for number in range(21)]),
    ):
        with pytest.raises(RunError):
            change()
    assert Labels(tags=("a", "b")).tagged(["c", "a"], ["b"]).tags == ("a", "c")


def test_the_runs_of_a_subject_are_numbered_versions_in_the_form_of_training_versions(tmp_path):
    done = tmp_path / "mika.safetensors"
    done.touch()
    write_run("20260102-100000-b", state="FAILED", dataset__trigger=" mika ")
    write_run("20260101-100000-a", result={"outputs": [str(done)]}, network__rank=8)
    write_run("20260103-100000-c", dataset__trigger="other", output__name="other")
    labels.write(JobFolder(places.runs() / "20260102-100000-b"), Labels("second try"))
    first, second = versions_of("MIKA")
    expected = {"id", "name", "timestamp", "parameters", "status", "loraUrl", "selectionSetId", "imageCount", "version"}
    assert set(first) == expected
    assert (first["id"], first["name"], first["version"]) == ("20260101-100000-a", "v1", 1)
    assert first["timestamp"].endswith("Z")
    assert first["timestamp"].startswith("20")
    assert first["parameters"]["network_dim"] == 8
    assert first["parameters"]["class_tokens"] == "Mika"
    assert (first["status"], first["loraUrl"], first["imageCount"]) == ("completed", done.as_uri(), 3)
    assert first["selectionSetId"] is None
    assert (second["name"], second["version"], second["status"], second["loraUrl"]) == ("second try", 2, "failed", None)
    assert subjects() == {"mika": 2, "other": 1}


def _numbers(subject="mika"):
    return {row["id"]: row["version"] for row in versions_of(subject)}


def test_the_number_of_a_version_never_moves_and_is_never_used_twice():
    for day, name in enumerate("abc", 1):
        write_run(f"2026010{day}-100000-{name}", is_old=name == "a", dataset__trigger="mika")
    names = ["20260101-100000-a", "20260102-100000-b", "20260103-100000-c"]
    assert _numbers() == dict(zip(names, (1, 2, 3), strict=True))
    trash.delete(places.runs() / names[0])
    assert _numbers() == {names[1]: 2, names[2]: 3}
    trash.delete(places.runs() / names[2])
    known = (places.home() / numbers.FILE).read_text()
    (places.home() / numbers.FILE).write_text("damaged")
    about = JobFolder(places.runs() / names[1]).versions["about"]
    assert numbers.of_new(places.runs() / "x", about) == {numbers.KEY: 4}, "the third is in the trash"
    (places.home() / numbers.FILE).write_text(known)
    trash.empty()
    path = places.runs() / "20260104-100000-d"
    entry = numbers.of_new(path, about)
    write_run(path.name, versions=entry, dataset__trigger="Mika")
    assert _numbers() == {names[1]: 2, path.name: 4}
    (places.home() / numbers.FILE).write_text("damaged")
    assert numbers.of_new(places.runs() / "x", about) == {numbers.KEY: 5}
    shutil.copytree(path, places.runs() / "20260105-100000-copy")
    assert _numbers() == {names[1]: 2, path.name: 4, "20260105-100000-copy": 5}


def test_the_lowest_loss_of_a_short_run_is_that_of_its_curve():
    path, other = write_run("20260101-100000-a"), write_run("20260102-100000-b")
    write_events(path, *(Step(step, 0.5 if 5 < step < 12 else 1.0, 1e-4) for step in range(1, 41)))
    row = {row.key: row for row in compare([Run.attach(path), Run.attach(other)]).results}
    drawn = curve(Run.attach(path))
    assert row["best_step"].values[0] == 11
    assert row["best_loss"].values[0] == min(loss for _, loss in drawn)
    assert row["best_loss"].title == "Lowest loss, smoothed, after the first steps"


def test_a_comparison_has_differences_first_and_then_results():
    one = write_run("20260101-100000-a", network__rank=8, native={"rehearsal": {"say": "x"}})
    two = write_run("20260102-100000-b", state="FAILED", network__rank=16, versions={"engine_version": "2"})
    write_events(one, *(Step(number, 1.0 if number < 60 else 0.5, 1e-4) for number in range(1, 111)))
    write_events(two, Step(1, float("nan"), 1e-4))
    write_images(one, cat="a cat", dog="a dog")
    write_images(two, cat="a tabby cat", fox="a fox")
    found = compare([Run.attach(one), Run.attach(two)])
    rows = {row.key: (row.title, row.values) for part in found.parts().values() for row in part}
    assert rows["network.rank"] == ("Rank", (8, 16))
    assert rows["native.rehearsal.say"][1] == ("x", None)
    assert "schedule.steps" not in rows
    assert rows["engine_version"][1] == (None, "2")
    assert rows["images_added"][1] == ("", "fox.png")
    assert rows["images_removed"][1] == ("", "dog.png")
    assert rows["captions_changed"][1] == ("", "cat.png")
    assert rows["state"][1] == ("COMPLETED", "FAILED")
    # The smoothed loss of a run whose loss fell from 1 to 0.5 after 60 of 110 steps, as Watch shows it.
    assert rows["final_loss"][1] == (0.5014, None)
    assert rows["best_step"][1] == (110, None), "a smoothed loss falls for a while after the loss has"
    assert rows["steps_per_second"][1] == (2.0, None)
    assert [*found.parts()][:3] == ["settings", "versions", "images"]
    json.dumps(found.as_dict())
    table = list(csv.DictReader(io.StringIO(found.as_csv())))
    assert [row["network.rank"] for row in table] == ["8", "16"]
    with pytest.raises(RunError, match="two or more"):
        compare([Run.attach(one)])


def test_text_in_a_table_is_never_a_formula():
    runs = [write_run(f"2026010{number}-100000-a", output__name=name) for number, name in ((1, "=1+1"), (2, "b"))]
    found = compare([Run.attach(path) for path in runs])
    assert ",'=1+1," in found.as_csv()


def test_a_comparison_of_damaged_runs_says_what_can_be_read():
    one, two = write_run("20260101-100000-a"), write_run("20260102-100000-b")
    (two / "plan.toml").write_text("[")
    (two / "events.jsonl").write_bytes(b'\xff{"step"\n{"kind": "step", "step": "x"}\n')
    (two / "dataset").write_text("not a folder")
    assert compare([Run.attach(one), Run.attach(two)]).runs == ("20260101-100000-a", "20260102-100000-b")

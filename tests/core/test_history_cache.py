"""What is remembered of ended runs, the caveats and curves of a comparison, versions, and the plan as a file."""

import json
import os

import pytest

from tests.support.written_runs import write_events, write_images, write_run
from trainer_core import events, places
from trainer_core.cli import main
from trainer_core.errors import RunError
from trainer_core.jobs.state import JobState
from trainer_core.training import labels, past_cache, versions
from trainer_core.training.comparison import compare
from trainer_core.training.folder import RunFolder
from trainer_core.training.history import Filter, history, unknown
from trainer_core.training.losses import curve
from trainer_core.training.run import Run
from trainer_core.training.saved_plan import save_plan


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def new_process():
    """Forgets what this process has read, as a new one would."""
    past_cache._caches.clear()


def test_a_remembered_run_is_the_same_as_one_that_is_read():
    write_run(
        "20260101-100000-a",
        network__rank=8,
        result={"summary": {"smoothed_loss": 0.1}, "outputs": ["/x/a.safetensors"]},
    )
    write_run("20250101-100000-old", is_old=True)
    read = history()
    assert history() == read
    new_process()
    assert history() == read
    assert past_cache.of_home().get("20260101-100000-a", past_cache.state_of(places.runs() / "20260101-100000-a"))


def test_a_run_is_read_again_when_one_of_its_files_has_changed():
    path = write_run("20260101-100000-a")
    history()
    labels.write(RunFolder(path), labels.Labels("mine"))
    assert history()[0].labels.name == "mine"
    result = json.loads((path / "result.json").read_text())
    before = (path / "result.json").stat()
    (path / "result.json").write_text(json.dumps({**result, "steps": 101}))
    os.utime(path / "result.json", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert history()[0].steps == 101
    new_process()
    assert history()[0].steps == 101


def test_a_run_that_has_not_ended_is_not_remembered():
    path = write_run("20260101-100000-a", state="")
    assert history()[0].state is JobState.PREPARED
    (path / "result.json").write_text(json.dumps({"state": "FAILED", "outputs": []}))
    assert history()[0].state is JobState.FAILED


@pytest.mark.parametrize(
    "content", ["", "[]", "nonsense", '{"version": 1}', '{"version": 1, "easel": "x", "runs": {"a": 1}}']
)
def test_a_damaged_file_is_not_used(home, content):
    write_run("20260101-100000-a")
    (home / "history.json").write_text(content)
    assert [run.run for run in history()] == ["20260101-100000-a"]


def test_a_remembered_row_of_another_form_is_read_again(home):
    write_run("20260101-100000-a")
    history()
    data = json.loads((home / "history.json").read_text())
    data["runs"]["20260101-100000-a"][1] = {"run": "other", "nonsense": 1}
    (home / "history.json").write_text(json.dumps(data))
    new_process()
    assert [run.run for run in history()] == ["20260101-100000-a"]


def test_deleted_runs_are_forgotten_and_a_folder_that_cannot_be_written_is_no_error(home):
    path = write_run("20260101-100000-a")
    write_run("20260102-100000-b")
    history()
    path.rename(home / "elsewhere")
    history()
    assert list(json.loads((home / "history.json").read_text())["runs"]) == ["20260102-100000-b"]
    (home / "history.json").unlink()
    (home / "history.json").mkdir()
    write_run("20260103-100000-c")
    new_process()
    assert len(history()) == 2


def test_the_text_filter_finds_settings():
    write_run("20260101-100000-a", network__rank=8)
    write_run("20260102-100000-b", network__rank=32)
    assert [run.run for run in history(wanted=Filter(text="rank=32"))] == ["20260102-100000-b"]


def test_an_old_run_says_what_it_did_not_record():
    write_run("20250101-100000-old", is_old=True)
    write_run("20260101-100000-a", versions={"engine_version": "1", "profile": "x"})
    new, old = history()
    assert unknown(new) == ()
    assert {"the number of its images", "its GPU"} <= set(unknown(old))


def test_a_comparison_says_what_its_figures_cannot_say():
    one = write_run("20260101-100000-a", schedule__batch_size=1)
    two = write_run("20260102-100000-b", schedule__batch_size=2, schedule__seed=7, state="CANCELLED")
    write_images(one, a="x")
    write_images(two, a="y")
    said = " ".join(compare([Run.attach(one), Run.attach(two)]).caveats)
    for words in (
        "differ in batch size",
        "different images or captions",
        "seeds differ",
        "Not finished: 20260102",
        "No loss",
    ):
        assert words in said
    alike = [write_run(f"2026020{number}-100000-c") for number in (1, 2)]
    for path in alike:
        write_events(path, events.Step(1, 0.1, 1e-4))
    assert len(compare([Run.attach(path) for path in alike]).caveats) == 1


def test_a_curve_has_the_last_step_and_no_more_points_than_asked():
    path = write_run("20260101-100000-a")
    write_events(path, *(events.Step(step, 0.2, 1e-4) for step in range(1, 5001)))
    found = curve(Run.attach(path), most=100)
    assert found[-1] == (5000, 0.2)
    assert len(found) <= 101
    assert curve(Run.attach(write_run("20260102-100000-b"))) == []


def test_versions_are_numbered_by_subject_the_oldest_first():
    for day, trigger in ((1, "Mika"), (2, "other"), (3, "mika")):
        write_run(f"2026010{day}-100000-r{day}", dataset__trigger=trigger)
    found = versions.numbered(history())
    assert {name[-2:]: number for name, (_, number) in found.items()} == {"r1": 1, "r2": 1, "r3": 2}
    assert found["20260103-100000-r3"][0] == "Mika"


def test_the_plan_of_a_run_is_saved_and_an_unwritable_folder_is_refused(tmp_path, capsys):
    path = write_run("20260101-100000-a")
    with pytest.raises(SystemExit) as ended:
        main(["runs", "plan", "a", "--to", str(tmp_path / "plans"), "--json"])
    assert not ended.value.code
    saved = json.loads(capsys.readouterr().out)["plan"]
    assert (tmp_path / "plans" / "mika.plan.toml").read_bytes() == (path / "plan.toml").read_bytes()
    assert saved == str(tmp_path / "plans" / "mika.plan.toml")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be saved"):
        save_plan(Run.attach(path), tmp_path / "file")

"""When a run did what: stages with durations, the time left, what usually takes how long, and what can be done with a run."""

import random
from itertools import pairwise

import pytest

from tests.support import written_runs
from trainer_core import events
from trainer_core.events import Epoch, Gauges, Notice, Phase, Progress, StateChange, Step, Validation
from trainer_core.jobs import tail
from trainer_core.jobs.summary import Summary
from trainer_core.jobs.time_left import TimeLeft, spoken
from trainer_core.jobs.timeline import MOST_TOLD, Timeline


def timeline(*rows):
    """The timeline of (seconds, event)."""
    made = Timeline()
    for at, event in rows:
        made.take(event, at)
    return made


def durations(made):
    return {stage.name: stage.seconds for stage in made.stages}


START = (
    (100, StateChange("RUNNING")),
    (141, Phase("reading dataset")),
    (150, Phase("loading model")),
    (188, Phase("caching latents", "3 of 6")),
    (207, Phase("training")),
    (210, Step(1, 0.1)),
)


def test_stages_have_the_durations_that_the_events_tell_also_when_an_engine_comes_back_to_one():
    made = timeline(*START)
    assert durations(made) == {"Engine": 41, "Model": 38, "Images": 9 + 19, "Training": 0}
    assert made.stages[-1].elapsed_s(300) == 93
    made.take(StateChange("COMPLETED"), 310)
    assert durations(made)["Training"] == 103
    assert all(stage.since_s is None for stage in made.stages)


def test_a_stage_does_not_count_the_time_in_which_nobody_ran_the_job_or_the_machine_slept():
    adopted = timeline(*START, (220, Step(2, 0.1)), (900, StateChange("RUNNING")), (910, StateChange("COMPLETED")))
    assert durations(adopted)["Training"] == 13 + 10
    slept = timeline(*START, (1000, Gauges(suspended_s=700.0)), (1007, StateChange("COMPLETED")))
    assert durations(slept)["Training"] == 100


def test_a_run_without_a_word_from_its_engine_is_in_its_first_stage():
    made = timeline((100, StateChange("RUNNING")))
    assert made.stages[0].elapsed_s(130) == 30


def test_the_story_has_a_sentence_for_what_matters_and_stays_short():
    made = timeline(*START, (220, Notice("warning", "careful")), (221, Epoch(2, 5)), (222, Validation(7, 0.125)))
    texts = [told.text for told in made.told]
    assert texts[:3] == ["The job runs.", "Reading the images.", "Loading the model."]
    assert texts[-3:] == ["careful", "Epoch 2 of 5.", "Validation loss 0.1250 at step 7."]
    assert [told.severity for told in made.told][-3] == "warning"
    for number in range(3 * MOST_TOLD):
        made.take(Epoch(number, 9999), 300)
    assert len(made.told) <= MOST_TOLD
    assert made.dropped + len(made.told) == len(texts) + 3 * MOST_TOLD


def jittery(seed, steps=600, sample_every=100):
    """(time, seconds left by the mean pace so far, seconds per step) of steps that jitter, with a long pause for samples."""
    chance = random.Random(seed)
    now, rows = 0.0, []
    for step in range(1, steps + 1):
        now += chance.choice((0.4, 0.6, 1.0, 1.6)) + (40.0 if step % sample_every == 0 else 0.0)
        pace = now / step
        rows.append((now, (steps - step) * pace, pace))
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_the_time_left_does_not_jump_with_jittery_steps_and_ends_right(seed):
    left, shown, last = TimeLeft(), [], None
    rows = jittery(seed)
    end = rows[-1][0]
    moves_raw, moves = [], []
    for number, (at, raw, pace) in enumerate(rows):
        until = rows[number + 1][0] if number + 1 < len(rows) else at
        now = at
        while now <= until:
            left.take(now, raw, pace, at)
            assert left.seconds is not None
            if last is not None and number > 60:
                moves.append(abs((left.seconds - last[1]) + (now - last[0])))
            last = (now, left.seconds)
            shown.append((now, left.text))
            now += 2.0
        if number > 60:
            moves_raw.append(abs(raw - rows[number - 1][1] + (at - rows[number - 1][0])))
    # What it is beyond the passing of time: much less than the estimate itself jumps.
    assert max(moves) < max(moves_raw) / 2
    assert left.seconds is not None
    assert left.seconds < 5
    third = next(seconds for seconds in shown if seconds[0] > end / 3)
    assert abs(third[0] + _seconds(third[1]) - end) / end < 0.25
    texts = [text for _, text in shown]
    changes = [after for before, after in pairwise(texts) if before != after]
    returns = sum(1 for one, other in pairwise(changes[::2]) if one == other)
    assert returns <= 2, "the words do not change to and fro"


def _seconds(text):
    return int(text.split()[0]) * (60 if text.endswith("min") else 1)


def test_the_time_left_is_right_at_once_after_a_restart_and_unknown_without_an_estimate():
    left = TimeLeft()
    left.take(1000.0, None)
    assert (left.text, left.seconds, left.ends_s) == ("", None, None)
    left.take(1000.0, 1140.0, 1.5, 999.5)
    assert left.text == "19 min"
    assert left.ends_s is not None
    assert abs(left.ends_s - 2140) <= 30
    left.take(1002.0, None)
    assert left.text == ""


def test_lengths_of_time_are_as_precise_as_an_estimate_is():
    assert [spoken(each) for each in (3, 42, 61, 1140, 3700, 5400)] == [
        "5 s",
        "40 s",
        "1 min",
        "19 min",
        "1 h",
        "1 h 30 min",
    ]


def test_the_summary_has_validation_epochs_and_series():
    seen = Summary(length=10)
    told = [Epoch(2, 5), Validation(4, 0.25), Gauges(memory_bytes=5, disk_free_bytes=9), Gauges(memory_bytes=3)]
    seen.take([*told, *(Progress(n, 1000, 0.5) for n in range(1000))], [1.0] * 1004)
    assert seen.epochs == (2, 5)
    assert [(one.step, one.loss) for one in seen.validations] == [(4, 0.25)]
    assert seen.gauge_history.peaks.memory_bytes == 5
    assert seen.gauge_history.machine("memory_bytes") == [5.0, 3.0]
    assert 100 < len(seen.paces.kept) <= 240
    assert seen.figures()["validation_loss"] == 0.25


def test_a_validation_survives_the_events_file_and_a_damaged_one_is_left_out():
    event = Validation(480, 0.1005)
    assert events.from_dict(events.to_dict(event)) == event
    assert events.from_dict({"kind": "validation", "step": 1, "loss": "low"}) is None
    assert events.from_dict({"kind": "validation", "step": 1}) is None


def test_a_search_finds_every_line_of_a_long_log_and_keeps_the_last(tmp_path):
    path = tmp_path / "engine.log"
    path.write_text(
        "".join(f"line {n}{' Needle' if n % 1000 == 0 else ''}\n" for n in range(1, 30_001)) + "\rbar 1\rbar 2 needle"
    )
    hits, total, more = tail.search(path, "needle", most=5)
    assert [number for number, _ in hits] == [27_000, 28_000, 29_000, 30_000, 30_001]
    assert hits[0][1] == "line 27000 Needle"
    assert (total, more) == (30_001, True)
    assert tail.search(tmp_path / "none.log", "x") == ([], 0, False)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return tmp_path / "easel"


def past(name, seconds, images=24, model="a.safetensors"):
    """An earlier run whose engine took so many seconds to start."""
    about = {"about": {"family": "sd15", "model": model}, "images": images}
    path = written_runs.write_run(f"20261101-1200{name}-mika", versions=about)
    told = (StateChange("RUNNING"), Phase("reading dataset"), Phase("loading model"), Phase("training"), Step(1, 0.1))
    written_runs.write_events(path, *told, every_s=seconds)
    return path


def test_usual_times_are_those_of_earlier_runs_that_are_alike(home):
    from trainer_core.estimate.usual import usual_stages
    from trainer_core.training.run import Run

    for name, seconds in (("01", 10.0), ("02", 30.0), ("03", 20.0)):
        past(name, seconds)
    past("04", 500.0, model="other.safetensors")
    past("05", 20.0, images=5)
    mine = Run.attach(past("06", 1.0))
    assert usual_stages(mine) == {"Engine": 20.0, "Images": 20.0, "Model": 20.0}
    (mine.folder.path / "versions.json").write_text("{}")
    assert usual_stages(mine) == {}

"""The summary has every step once; a log is read as lines for a parser and as rows of a terminal."""

import math
import random
from itertools import pairwise

import pytest

from trainer_core import events
from trainer_core.jobs.summary import Summary
from trainer_core.jobs.tail import VIEW_BYTES, VIEW_ROWS, LogTail, LogView


def test_the_summary_contains_the_values_of_all_events():
    seen = Summary(length=10)
    seen.take(
        (
            events.Phase("caching latents", "3 of 6"),
            events.Progress(0, 10, None, None),
            events.Step(1, 0.5, 1e-4),
            events.Progress(2, 10, 0.25, 0.4),
            events.Step(2, math.nan, None),
            events.Sample("output/sample.png", 2),
            events.Checkpoint("output/a.safetensors", 2),
            events.Notice("warning", "careful"),
            events.Epoch(1, 2),
        )
    )
    assert (seen.step, seen.total, seen.seconds_per_step, seen.eta_s) == (2, 10, 0.25, 2.0)
    assert list(seen.points[:2]) == [1, 0.5]
    assert all(math.isnan(seen.points[place]) for place in (4, 5))
    assert seen.stage == "caching latents: 3 of 6 · epoch 1 of 2"
    assert len(seen.samples) == len(seen.notices) == 1
    figures = seen.figures()
    assert (figures["newest_sample"], figures["checkpoints"]) == ("output/sample.png", ["output/a.safetensors"])
    assert math.isnan(figures["loss"])
    assert figures["learning_rate"] == 1e-4


def test_a_step_that_is_reported_again_is_in_the_summary_once():
    seen = Summary()
    seen.take(events.Step(step, 0.1, None) for step in (1, 2, 3, 2, 3, 4))
    assert list(seen.points[::3]) == [1, 2, 3, 4]


def test_progress_starts_again_with_each_command():
    seen = Summary(length=1000)
    seen.take((events.Phase("cache latents", part=1, parts=2), events.Phase("caching"), events.Progress(6, 6, 0.5)))
    assert (seen.stage, seen.step, seen.total) == ("cache latents, 1 of 2 · caching", 6, 6)
    seen.take([events.Phase("train", part=2, parts=2)])
    assert (seen.stage, seen.step, seen.total, seen.eta_s) == ("train, 2 of 2", 0, 1000, None)
    seen.take([events.Progress(1, 1000, 2.0)])
    assert (seen.step, seen.total) == (1, 1000)


@pytest.mark.parametrize("seed", range(5))
def test_a_log_read_in_pieces_of_any_size_gives_the_same_rows(tmp_path, seed):
    chance = random.Random(seed)
    text = (
        "".join(f"\rstep {n}\rstep {n}b\n" if n % 3 else f"line {n} \u00e9\U0001f600\r\n" for n in range(200)).encode()
        + b"the last"
    )
    tail, found, written = LogView(tmp_path / "log"), [], b""
    while written != text:
        written = text[: len(written) + chance.randrange(1, 200)]
        (tmp_path / "log").write_bytes(written)
        found += tail.read()
    assert found == [f"step {n}b" if n % 3 else f"line {n} \u00e9\U0001f600" for n in range(200)]
    assert tail.open == "the last"


def test_a_redrawn_progress_bar_is_one_row(tmp_path):
    (tmp_path / "log").write_bytes(b"start\n\rsteps 1/3\rsteps 2/3")
    tail = LogView(tmp_path / "log")
    assert (tail.read(), tail.open) == (["start"], "steps 2/3")
    with (tmp_path / "log").open("ab") as log:
        log.write(b"\rsteps 3/3\n\x1b[31mdone\x1b[0m\x07\n")
    assert tail.read() == ["steps 3/3", "done\\u0007"]


def test_the_padding_and_links_of_a_wide_terminal_are_removed(tmp_path):
    link = "\x1b]8;id=1;file:///engine/train.py\x1b\\\x1b[2mtrain.py\x1b[0m\x1b]8;;\x1b\\\x1b[2m:\x1b[0m288"
    bar = f"steps: 50%|#####{' ' * 40}| 6/12"
    (tmp_path / "log").write_text(f"INFO     model saved.{' ' * 200}{link}   \n{' ' * 20}INFO     next\n{bar}\n")
    assert LogView(tmp_path / "log").read() == [
        "INFO     model saved.  train.py:288",
        f"{' ' * 20}INFO     next",
        bar,
    ]


def test_a_missing_log_is_empty_and_only_the_end_of_a_huge_log_is_read(tmp_path):
    tail = LogView(tmp_path / "log")
    assert tail.read() == []
    (tmp_path / "log").write_bytes(b"x" * 50 + b"\n" + b"a line of text\n" * (VIEW_BYTES // 5))
    assert len(tail.read()) == VIEW_ROWS
    assert len(tail.rows) == VIEW_ROWS


def test_a_line_end_that_is_split_between_two_reads_ends_one_line(tmp_path):
    (path := tmp_path / "log").write_bytes(b"one\r")
    tail, view = LogTail(path), LogView(path)
    assert (tail.lines(), view.read(), view.open) == (["one"], [], "one")
    with path.open("ab") as log:
        log.write(b"\n\ntwo")
    assert (tail.lines(), tail.pending) == ([], "two")
    assert (view.read(), view.open) == (["one", ""], "two")


def test_the_time_left_counts_samples_and_does_not_jump():
    """A step takes 1 s, and after each tenth step a sample takes 10 s: the real pace is 2 s."""
    seen, now, left = Summary(length=1000), 100.0, []
    for step in range(1, 501):
        now += 1 + (30 if step == 1 else 0) + (10 if step % 10 == 1 and step > 1 else 0)
        seen.take([events.Progress(step, 1000, 1.0), events.Step(step, 0.1)], [now, now])
        left.append(seen.eta_s)
    assert left[2] == 997, "before there are enough steps, the engine's own speed is used"
    assert left[-1] == pytest.approx(1000, rel=0.02)
    late = left[99:]
    assert max(abs(after - before) for before, after in pairwise(late)) < 0.12 * late[0]


def test_the_time_left_counts_the_samples_that_are_still_to_come():
    """A step takes 1 s; samples take 60 s, after each tenth step and the last one."""
    seen, now, left = Summary(length=40), 100.0, {}
    for step in range(1, 41):
        now += 1
        seen.take([events.Step(step, 0.1)], [now])
        if step % 10 == 0:
            seen.take([events.Phase("sampling")], [now])
            left[step] = (seen.eta_s, seen.pace_s)
            now += 60
            seen.take([events.Phase("training")], [now])
        elif step == 39:
            left[step] = (seen.eta_s, seen.pace_s)
    assert left[10] == (pytest.approx(30), pytest.approx(1)), "nothing is known of the samples yet"
    assert left[20] == (pytest.approx(20 + 3 * 60), pytest.approx(61))
    assert left[39] == (pytest.approx(1 + 60), pytest.approx(1))
    assert left[40] == (pytest.approx(60), pytest.approx(61))


def test_an_event_without_a_time_changes_no_time_left():
    seen = Summary(length=10)
    seen.take([events.Step(step, 0.1) for step in range(1, 9)])
    assert seen.eta_s is None


def paced(seen, steps, now, seconds=1.0):
    """Adds steps that take so many seconds each; returns the time after them."""
    for step in steps:
        now += seconds
        seen.take([events.Step(step, 0.1)], [now])
    return now


def test_the_time_left_does_not_count_a_suspended_machine():
    seen = Summary(length=1000)
    now = paced(seen, range(1, 101), 100.0)
    assert seen.eta_s == pytest.approx(900)
    now += 8 * 3600
    seen.take([events.Gauges(suspended_s=8 * 3600.0)], [now])
    now = paced(seen, range(101, 103), now)
    assert seen.eta_s == pytest.approx(898, rel=0.01)


def test_the_time_left_of_a_job_that_goes_on_later_is_that_of_its_pace_now():
    seen = Summary(length=1000)
    seen.take([events.StateChange("RUNNING")], [100.0])
    now = paced(seen, range(1, 101), 100.0) + 86400
    seen.take([events.StateChange("RUNNING")], [now])
    paced(seen, range(101, 111), now, 2.0)
    assert seen.eta_s == pytest.approx(890 * 2.0)


def test_the_time_left_of_a_resumed_run_whose_steps_begin_later_is_right():
    seen = Summary(length=1000)
    paced(seen, range(501, 521), 100.0, 3.0)
    assert seen.eta_s == pytest.approx(480 * 3.0)


def test_a_clock_that_is_set_back_gives_no_negative_time():
    seen = Summary(length=1000)
    now = paced(seen, range(1, 50), 1e6)
    paced(seen, range(50, 60), now - 7200)
    assert seen.eta_s is None or seen.eta_s >= 0


def test_the_newest_figures_of_the_machine_are_in_the_summary():
    seen = Summary()
    assert seen.figures()["gauges"] is None
    seen.take([events.Gauges(memory_bytes=1), events.Gauges(memory_bytes=2)])
    assert seen.gauges == events.Gauges(memory_bytes=2)
    assert seen.figures()["gauges"] == {"kind": "gauges", "gpus": [], "memory_bytes": 2}

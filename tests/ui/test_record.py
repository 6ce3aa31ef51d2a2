"""What a view is told of a run: every step once, the log as a terminal would show it."""

import math
import random

import pytest

from trainer_core import events
from trainer_ui.feed import LOG_LINES, LOG_TAIL_BYTES, LogTail
from trainer_ui.record import Record


def test_events_add_up():
    record = Record()
    for event in (
        events.Phase("caching latents", "3 of 6"),
        events.Progress(0, 10, None, None),
        events.Step(1, 0.5, 1e-4),
        events.Progress(2, 10, 0.25, 0.4),
        events.Step(2, math.nan, None),
        events.Sample("output/sample.png", 2),
        events.Notice("warning", "careful"),
        events.Epoch(1, 2),
    ):
        record.take(event)
    assert (record.step, record.total, record.seconds_per_step) == (2, 10, 0.25)
    assert list(record.points[:2]) == [1, 0.5]
    assert all(math.isnan(record.points[place]) for place in (4, 5))
    assert (record.phase, record.epoch) == ("caching latents: 3 of 6", "epoch 1 of 2")
    assert len(record.samples) == len(record.notices) == 1


def test_a_step_that_is_told_again_is_in_it_once():
    record = Record()
    for step in (1, 2, 3, 2, 3, 4):
        record.take(events.Step(step, 0.1, None))
    assert list(record.points[::3]) == [1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(5))
def test_a_log_read_in_any_pieces_is_the_same_log(tmp_path, seed):
    chance = random.Random(seed)
    text = (
        "".join(f"\rstep {n}\rstep {n}b\n" if n % 3 else f"line {n} \u00e9\U0001f600\r\n" for n in range(200)).encode()
        + b"the last"
    )
    tail, found, written = LogTail(tmp_path / "log"), [], b""
    while written != text:
        written = text[: len(written) + chance.randrange(1, 200)]
        (tmp_path / "log").write_bytes(written)
        found += tail.read()
    assert found == [f"step {n}b" if n % 3 else f"line {n} \u00e9\U0001f600" for n in range(200)]
    assert tail.open == "the last"


def test_a_bar_that_draws_itself_again_is_one_line(tmp_path):
    (tmp_path / "log").write_bytes(b"start\n\rsteps 1/3\rsteps 2/3")
    tail = LogTail(tmp_path / "log")
    assert (tail.read(), tail.open) == (["start"], "steps 2/3")
    with (tmp_path / "log").open("ab") as log:
        log.write(b"\rsteps 3/3\n\x1b[31mdone\x1b[0m\x07\n")
    assert tail.read() == ["steps 3/3", "done\\u0007"]


def test_a_log_that_was_written_for_a_wide_terminal_reads_as_plain_lines(tmp_path):
    link = "\x1b]8;id=1;file:///engine/train.py\x1b\\\x1b[2mtrain.py\x1b[0m\x1b]8;;\x1b\\\x1b[2m:\x1b[0m288"
    bar = f"steps: 50%|#####{' ' * 40}| 6/12"
    (tmp_path / "log").write_text(f"INFO     model saved.{' ' * 200}{link}   \n{' ' * 20}INFO     next\n{bar}\n")
    assert LogTail(tmp_path / "log").read() == [
        "INFO     model saved.  train.py:288",
        f"{' ' * 20}INFO     next",
        bar,
    ]


def test_a_missing_log_is_empty_and_a_huge_one_only_read_at_its_end(tmp_path):
    tail = LogTail(tmp_path / "log")
    assert tail.read() == []
    (tmp_path / "log").write_bytes(b"x" * 50 + b"\n" + b"a line of text\n" * (LOG_TAIL_BYTES // 5))
    assert len(tail.read()) == LOG_LINES
    assert len(tail.lines) == LOG_LINES

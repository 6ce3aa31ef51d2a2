"""The parts of supervision: lines, steps, the engine's own record, files, delivery, the folder."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import resource
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event as Entry  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from trainer_core import events, registry
from trainer_core.backend import Backend, JobSpec, Metrics
from trainer_core.errors import RunError
from trainer_core.events import Checkpoint, Event, Notice, Phase, Progress, Step
from trainer_core.plan.sections import TrainingPlan
from trainer_core.runs import runner
from trainer_core.runs.directory import RunDirectory
from trainer_core.runs.journal import Journal
from trainer_core.runs.place import place_for
from trainer_core.runs.steps import NAN_STEPS, StepLedger
from trainer_core.runs.tail import LogTail, last_lines
from trainer_core.runs.watch import SILENCE_S, EngineWatch

LOSS, RATE, REAL_RATE = "loss/current", "lr/unet", "lr/d*lr/unet"


class Stage:
    """A run folder that a test fills by hand where an engine would, and a clock that the test turns."""

    def __init__(self, folder: Path, backend: Backend, metrics: Metrics | None = None) -> None:
        self.directory = RunDirectory.create(folder, "stage")
        self.directory.output.mkdir()
        self.directory.log.touch()
        plan = TrainingPlan.model_validate({"model": {"family": "sd15"}, "output": {"name": "toy"}})
        spec = backend.render(plan, place_for(backend, self.directory.path))
        self.spec: JobSpec = dataclasses.replace(spec, metrics=metrics or spec.metrics)
        self.now = 1000.0
        journal = Journal(self.directory.events)
        self.watch = EngineWatch(self.directory, self.spec, backend, journal, lambda: self.now)

    def says(self, text: str, seconds: float = 0.25) -> None:
        with self.directory.log.open("a", encoding="utf-8", newline="") as log:
            log.write(text)
        self.passes(seconds)

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.watch.look()

    def told(self, kind: type[Event]) -> list[Any]:
        lines = events.read_lines(self.directory.events.read_bytes())
        return [event for line in lines if isinstance(event := events.from_dict(line), kind)]

    def steps(self) -> list[tuple[int, float | None]]:
        return [(event.step, event.loss) for event in self.told(Step)]


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Stage]:
    return lambda name="rehearsal", **more: Stage(tmp_path / "runs", registry.get(name), **more)


def bar(step: int, loss: float | None = None, total: int = 10) -> str:
    values = "" if loss is None else f", lr=0.001, step_loss={loss}"
    return f"\rsteps:  40%|████      | {step}/{total} [00:20<00:19,  3.17it/s{values}]"


# Lines


def test_lines_end_at_a_carriage_return_as_well(tmp_path):
    (path := tmp_path / "log").write_bytes(b"one\rtwo\r\n\nthr")
    tail = LogTail(path)
    assert tail.lines() == ["one", "two"]
    assert tail.pending == "thr"
    with path.open("ab") as file:
        file.write("ee\n学習".encode()[:-1])
    assert tail.lines() == ["three"]
    with path.open("ab") as file:
        file.write("習".encode()[-1:] + b"\n")
    assert tail.lines() == ["学習"]
    assert tail.lines() == []
    assert last_lines(path) == ["one", "two", "three", "学習"]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path):
    (path := tmp_path / "log").write_bytes(b"x" * (1 << 20))
    tail = LogTail(path)
    tail.lines()
    assert len(tail.pending) < 1 << 17


# Steps


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(), st.booleans()), max_size=60))
def test_every_step_is_given_out_once_and_in_order(notes):
    ledger, given_out = StepLedger(), []
    for step, loss, silent in notes:
        ledger.note(step, loss)
        given_out += ledger.take(silent=silent)
    given_out += ledger.finish()
    last = max((step for step, *_ in notes), default=0)
    assert [step.step for step in given_out] == list(range(1, last + 1))


def test_the_last_word_on_a_step_counts(stage):
    """As SimpleTuner draws its bar: the step is counted up before its loss is known."""
    here = stage()
    for step in range(1, 5):
        here.says(bar(step, (step - 1) / 10))
        here.says(bar(step, step / 10))
    assert here.steps() == [(1, 0.1), (2, 0.2), (3, 0.3)]
    here.passes(0.75)
    here.passes(1.5)
    assert here.steps()[-1] == (4, 0.4)
    here.says(bar(6, 0.6))
    here.watch.finish()
    assert here.steps()[-2:] == [(5, None), (6, 0.6)]


def test_nan_is_counted_in_a_row():
    ledger = StepLedger()
    for step, loss in enumerate([math.nan] * 3 + [0.1] + [math.inf, math.nan] * 3, 1):
        ledger.note(step, loss)
    list(ledger.take())
    assert ledger.nan_in_a_row == NAN_STEPS
    list(ledger.finish())
    assert ledger.nan_in_a_row == 6


def test_a_bar_that_waits_is_read_and_half_a_sentence_is_not(stage):
    here = stage()
    here.says(bar(3, 0.5) + "\n                    WARNING  the disk is al")
    here.passes(5)
    assert [event.text for event in here.told(Notice)] == []
    here.says("most full\n" + bar(4, 0.25))
    assert [event.text for event in here.told(Notice)] == ["the disk is almost full"]
    here.passes(0.75)
    here.passes(1.5)
    assert here.steps()[-1] == (4, 0.25)


def test_progress_is_told_no_more_often_than_the_log_is_looked_at(stage):
    here = stage()
    here.says("".join(bar(step, 0.1, total=100) for step in range(1, 50)))
    here.passes(0.6)
    assert [event.step for event in here.told(Progress)] == [48, 49]
    assert [event.name for event in here.told(Phase)] == ["training"]
    assert here.told(Progress)[-1].total == 1000


def test_after_saving_it_trains_again(stage):
    here = stage()
    here.says(bar(1, 0.1) + "\nsaving checkpoint: x\n")
    here.says(bar(2, 0.1) + "\n")
    assert [event.name for event in here.told(Phase)] == ["training", "saving", "training"]


def test_silence_is_told_once_and_ends_nothing(stage):
    here = stage()
    here.says("importing\n")
    for _ in range(3):
        here.passes(SILENCE_S)
    notices = here.told(Notice)
    assert len(notices) == 1
    assert "nothing for 10 minutes" in notices[0].text


# The engine's own record


class Recorder:
    """Writes event files as an engine does, with the library's own writer."""

    def __init__(self, folder: Path) -> None:
        self._writer = EventFileWriter(str(folder))

    def step(self, number: int, **values: float) -> None:
        tags = {"loss": LOSS, "rate": RATE, "real_rate": REAL_RATE, "average": "loss/average"}
        for name, value in values.items():
            summary = Summary(value=[Summary.Value(tag=tags[name], simple_value=value)])
            self._writer.add_event(Entry(step=number, wall_time=1.0, summary=summary))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
def recorded(stage, tmp_path):
    folder = tmp_path / "metrics"
    here = stage("kohya", metrics=Metrics("tensorboard", folder, LOSS, (REAL_RATE, RATE)))
    return here, folder / "20261120" / "network_train"


def kohya_bar(step: int, loss: float = 0.1) -> str:
    return f"\rsteps:  40%|████      | {step}/10 [00:52<01:18, 13.10s/it, avr_loss={loss}]"


def test_steps_carry_the_raw_loss_of_the_record_not_the_average_of_the_bar(recorded):
    here, folder = recorded
    here.says(kohya_bar(1))
    assert here.steps() == []
    recorder = Recorder(folder)
    for step in range(1, 5):
        recorder.step(step, loss=step / 8, average=9.0, rate=1.0, real_rate=step / 1024)
        here.says(kohya_bar(step))
        here.passes(1.0)
    assert here.steps() == [(1, 1 / 8), (2, 2 / 8), (3, 3 / 8)]
    assert [event.learning_rate for event in here.told(Step)] == pytest.approx([1 / 1024, 2 / 1024, 3 / 1024])
    assert {event.average_loss for event in here.told(Progress)} == {0.1}
    recorder.close()


def test_the_loss_of_a_step_is_that_of_all_its_batches(recorded):
    """With gradient accumulation sd-scripts records the first batches of a step under the number of the step before."""
    here, folder = recorded
    recorder = Recorder(folder)
    for step, loss in ((0, 0.25), (1, 0.75), (1, 0.125), (2, 0.375), (2, 0.5)):
        recorder.step(step, loss=loss)
        here.says(kohya_bar(step))
        here.passes(1.1)
    recorder.close()
    here.watch.finish()
    assert here.steps() == [(1, 0.5), (2, 0.25)]


def test_what_is_flushed_only_at_the_end_is_not_lost(recorded):
    here, folder = recorded
    recorder = Recorder(folder)
    recorder.step(1, loss=0.5, rate=0.25)
    for step in range(1, 8):
        here.says(kohya_bar(step))
    for step in (2, 3, 5):
        recorder.step(step, loss=step / 8)
    recorder.close()
    here.watch.finish()
    assert here.steps() == [(1, 0.5), (2, 0.25), (3, 0.375), (4, None), (5, 0.625), (6, None), (7, None)]


def test_a_record_that_is_half_written_is_read_when_it_is_whole(recorded, tmp_path):
    here, folder = recorded
    recorder = Recorder(tmp_path / "elsewhere")
    recorder.step(1, loss=0.5)
    recorder.step(2, loss=math.nan)
    recorder.close()
    data = next((tmp_path / "elsewhere").iterdir()).read_bytes()
    folder.mkdir(parents=True)
    file = folder / "events.out.tfevents.1.host"
    file.write_bytes(data[:-9])
    here.passes(1.1)
    here.passes(1.1)
    assert here.steps() == [(1, 0.5)]
    file.write_bytes(data)
    here.watch.finish()
    assert here.steps()[0] == (1, 0.5)
    assert math.isnan(here.steps()[1][1])
    assert len(here.steps()) == 2


# Files


def test_a_file_is_told_once_and_only_when_it_is_whole(stage):
    here = stage()
    file = here.directory.output / "toy-step00000004.safetensors"
    file.write_bytes(b"half")
    here.passes(1.1)
    file.write_bytes(b"half and more")
    here.passes(1.1)
    assert here.told(Checkpoint) == []
    here.passes(1.1)
    here.passes(1.1)
    assert here.told(Checkpoint) == [Checkpoint("output/toy-step00000004.safetensors", 4)]
    (here.directory.output / "toy-step00000008.safetensors").write_bytes(b"last")
    here.watch.finish()
    assert [event.step for event in here.told(Checkpoint)] == [4, 8]


# The folder


def test_a_backend_cannot_write_outside_the_run_folder_nor_a_token(stage):
    here = stage()
    for files, environment, sentence in (
        ({PurePosixPath("../stray.toml"): ""}, {}, "not inside"),
        ({PurePosixPath("/etc/stray"): ""}, {}, "not inside"),
        ({}, {"HF_TOKEN": "hf"}, "HF_TOKEN"),
        ({}, {"WANDB_API_KEY": "x"}, "WANDB_API_KEY"),
    ):
        spec = dataclasses.replace(here.spec, files=files, environment=environment)
        with pytest.raises(RunError, match=sentence):
            here.directory.write_job({}, spec, {}, {})
    assert not (here.directory.path / "spec.json").exists()


@pytest.mark.parametrize("name", ["kohya", "rehearsal"])
def test_a_job_can_be_read_as_it_was_written(stage, name):
    here = stage(name)
    here.directory.write_job({}, here.spec, {}, {})
    assert here.directory.spec == dataclasses.replace(here.spec, files={})
    assert here.directory.versions["schema_version"] == 1


def test_names_of_folders_are_plain(tmp_path):
    directory = RunDirectory.create(tmp_path, "../<img src=x onerror=alert(1)> 猫")
    assert directory.path.parent == tmp_path.resolve()
    assert directory.path.name.rpartition("-")[2] == "img_src_x_onerror_alert_1"


def test_what_a_full_disk_refuses_is_written_when_there_is_room(tmp_path):
    journal, path = Journal(tmp_path / "events.jsonl"), tmp_path / "events.jsonl"
    journal.write(Step(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 9, hard))
    try:
        journal.write(Step(2))
        journal.write(Step(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.write(Step(4))
    assert [line["step"] for line in events.read_lines(path.read_bytes())] == [1, 2, 3, 4]


def test_a_full_disk_leaves_room_for_the_result(tmp_path, monkeypatch):
    directory = RunDirectory.create(tmp_path, "full")
    directory.reserve.write_bytes(b"room")

    def write(path, text):
        if directory.reserve.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_text(text)

    monkeypatch.setattr("trainer_core.runs.directory.write_text", write)
    runner._leave_result(directory, {"state": "FAILED"})
    assert directory.result == {"state": "FAILED"}


def test_a_notice_is_one_line_of_text_whatever_the_engine_said(stage):
    here = stage()
    here.says("                    WARNING  <img onerror=x>\x1b[2J\u202e evil\n" * 3)
    texts = [event.text for event in here.told(Notice)]
    assert texts == ["<img onerror=x>\\u001b[2J\\u202e evil"]
    assert json.loads(here.directory.events.read_text().splitlines()[0])["time"] > 0

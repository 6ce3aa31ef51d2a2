"""The parts of supervision: lines, steps, the engine's own metrics, saved files, the run folder."""

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

from trainer_core import events
from trainer_core.engines import registry
from trainer_core.engines.seam import Backend, JobSpec, Metrics
from trainer_core.errors import JobError
from trainer_core.events import Checkpoint, Event, Notice, Phase, Progress, Step, Validation
from trainer_core.install.place import place_for
from trainer_core.jobs import supervisor
from trainer_core.jobs.folder import SCHEMA_VERSION
from trainer_core.jobs.heard import Places
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.spec import Step as Command
from trainer_core.jobs.tail import LogTail, last_lines
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training.basis import Basis
from trainer_core.training.folder import RunFolder
from trainer_core.training.steps import NAN_STEPS, StepLedger
from trainer_core.training.watch import SILENCE_S, EngineWatch

LOSS, RATE, REAL_RATE = "loss/current", "lr/unet", "lr/d*lr/unet"
VALID = "loss/validation/epoch_average"


class Stage:
    """A run folder to which a test writes in place of an engine, with a clock that the test sets."""

    def __init__(self, folder: Path, backend: Backend, metrics: Metrics | None = None) -> None:
        self.folder = RunFolder.create(folder, "stage")
        self.folder.output.mkdir()
        self.folder.log.touch()
        plan = TrainingPlan.model_validate({"model": {"family": "sd15"}, "output": {"name": "toy"}})
        spec = backend.render(plan, place_for(backend, self.folder.path))
        self.spec: JobSpec = dataclasses.replace(spec, metrics=metrics or spec.metrics)
        self.now = 1000.0
        journal = Journal(self.folder.events)
        self.watch = EngineWatch(Basis(self.folder, self.spec, plan.model_dump(), backend), journal, lambda: self.now)
        self.watch.preloading.wait()

    def prints(self, text: str, seconds: float = 0.25) -> None:
        with self.folder.log.open("a", encoding="utf-8", newline="") as log:
            log.write(text)
        self.wait(seconds)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.watch.look()

    def written(self, kind: type[Event]) -> list[Any]:
        lines = events.read_lines(self.folder.events.read_bytes())
        return [event for line in lines if isinstance(event := events.from_dict(line), kind)]

    def steps(self) -> list[tuple[int, float | None]]:
        return [(event.step, event.loss) for event in self.written(Step)]


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Stage]:
    return lambda name="rehearsal", **more: Stage(tmp_path / "runs", registry.get(name), **more)


def bar(step: int, loss: float | None = None, total: int = 10) -> str:
    values = "" if loss is None else f", lr=0.001, step_loss={loss}"
    return f"\rsteps:  40%|████      | {step}/{total} [00:20<00:19,  3.17it/s{values}]"


# Lines


def test_a_carriage_return_ends_a_line(tmp_path):
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


def test_an_endless_line_does_not_fill_the_memory(tmp_path):
    (path := tmp_path / "log").write_bytes(b"x" * (1 << 20))
    tail = LogTail(path)
    tail.lines()
    assert len(tail.pending) < 1 << 17


# Steps


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(), st.booleans()), max_size=60))
def test_every_step_is_returned_once_and_in_order(notes):
    ledger, returned = StepLedger(), []
    for step, loss, silent in notes:
        ledger.note(step, loss)
        returned += ledger.take(silent=silent)
    returned += ledger.finish()
    last = max((step for step, *_ in notes), default=0)
    assert [step.step for step in returned] == list(range(1, last + 1))


def test_the_last_loss_reported_for_a_step_is_used(stage):
    """SimpleTuner draws its progress bar like this: the step number increases before its loss is known."""
    here = stage()
    for step in range(1, 5):
        here.prints(bar(step, (step - 1) / 10))
        here.prints(bar(step, step / 10))
    assert here.steps() == [(1, 0.1), (2, 0.2), (3, 0.3)]
    here.wait(0.75)
    here.wait(1.5)
    assert here.steps()[-1] == (4, 0.4)
    here.prints(bar(6, 0.6))
    here.watch.finish()
    assert here.steps()[-2:] == [(5, None), (6, 0.6)]


def test_consecutive_steps_with_nan_are_counted():
    ledger = StepLedger()
    for step, loss in enumerate([math.nan] * 3 + [0.1] + [math.inf, math.nan] * 3, 1):
        ledger.note(step, loss)
    list(ledger.take())
    assert ledger.nan_in_a_row == NAN_STEPS
    list(ledger.finish())
    assert ledger.nan_in_a_row == 6


def test_an_incomplete_progress_bar_is_read_but_an_incomplete_message_is_not(stage):
    here = stage()
    here.prints(bar(3, 0.5) + "\n                    WARNING  the disk is al")
    here.wait(5)
    assert [event.text for event in here.written(Notice)] == []
    here.prints("most full\n" + bar(4, 0.25))
    assert [event.text for event in here.written(Notice)] == ["the disk is almost full"]
    here.wait(0.75)
    here.wait(1.5)
    assert here.steps()[-1] == (4, 0.25)


def test_progress_is_reported_at_most_once_per_reading_of_the_log(stage):
    here = stage()
    here.prints("".join(bar(step, 0.1, total=100) for step in range(1, 50)))
    here.wait(0.6)
    assert [event.step for event in here.written(Progress)] == [48, 49]
    assert [event.name for event in here.written(Phase)] == ["training"]
    assert here.written(Progress)[-1].total == 1000


def test_the_phase_is_training_again_after_saving(stage):
    here = stage()
    here.prints(bar(1, 0.1) + "\nsaving checkpoint: x\n")
    here.prints(bar(2, 0.1) + "\n")
    assert [event.name for event in here.written(Phase)] == ["training", "saving", "training"]


def test_a_silent_engine_gives_one_notice_and_is_not_ended(stage):
    here = stage()
    here.prints("importing\n")
    for _ in range(3):
        here.wait(SILENCE_S)
    notices = here.written(Notice)
    assert len(notices) == 1
    assert "nothing for 10 minutes" in notices[0].text


# The engine's own metrics


class Recorder:
    """Writes event files as an engine does, with the library's own writer."""

    def __init__(self, folder: Path) -> None:
        self._writer = EventFileWriter(str(folder))

    def step(self, number: int, **values: float) -> None:
        tags = {"loss": LOSS, "rate": RATE, "real_rate": REAL_RATE, "average": "loss/average", "valid": VALID}
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


def test_the_validation_loss_belongs_to_the_step_that_was_recorded_before_it(stage, tmp_path):
    """sd-scripts numbers the entry of an epoch by the epoch. Source: train_network.py, epoch_logging."""
    folder = tmp_path / "metrics"
    here = stage("kohya", metrics=Metrics("tensorboard", folder, LOSS, (RATE,), (VALID,)))
    recorder = Recorder(folder / "20261120" / "network_train")
    for step in range(1, 5):
        recorder.step(step, loss=step / 8)
        here.prints(kohya_bar(step))
        if step % 2 == 0:
            recorder.step(step // 2, valid=step / 16)
        here.wait(1.1)
    recorder.close()
    here.watch.finish()
    assert [(event.step, event.loss) for event in here.written(Validation)] == [(2, 2 / 16), (4, 4 / 16)]
    Journal.reopen(here.folder.events, Places(0, 0)).write(Validation(2, 0.125))
    assert len(here.written(Validation)) == 2, "after a restart the supervisor reads all of them again"


def kohya_bar(step: int, loss: float = 0.1) -> str:
    return f"\rsteps:  40%|████      | {step}/10 [00:52<01:18, 13.10s/it, avr_loss={loss}]"


def test_steps_have_the_raw_loss_of_the_metrics_not_the_average_of_the_progress_bar(recorded):
    here, folder = recorded
    here.prints(kohya_bar(1))
    assert here.steps() == []
    recorder = Recorder(folder)
    for step in range(1, 5):
        recorder.step(step, loss=step / 8, average=9.0, rate=1.0, real_rate=step / 1024)
        here.prints(kohya_bar(step))
        here.wait(1.0)
    assert here.steps() == [(1, 1 / 8), (2, 2 / 8), (3, 3 / 8)]
    assert [event.learning_rate for event in here.written(Step)] == pytest.approx([1 / 1024, 2 / 1024, 3 / 1024])
    assert {event.average_loss for event in here.written(Progress)} == {0.1}
    recorder.close()


def test_the_loss_of_a_step_is_the_mean_of_its_batches(recorded):
    """With gradient accumulation sd-scripts records the first batches of a step under the number of the step before."""
    here, folder = recorded
    recorder = Recorder(folder)
    for step, loss in ((0, 0.25), (1, 0.75), (1, 0.125), (2, 0.375), (2, 0.5)):
        recorder.step(step, loss=loss)
        here.prints(kohya_bar(step))
        here.wait(1.1)
    recorder.close()
    here.watch.finish()
    assert here.steps() == [(1, 0.5), (2, 0.25)]


def test_metrics_that_are_flushed_only_at_the_end_are_read(recorded):
    here, folder = recorded
    recorder = Recorder(folder)
    recorder.step(1, loss=0.5, rate=0.25)
    for step in range(1, 8):
        here.prints(kohya_bar(step))
    for step in (2, 3, 5):
        recorder.step(step, loss=step / 8)
    recorder.close()
    here.watch.finish()
    assert here.steps() == [(1, 0.5), (2, 0.25), (3, 0.375), (4, None), (5, 0.625), (6, None), (7, None)]


def test_an_incomplete_metrics_file_is_read_again_when_it_is_complete(recorded, tmp_path):
    here, folder = recorded
    recorder = Recorder(tmp_path / "elsewhere")
    recorder.step(1, loss=0.5)
    recorder.step(2, loss=math.nan)
    recorder.close()
    data = next((tmp_path / "elsewhere").iterdir()).read_bytes()
    folder.mkdir(parents=True)
    file = folder / "events.out.tfevents.1.host"
    file.write_bytes(data[:-9])
    here.wait(1.1)
    here.wait(1.1)
    assert here.steps() == [(1, 0.5)]
    file.write_bytes(data)
    here.watch.finish()
    assert here.steps()[0] == (1, 0.5)
    assert math.isnan(here.steps()[1][1])
    assert len(here.steps()) == 2


# Saved files


def test_a_file_is_reported_once_and_only_when_it_is_complete(stage):
    here = stage()
    file = here.folder.output / "toy-step00000004.safetensors"
    file.write_bytes(b"half")
    here.wait(1.1)
    file.write_bytes(b"half and more")
    here.wait(1.1)
    assert here.written(Checkpoint) == []
    here.wait(1.1)
    here.wait(1.1)
    assert here.written(Checkpoint) == [Checkpoint("output/toy-step00000004.safetensors", 4)]
    (here.folder.output / "toy-step00000008.safetensors").write_bytes(b"last")
    here.watch.finish()
    assert [event.step for event in here.written(Checkpoint)] == [4, 8]


# The run folder


def test_a_backend_can_write_neither_outside_the_run_folder_nor_a_token(stage):
    here = stage()
    for files, environment, sentence in (
        ({PurePosixPath("../stray.toml"): ""}, {}, "not inside"),
        ({PurePosixPath("/etc/stray"): ""}, {}, "not inside"),
        ({}, {"HF_TOKEN": "hf"}, "HF_TOKEN"),
        ({}, {"WANDB_API_KEY": "x"}, "WANDB_API_KEY"),
    ):
        spec = dataclasses.replace(here.spec, files=files, steps=(Command("train", ("x",), environment),))
        with pytest.raises(JobError, match=sentence):
            here.folder.write_job({}, spec, {}, {})
    assert not (here.folder.path / "spec.json").exists()


@pytest.mark.parametrize("name", ["kohya", "rehearsal"])
def test_a_job_can_be_read_as_it_was_written(stage, name):
    here = stage(name)
    here.folder.write_job({}, here.spec, {}, {})
    assert here.folder.rendered == dataclasses.replace(here.spec, files={})
    assert here.folder.versions["schema_version"] == SCHEMA_VERSION


def test_folder_names_contain_only_safe_characters(tmp_path):
    directory = RunFolder.create(tmp_path, "../<img src=x onerror=alert(1)> 猫")
    assert directory.path.parent == tmp_path.resolve()
    assert directory.path.name.rpartition("-")[2] == "img_src_x_onerror_alert_1"


def test_events_that_did_not_fit_on_a_full_disk_are_written_later(tmp_path):
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


def test_the_result_is_written_on_a_full_disk(tmp_path, monkeypatch):
    directory = RunFolder.create(tmp_path, "full")
    directory.reserve.write_bytes(b"reserved")

    def write(path, text, **_):
        if directory.reserve.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_text(text)

    monkeypatch.setattr("trainer_core.jobs.folder.write_whole", write)
    supervisor._write_result(directory, {"state": "FAILED"})
    assert directory.result == {"state": "FAILED"}


def test_a_notice_is_one_line_of_safe_text(stage):
    here = stage()
    here.prints("                    WARNING  <img onerror=x>\x1b[2J\u202e evil\n" * 3)
    texts = [event.text for event in here.written(Notice)]
    assert texts == ["<img onerror=x>\\u001b[2J\\u202e evil"]
    assert json.loads(here.folder.events.read_text().splitlines()[0])["time"] > 0


# What is told of the training


def test_a_run_that_stands_still_and_one_that_diverges_are_told_and_go_on(stage):
    stage = stage()
    for step in range(1, 300):
        stage.prints(bar(step, 0.1 if step < 120 else 5.0 + step / 100, total=1000), 1.0)
    for _ in range(150):
        stage.wait(1.0)
    diverges, still = stage.written(Notice)
    assert "diverges" in diverges.text
    assert "299/1000" in still.text
    assert {diverges.severity, still.severity} == {"warning"}
    assert len(stage.steps()) >= 298

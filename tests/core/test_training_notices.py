"""What is told while a training runs: it stands still, it diverges, the disk becomes full. Nothing is ended for it."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_core.engines import registry
from trainer_core.events import Checkpoint, Step
from trainer_core.training import space
from trainer_core.training.divergence import STAYS, WINDOW, DivergenceWatch
from trainer_core.training.space import SpaceWatch
from trainer_core.training.stall import LEAST_S, TIMES, StallWatch

LOGS = Path(__file__).parents[1] / "data/logs"
MIB = 1 << 20


# Standing still


class Training:
    """Steps and pauses on a clock; `told` are the sentences."""

    def __init__(self) -> None:
        self.watch, self.now, self.number, self.told = StallWatch(), 100.0, 0, []

    def steps(self, count: int, seconds: float = 1.0) -> Training:
        for _ in range(count):
            self.pause(seconds)
            self.number += 1
            self.watch.step(self.number, self.now)
        return self

    def pause(self, seconds: float, phase: str = "training", looked: bool = True) -> Training:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + (1.0 if looked else seconds))
            if text := self.watch.look(self.now, phase, 1000, lambda: "steps: 4% 40/1000"):
                self.told.append(text)
        return self


def test_a_training_that_stands_still_is_told_once_with_the_last_line():
    told = Training().steps(40).pause(1000).told
    assert len(told) == 1
    assert "2 minutes" in told[0]
    assert "1.0 seconds" in told[0]
    assert "steps: 4% 40/1000" in told[0]


def test_it_is_told_again_only_after_another_step():
    training = Training().steps(40).pause(500).steps(1).pause(500)
    assert len(training.told) == 2


def test_slow_steps_are_given_more_time():
    training = Training().steps(20, 60).pause(TIMES * 60 - 2)
    assert training.told == []
    assert len(training.pause(10).told) == 1


@pytest.mark.parametrize("phase", ["sampling", "saving", "caching latents", "loading model"])
def test_samples_and_saving_may_take_long_and_change_nothing_of_what_is_usual(phase):
    training = Training().steps(20)
    for _ in range(30):
        training.pause(900, phase).steps(1)
    assert training.told == []
    assert len(training.pause(LEAST_S + 2).told) == 1


def test_before_there_are_steps_nothing_is_usual():
    assert Training().steps(3).pause(5000).told == []


def test_after_the_last_step_no_step_is_expected():
    training = Training().steps(1000)
    assert training.pause(5000).told == []


def test_a_watch_that_stood_still_itself_tells_nothing():
    """As in a virtual machine that was paused: the time of its clock has gone on, and nobody looked."""
    training = Training().steps(40).pause(7200, looked=False).pause(60)
    assert training.told == []


@given(st.lists(st.floats(0.01, 30.0), min_size=20, max_size=60), st.integers(0, 100))
def test_uneven_steps_are_never_a_standstill(paces, seed):
    chance, training = random.Random(seed), Training()
    for pace in paces:
        training.steps(1, pace * chance.uniform(0.5, 2))
    assert training.told == []


# Diverging


def feed(losses: Iterator[float]) -> int:
    """The step at which it is told that the training diverges; 0 if never."""
    watch, told = DivergenceWatch(), []
    for number, loss in enumerate(losses, 1):
        if watch.take([Step(number, loss)]):
            told.append(number)
    assert len(told) <= 1
    return told[0] if told else 0


def flow_matching(steps: int, seed: int, spread: float = 0.8) -> Iterator[float]:
    """Losses as of flow matching with one image per step: they vary by a factor of ten and fall by a third; some are far off."""
    chance = random.Random(seed)
    for number in range(steps):
        level = 0.25 * (1 - 0.3 * (1 - math.exp(-number / 800)))
        yield level * math.exp(chance.gauss(0, spread)) * (chance.uniform(5, 30) if chance.random() < 0.01 else 1)


def noise_prediction(steps: int, seed: int) -> Iterator[float]:
    """Losses as of SD 1.5 and SDXL: high at early and low at late time steps, with no trend."""
    chance = random.Random(seed)
    for _ in range(steps):
        yield 0.02 + 0.9 * math.exp(-6 * chance.random()) * chance.uniform(0.5, 1.5)


def memorised(steps: int, seed: int) -> Iterator[float]:
    """A tiny dataset that is learnt by heart: the loss falls to almost nothing and varies there."""
    chance = random.Random(seed)
    for number in range(steps):
        yield (0.1 * math.exp(-number / 300) + 1e-4) * math.exp(chance.gauss(0, 1.0))


def still_good(steps: int, seed: int) -> Iterator[float]:
    """The same, and later the loss is ten times as high, which is still a twentieth of that at the beginning."""
    for number, loss in enumerate(memorised(steps, seed)):
        yield loss * (10 if number > steps / 2 else 1)


def harder(steps: int, seed: int) -> Iterator[float]:
    """A loss that doubles, as when images of another kind come."""
    chance = random.Random(seed)
    for number in range(steps):
        yield 0.1 * (1 + min(1, number / 3000)) * math.exp(chance.gauss(0, 0.8))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("curve", [flow_matching, noise_prediction, memorised, still_good, harder])
def test_a_normal_loss_never_diverges(curve, seed):
    assert feed(curve(8000, seed)) == 0


@given(st.integers(0, 10**6), st.floats(0.05, 1.3))
def test_chance_alone_never_diverges(seed, spread):
    assert feed(flow_matching(1500, seed, spread)) == 0


def recorded() -> dict[str, list[float]]:
    """The losses of real runs, from their recorded logs."""
    found = {}
    for file in sorted(LOGS.glob("*_ok.log")):
        parse = registry.get(file.name.split("_")[0]).parse
        values = {}
        for line in re.split(r"[\r\n]+", file.read_text("utf-8", "replace")):
            event = parse(line)
            loss = getattr(event, "loss", getattr(event, "average_loss", None))
            if event is not None and loss is not None:
                values[event.step] = loss  # pyright: ignore[reportAttributeAccessIssue]
        if values:
            found[file.stem] = list(values.values())
    return found


@pytest.mark.parametrize("name", recorded())
def test_the_losses_of_real_runs_never_diverge(name):
    losses = recorded()[name]
    assert feed(losses * (2 * WINDOW)) == 0, "repeated, because the recorded runs are short"


@pytest.mark.parametrize("at", [150, 1000, 5000])
@pytest.mark.parametrize(
    "then",
    [
        lambda loss, after: loss * math.exp(after / 40),
        lambda loss, after: max(loss, 1.0),
        lambda loss, after: loss * (1 + after / 100),
    ],
    ids=["exponential", "to the loss of noise", "steady"],
)
def test_an_exploding_loss_diverges(then, at):
    told = feed(then(loss, n - at) if n > at else loss for n, loss in enumerate(flow_matching(at + 1500, 3)))
    assert at + STAYS <= told <= at + 500


def test_a_loss_that_comes_back_does_not_diverge():
    losses = list(flow_matching(3000, 1))
    for n in range(1000, 1060):
        losses[n] = 3.0
    assert feed(losses) == 0


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=300))
def test_any_losses_are_taken(losses):
    DivergenceWatch().take(Step(number, loss) for number, loss in enumerate(losses, 1))


# The disk


class Disk:
    """A run's output folder, and a disk whose free space a test sets."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.output = folder / "output"
        self.output.mkdir()
        self.free, self.now, self.number = 100 << 30, 0.0, 0
        monkeypatch.setattr(space, "free_disk_bytes", lambda _: self.free)
        self.watch = SpaceWatch(self.output, {"folder": str(folder)})

    def save(self, size: int, state: int = 0) -> list[str]:
        self.number += 1
        name = f"output/mika-step{self.number:08d}.safetensors"
        (self.output.parent / name).write_bytes(bytes(size))
        (self.output / f"state{self.number}").write_bytes(bytes(state))
        return self.look([Checkpoint(name, self.number)])

    def look(self, happened=(), seconds: float = 10.0) -> list[str]:
        self.now += seconds
        return [notice.text for notice in self.watch.look(self.now, happened)]


@pytest.fixture
def disk(tmp_path, monkeypatch):
    return Disk(tmp_path, monkeypatch)


def test_a_disk_with_less_space_than_two_checkpoints_need_is_told_once(disk):
    assert disk.save(2 * MIB, state=4 * MIB) == []
    disk.free = 13 * MIB
    assert disk.look() == []
    disk.free = 11 * MIB
    (text,) = disk.look()
    assert "11 MiB" in text
    assert "6.0 MiB" in text, "the training state is counted"
    assert "deletes nothing" in text
    assert disk.look() == []


def test_it_is_told_again_after_there_was_enough_space(disk):
    disk.save(2 * MIB)
    disk.free = 3 * MIB
    assert len(disk.look()) == 1
    disk.free = 5 * MIB
    assert disk.look() == []
    disk.free = 3 * MIB
    assert disk.look() == [], "5 MiB were not clearly enough"
    disk.free = 50 * MIB
    assert disk.look() == []
    disk.free = 3 * MIB
    assert len(disk.look()) == 1


def test_before_the_first_checkpoint_a_nearly_full_disk_is_told(disk):
    disk.free = 500 * MIB
    assert len(disk.look()) == 1


def test_the_disk_is_not_asked_at_each_look(disk):
    disk.look()
    disk.free = 0
    assert disk.look(seconds=1.0) == []
    assert len(disk.look()) == 1


def test_a_disk_of_the_result_that_does_not_answer_blocks_nothing(tmp_path, monkeypatch):
    import threading

    answer = threading.Event()
    monkeypatch.setattr(space, "_disk", lambda folder: folder.name)
    disk = Disk(tmp_path, monkeypatch)
    away = tmp_path / "away"
    monkeypatch.setattr(
        space, "free_disk_bytes", lambda folder: answer.wait(30) and MIB if folder == away else 100 << 30
    )
    disk.watch = SpaceWatch(disk.output, {"folder": str(away)})
    assert disk.save(2 * MIB) == []
    assert disk.look() == []
    answer.set()
    disk.watch._free._thread.join(10)
    (text,) = disk.look()
    assert str(away) in text
    assert "stays in the run folder" in text

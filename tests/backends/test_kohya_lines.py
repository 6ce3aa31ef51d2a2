"""sd-scripts: its log lines are parsed, and its failures explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backends.kohya import backend
from trainer_core.engines import diagnosis
from trainer_core.events import Epoch, Event, Notice, Phase, Progress

LOGS = Path(__file__).parent.parent / "data" / "logs" / "kohya"


def lines(name: str) -> list[str]:
    return re.split(r"[\r\n]+", (LOGS / name).read_text("utf-8"))


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("epoch 1/2", Epoch(1, 2)),
        ("epoch is incremented. current_epoch: 0, epoch: 1", None),
        ("steps:  40%|████      | 4/10 [00:52<01:18, 13.10s/it, avr_loss=1.14]", Progress(4, 10, 13.10, 1.14)),
        ("steps:   0%|          | 0/8 [00:00<?, ?it/s]", Progress(0, 8)),
        (
            "validation steps:  38%|███▊      | 6/16 [01:47<02:58, 17.90s/it, val_avg_loss=1.03, timestep=200]",
            Phase("validating"),
        ),
        ("epoch validation steps:   0%|          | 0/4 [00:00<?, ?it/s]", Phase("validating")),
        ("steps: 100%|██████████| 8/8 [00:04<00:00,  2.00it/s, avr_loss=0.5]", Progress(8, 8, 0.5, 0.5)),
        ("\x1b[Asteps:  12%|█         | 1/8 [00:01<00:07,  1.0s/it]2026-11-20 12:08:05 INFO", Progress(1, 8, 1.0)),
        ("100%|██████████| 8/8 [01:01<00:00,  7.66s/it]", None),
        ("2026-11-20 12:06:46 INFO     caching latents...            train_util.py:1170", Phase("caching latents")),
        ("                    INFO     model saved.                 train_network.py:1729", Phase("saved")),
        ("                    WARNING  no regularization images / 正則化画像  train_util.py:2167", None),
        (
            "                    ERROR    No data found. Please verify  train_network.py:576",
            Notice("error", "No data found. Please verify"),
        ),
        ("", None),
    ],
)
def test_lines_are_parsed(line, event):
    assert backend.parse(line) == event


def test_nan_in_the_bar_stays_nan():
    event = backend.parse("steps:  50%|█████     | 1/2 [00:01<00:01,  1.0s/it, avr_loss=nan]")
    assert isinstance(event, Progress)
    assert event.average_loss != event.average_loss


def test_a_real_success_shows_its_phases_epochs_and_every_step():
    events: list[Event] = [event for line in lines("ok_sd15.log") if (event := backend.parse(line))]
    names = [event.name for event in events if isinstance(event, Phase)]
    for name in ("starting", "reading dataset", "loading model", "caching latents", "training", "saving", "saved"):
        assert name in names
    assert Epoch(1, 1) in events
    assert sorted({event.step for event in events if isinstance(event, Progress)}) == list(range(9))
    assert not [event for event in events if isinstance(event, Notice)]


@pytest.mark.parametrize(
    ("error", "frame", "name"),
    [
        # Source: sd-scripts 48d368f, library/train_util.py, BucketManager.select_bucket, and train_network.py.
        ("ZeroDivisionError: division by zero", "aspect_ratio = image_width / image_height", "nothing-readable"),
        ("ZeroDivisionError: division by zero", "args.max_train_steps / num_update_steps_per_epoch", "no-update-steps"),
        ("ZeroDivisionError: float division by zero", "x = total / count", "unknown"),
        ("TypeError: unsupported operand type(s) for -: 'str' and 'int'", "a - b", "config-type"),
        ("TypeError: unsupported operand type(s) for *: 'NoneType' and 'float'", "a * b", "unknown"),
        (
            "RuntimeError: Error(s) in loading state_dict for LoRANetwork:",
            "load_state_dict(w)",
            "network-of-another-kind",
        ),
    ],
)
def test_a_message_of_python_is_only_explained_where_it_is_raised(error, frame, name):
    log = ["Traceback (most recent call last):", '  File "a.py", line 1, in f', f"    {frame}", error]
    found = diagnosis.explain(log, backend.manifest.diagnosis, 1)
    assert found is not None
    assert found.id == name

"""SimpleTuner: its log lines are parsed, and its failures explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backends.simpletuner import backend
from trainer_core.events import Event, Notice, Phase, Progress, Step
from trainer_core.training.steps import StepLedger

LOGS = Path(__file__).parent.parent / "data" / "logs" / "simpletuner"


def lines(name: str) -> list[str]:
    return re.split(r"[\r\n]+", (LOGS / name).read_text("utf-8"))


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("Epoch 1/2, Steps:  10%|█         | 1/10 [00:19<02:58, 19.87s/it]", Progress(1, 10, 19.87)),
        (
            "Epoch 1/2, Steps:  40%|████      | 4/10 [00:21<00:19,  3.17s/it, lr=0.001, step_loss=0.849]",
            Step(4, 0.849, 0.001),
        ),
        (
            "\x1b[0mEpoch 2/2, Steps:  90%|███| 9/10 [00:25<00:00,  1.04it/s, lr=1e-5, step_loss=1] \x1b[0m",
            Step(9, 1.0, 1e-5),
        ),
        (
            "Epoch 1/1, Steps:  10%|█ | 1/10 [00:00<00:06,  1.36it/s, grad_norm=0.02, lr=0.001, step_loss=0.982]",
            Step(1, 0.982, 0.001),
        ),
        (
            "\x1b[0m[RANK 0] \x1b[32m2026-11-20 12:18:00,150 [INFO] Loading diffusion model from /m\x1b[0m",
            Phase("loading model"),
        ),
        ("[RANK 0] 2026-11-20 12:17:59,137 [INFO] (id=images) Loading bucket manager.", Phase("reading dataset")),
        ("[RANK 0] 2026-11-20 12:17:59,137 [INFO] [RANK 0] Saving current state to /o", Phase("saving")),
        (
            "[RANK 0] 2026-11-29 16:50:59,734 [INFO] [Rank 0] Processing 1 local validation work items (distributed_mode=False)",
            Phase("sampling"),
        ),
        ("[RANK 0] 2026-11-20 12:17:59,137 [ERROR] Something broke", Notice("error", "Something broke")),
        ("W1120 12:17:16.118000 22739 torch/utils/_pytree.py:630] text", None),
        ("", None),
    ],
)
def test_lines_are_parsed(line, event):
    assert backend.parse(line) == event


@pytest.mark.parametrize("name", ["ok_4.log", "ok_3.log"])
def test_a_real_success_gives_every_step_once_with_its_own_loss(name):
    ledger, events = StepLedger(), []
    for line in lines(name):
        event: Event | None = backend.parse(line)
        if isinstance(event, Step):
            ledger.note(event.step, event.loss, event.learning_rate)
        events.append(event)
    steps = list(ledger.finish())
    assert [step.step for step in steps] == list(range(1, 11))
    assert [step.loss for step in steps] == LOSSES[name]
    assert {"reading dataset", "caching latents", "loading model", "saving"} <= {
        e.name for e in events if isinstance(e, Phase)
    }


LOSSES = {
    "ok_4.log": [0.93, 1.27, 0.997, 1.06, 1.14, 0.972, 1.03, 1.19, 1.19, 0.925],
    "ok_3.log": [0.982, 1.21, 1.05, 1.07, 1.17, 1.07, 0.991, 1.21, 1.11, 0.98],
}

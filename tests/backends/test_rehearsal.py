"""The player: what it prints is what its own half of the seam reads, and what it leaves is what was asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from backends.rehearsal import ENDINGS, OPTIONS
from tests.backends.contract import MACHINE, plan_for
from trainer_core import registry
from trainer_core.backend import Place
from trainer_core.events import Epoch, Notice, Phase, Step
from trainer_core.runs.acceptance import accept
from trainer_core.runs.artefacts import final_file, matching

BACKEND = registry.get("rehearsal")
ASKED = {"network": {"rank": 4, "alpha": 2.0}}


def play(folder: Path, **options):
    plan = plan_for("sdxl", sampling=True).model_copy(
        update={"native": {"rehearsal": {"steps_per_second": 0, **options}}}
    )
    assert not BACKEND.problems(plan, MACHINE)
    spec = BACKEND.render(plan, Place(folder, folder / "dataset", folder / "output", Path(sys.executable)))
    for name, text in spec.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    played = subprocess.run(spec.command, cwd=folder, capture_output=True, text=True, check=False)
    lines = played.stdout.replace("\r", "\n").splitlines()
    return spec, played, [event for line in lines if (event := BACKEND.parse(line))]


def test_it_plays_a_training_with_all_its_files(tmp_path):
    spec, played, found = play(tmp_path, say="<b>hello</b>")
    assert played.returncode == 0
    assert sorted({event.step for event in found if isinstance(event, Step)}) == list(range(1, 11))
    assert {event.name for event in found if isinstance(event, Phase)} >= {
        "loading model",
        "training",
        "saving",
        "sampling",
    }
    assert [event.text for event in found if isinstance(event, Notice)] == ["<b>hello</b>"]
    assert Epoch(1, 1) in found
    assert accept(tmp_path / "output" / "cg_contract.safetensors", ASKED).ok
    assert [int(match["step"]) for _, match in matching(tmp_path / "output", spec.artefacts.checkpoints)] == [5]
    samples = [path for path, _ in matching(tmp_path / "output", spec.artefacts.samples)]
    assert [Image.open(path).size for path in samples] == [(64, 64)] * 2


@pytest.mark.parametrize(("ending", "code"), [("oom", 1), ("crash", 1), ("empty", 0), ("killed", -9), ("flawed", 0)])
def test_it_ends_as_told(tmp_path, ending, code):
    spec, played, _ = play(tmp_path, ending=ending)
    assert played.returncode == code
    final = final_file(tmp_path / "output", spec.artefacts)
    assert final is None or not accept(final, ASKED).ok


def test_a_step_is_shown_before_its_loss_is(tmp_path):
    _, _, found = play(tmp_path)
    losses = [event.loss for event in found if isinstance(event, Step) and event.step == 3]
    assert len(losses) == 2
    assert losses[0] == next(event.loss for event in reversed(found) if isinstance(event, Step) and event.step == 2)


def test_an_option_it_does_not_know_is_a_problem():
    plan = plan_for("sd15").model_copy(update={"native": {"rehearsal": {"tempo": 3, "ending": "applause"}}})
    assert [problem.path for problem in BACKEND.problems(plan, MACHINE)] == [
        "native.rehearsal.tempo",
        "native.rehearsal.ending",
    ]
    assert OPTIONS["ending"] in ENDINGS

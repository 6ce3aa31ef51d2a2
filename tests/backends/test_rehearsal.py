"""The rehearsal engine: its backend parses what it prints, and it writes the requested files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from backends.rehearsal import ENDINGS, OPTIONS
from trainer_core.engines import registry
from trainer_core.engines.contract import MACHINE, plan_for
from trainer_core.engines.seam import Place
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.events import Epoch, Notice, Phase, Step
from trainer_core.training.acceptance import accept
from trainer_core.training.artefacts import final_file, matching

BACKEND = registry.get("rehearsal")
SETTINGS = {"network": {"rank": 4, "alpha": 2.0}}


def rehearse(folder: Path, prompts=(), **options):
    plan = plan_for("sdxl", sampling=True, sampling__prompts=prompts).model_copy(
        update={"native": {"rehearsal": {"steps_per_second": 0, **options}}}
    )
    assert not BACKEND.problems(plan, MACHINE, NOT_KNOWN)
    spec = BACKEND.render(plan, Place(folder, folder / "dataset", folder / "output", Path(sys.executable)))
    for name, text in spec.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    done = subprocess.run(spec.steps[0].argv, cwd=folder, capture_output=True, text=True, check=False)
    lines = done.stdout.replace("\r", "\n").splitlines()
    return spec, done, [event for line in lines if (event := BACKEND.parse(line))]


def test_it_simulates_a_training_with_all_its_files(tmp_path):
    spec, done, found = rehearse(tmp_path, say="<b>hello</b>")
    assert done.returncode == 0
    assert sorted({event.step for event in found if isinstance(event, Step)}) == list(range(1, 11))
    assert {event.name for event in found if isinstance(event, Phase)} >= {
        "loading model",
        "training",
        "saving",
        "sampling",
    }
    assert [event.text for event in found if isinstance(event, Notice)] == ["<b>hello</b>"]
    assert Epoch(1, 1) in found
    assert accept(tmp_path / "output" / "cg_contract.safetensors", SETTINGS).ok
    assert [int(match["step"]) for _, match in matching(tmp_path / "output", spec.artefacts.checkpoints)] == [5]
    samples = [path for path, _ in matching(tmp_path / "output", spec.artefacts.samples)]
    assert [Image.open(path).size for path in samples] == [(64, 64)] * 2


def test_it_makes_a_sample_of_each_prompt(tmp_path):
    spec, _, _ = rehearse(tmp_path, prompts=({"text": "one"}, {"text": "two", "seed": 7}))
    found = [(match["step"], match["prompt"]) for _, match in matching(tmp_path / "output", spec.artefacts.samples)]
    assert sorted(found) == [("000005", "00"), ("000005", "01"), ("000010", "00"), ("000010", "01")]


@pytest.mark.parametrize(("ending", "code"), [("oom", 1), ("crash", 1), ("empty", 0), ("killed", -9), ("flawed", 0)])
def test_it_ends_as_the_setting_says(tmp_path, ending, code):
    spec, done, _ = rehearse(tmp_path, ending=ending)
    assert done.returncode == code
    final = final_file(tmp_path / "output", spec.artefacts)
    assert final is None or not accept(final, SETTINGS).ok


def test_a_step_is_shown_before_its_loss(tmp_path):
    _, _, found = rehearse(tmp_path)
    losses = [event.loss for event in found if isinstance(event, Step) and event.step == 3]
    assert len(losses) == 2
    assert losses[0] == next(event.loss for event in reversed(found) if isinstance(event, Step) and event.step == 2)


def test_unknown_options_are_problems():
    plan = plan_for("sd15").model_copy(update={"native": {"rehearsal": {"tempo": 3, "ending": "applause"}}})
    assert [problem.path for problem in BACKEND.problems(plan, MACHINE, NOT_KNOWN)] == [
        "native.rehearsal.tempo",
        "native.rehearsal.ending",
    ]
    assert OPTIONS["ending"] in ENDINGS

"""The outcome of a run that trains something other than a LoRA: the state, the messages and the delivered files."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.support import recorded_networks
from tests.support.played import judged
from tests.support.trained_models import asked, folder, wanted
from trainer_core.engines import registry
from trainer_core.engines.seam import ArtefactPattern, Artefacts
from trainer_core.install.place import place_for
from trainer_core.jobs.state import JobState
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training.folder import RunFolder
from trainer_core.training.outcome import TrainingOutcome
from trainer_core.training.run import Run
from trainer_core.training.verdict import verdict

BACKEND = registry.get("rehearsal")
NONE = ArtefactPattern("none", "^none$")
FILES = Artefacts(
    ArtefactPattern("toy.safetensors", "^toy.safetensors$"),
    ArtefactPattern("toy-step*.safetensors", r"^toy-step(?P<step>\d{8})\.safetensors$"),
    NONE,
)
FOLDERS = Artefacts(
    ArtefactPattern("pipeline", "^pipeline$"),
    ArtefactPattern("checkpoint-*/pipeline", r"^checkpoint-(?P<step>\d+)/pipeline$"),
    NONE,
)


class Ended:
    """The folder of a run whose engine has ended; a test puts the engine's output into it."""

    def __init__(self, tmp_path: Path, artefacts: Artefacts, **tables: Any) -> None:
        self.folder = RunFolder.create(tmp_path / "runs", "stage")
        spec = BACKEND.render(TrainingPlan(), place_for(BACKEND, self.folder.path))
        self.spec = dataclasses.replace(spec, artefacts=artefacts)
        output = {"name": "toy", "folder": str(tmp_path / "out")}
        self.folder.write_job({"output": output, **tables}, self.spec, {}, {})
        self.folder.log.touch()

    def judged(self, exit_code: int = 0) -> TrainingOutcome:
        found = judged(self.folder, exit_code, self.spec)
        self.folder.write("result.json", found.as_dict())
        return found

    def verdict(self) -> dict[str, str]:
        return {row["label"]: row["text"] for row in verdict(Run(self.folder))}


def test_a_finetuned_model_folder_is_delivered_with_its_checkpoints(tmp_path: Path) -> None:
    here = Ended(tmp_path, FOLDERS, **asked(folder(tmp_path / "base")))
    folder(here.folder.output / "pipeline", 2e-3)
    folder(here.folder.output / "checkpoint-6" / "pipeline", 1e-3)
    found = here.judged()
    assert (found.state, found.notices) == (JobState.COMPLETED, [])
    assert [Path(path).name for path in found.outputs] == ["toy", "toy-step00000006"]
    assert found.acceptance is not None
    assert (found.acceptance["kind"], found.acceptance["moved"]) == ("checkpoint", 2)
    assert here.verdict()["Folder"].endswith("toy-step00000006")
    shutil.rmtree(here.folder.path)
    assert all((Path(path) / "model_index.json").is_file() for path in found.outputs)


@pytest.mark.parametrize(("exit_code", "note"), [(0, None), (1, "The engine failed after its embedding was complete")])
def test_an_embedding_is_delivered_with_notices_about_what_is_not_known(
    tmp_path: Path, exit_code: int, note: str | None
) -> None:
    here = Ended(tmp_path, FILES, **wanted("", init_word=""))
    for name in ("toy", "toy-step00000004"):
        vectors = np.random.default_rng(1).normal(0, 1, (3, 768)).astype(np.float32)
        save_file({"emb_params": vectors}, here.folder.output / f"{name}.safetensors")
    found = here.judged(exit_code)
    assert found.state is JobState.COMPLETED
    assert [Path(path).name for path in found.outputs] == ["toy.safetensors", "toy-step00000004.safetensors"]
    assert here.verdict()["File"].endswith("toy-step00000004.safetensors")
    assert "started at random" in found.notices[0]
    assert [notice.partition(" (")[0] for notice in found.notices[1:]] == ([note] if note else [])


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (asked(""), "The finished model cannot be used: The result is a LoRA."),
        (wanted(""), "The finished embedding cannot be used: The file is not an embedding"),
        ({"network": {"algorithm": "loha"}}, "The finished network cannot be used: It is LoRA, not LoHa"),
        ({"network": {"algorithm": "lora", "rank": 8}}, "The finished LoRA cannot be used: The rank is 4, not 8"),
    ],
)
def test_a_refused_result_is_explained_and_not_delivered(tmp_path: Path, tables: dict[str, Any], words: str) -> None:
    here = Ended(tmp_path, FILES, **tables)
    recorded_networks.write("kohya-lora_flux", here.folder.output)
    (here.folder.output / "kohya-lora_flux.safetensors").rename(here.folder.output / "toy.safetensors")
    found = here.judged()
    assert found.state is JobState.FAILED
    assert found.diagnosis is not None
    assert found.diagnosis.cause.startswith(words)
    assert found.outputs == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("tables", "words"),
    [(asked(""), "without a model."), (wanted(""), "without an embedding."), ({}, "without a LoRA.")],
)
def test_a_missing_result_is_explained(tmp_path: Path, tables: dict[str, Any], words: str) -> None:
    found = Ended(tmp_path, FILES, **tables).judged()
    assert found.state is JobState.FAILED
    assert found.diagnosis is not None
    assert found.diagnosis.cause.endswith(words)

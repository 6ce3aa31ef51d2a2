"""Runs that end in each way, and what Easel then says about them and their checkpoints."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from safetensors.numpy import save_file

from tests.support import recorded_networks, trained_models
from tests.support.played import result
from trainer_core.engines import contract, registry
from trainer_core.jobs.state import JobState
from trainer_core.training import artefacts
from trainer_core.training.checking import CheckpointTests
from trainer_core.training.folder import RunFolder
from trainer_core.training.run import Run
from trainer_core.training.verdict import verdict

SLOW = 40.0
EVERY = {"save_every_steps": 5}


def verdicts(run: Run) -> dict[int, bool | None]:
    """The recorded verdicts by step."""
    return {row["step"]: row["ok"] for row in result(run)["checkpoints"]}


def rows(run: Run) -> dict[str, str]:
    return {row["label"]: row["text"] for row in verdict(run)}


def easel_says(run: Run, *words: str) -> Any:
    """What `easel runs` prints about a run, with the exit code."""
    from trainer_core.cli import easel

    return CliRunner().invoke(easel, ["runs", words[0], str(run.folder.path), *words[1:]], catch_exceptions=True)


ENDS = {
    "success": (JobState.COMPLETED, {5: True, 10: True, 15: True}),
    "killed": (JobState.FAILED, {5: True}),
    "crash": (JobState.FAILED, {5: True}),
    "cut": (JobState.FAILED, {5: True, 10: False}),
    "nan": (JobState.FAILED, {5: True, 10: True, 15: False}),
}


FILES = artefacts.Artefacts(
    artefacts.ArtefactPattern("toy.safetensors", "^toy.safetensors$"),
    artefacts.ArtefactPattern("toy-step*.safetensors", r"^toy-step(?P<step>\d{8})\.safetensors$"),
    artefacts.ArtefactPattern("none", "^none$"),
)


def prepared(tmp_path: Path, engine: str = "rehearsal", name: str = "") -> RunFolder:
    """A run whose engine has ended, with this result and the same as the checkpoint of step 4; without a name nothing."""
    run, backend = RunFolder.create(tmp_path / "runs", "stage"), registry.get(engine)
    spec = backend.render(contract.plan_of(backend, "sdxl", "lora"), contract.place(str(run.path)))
    run.output.mkdir()
    run.log.write_text("torch.OutOfMemoryError: CUDA out of memory.\n")
    (base := tmp_path / "base").mkdir()
    tables: dict[str, Any] = {"network": {"algorithm": "lora", "rank": 4, "alpha": 2.0}}
    if name == "model":
        save_file(trained_models.sd15(), base / "base.safetensors")
        tables = trained_models.asked(base / "base.safetensors")
        save_file(trained_models.trained(trained_models.sd15()), run.output / "toy.safetensors")
    elif name == "embedding":
        save_file(trained_models.sd15(), base / "base.safetensors")
        tables = trained_models.wanted(base / "base.safetensors")
        save_file(trained_models.words_of(trained_models.sd15()), run.output / "toy.safetensors")
    elif name:
        recorded_networks.write(name, run.output).rename(run.output / "toy.safetensors")
    if name:
        shutil.copy(run.output / "toy.safetensors", run.output / "toy-step00000004.safetensors")
    output = {"name": "toy", "folder": str(tmp_path / "out")}
    run.write_job({**tables, "output": output}, dataclasses.replace(spec, artefacts=FILES), {}, {})
    return run


def checks_of(run: RunFolder, test: Any) -> CheckpointTests:
    tests = CheckpointTests(run.path, test)
    tests.add(*artefacts.checkpoints(run.path, run.output, FILES))
    return tests

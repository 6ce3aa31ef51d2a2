"""What Easel asks of every training engine, its own and those of other packages: `check_contract(backend)`."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from hypothesis import given, settings
from hypothesis import strategies as st

from trainer_core import catalog, events
from trainer_core.backend import Backend, JobSpec, Place
from trainer_core.hardware import Accelerator, Machine
from trainer_core.plan import fields
from trainer_core.plan.sections import PARTS, TrainingPlan
from trainer_core.problems import blocking

GIB = 1024**3
GPU = Accelerator("cuda", "Recorded card", 24 * GIB, 24 * GIB, "8.6", "580.95.05")
MACHINE = Machine((GPU,), 64 * GIB, 60 * GIB, 500 * GIB, 16, "Linux", {})
GARBAGE = ("", " ", "\x00", "\x1b[A", "caching", "100%|██████████| 8/8 [00:00<00:00]", "a" * 100_000, "\udcff", "{}")
TELLING = (events.Phase, events.Progress, events.Step, events.Epoch, events.Notice)


def check_contract(backend: Backend) -> None:
    """Passes when the engine keeps the seam's contract for every family and method it claims."""
    check_manifest(backend)
    check_parse(backend)
    for family, claim in backend.manifest.families.items():
        assert claim.methods, f"{family} is claimed without a method"
        for method in claim.methods:
            for sampling in (False, True):
                check_render(backend, plan_of(backend, family, method, sampling=sampling))


def plan_of(backend: Backend, family: str, method: str, *, sampling: bool) -> TrainingPlan:
    """A plan for a model that is one file, or a folder where the engine reads the family from one only."""
    parts = backend.manifest.families[family].parts
    plan = plan_for(family, method, parts, sampling=sampling)
    wants_folder = any(each.path == "model.path" for each in blocking(backend.problems(plan, MACHINE)))
    return plan_for(family, method, parts, path="/models/base", sampling=sampling) if wants_folder else plan


def plan_for(
    family: str,
    method: str = "lora",
    parts: Iterable[str] = (),
    *,
    path: str = "/models/base.safetensors",
    sampling: bool = False,
) -> TrainingPlan:
    """A plan as small as they come, which no engine has a reason to refuse."""
    beside = {part: f"/models/{part}" for part in parts}
    tables = {
        "model": {"path": path, "family": family, "method": method, **beside},
        "dataset": {"path": "/pictures", "trigger": "mika", "resolution": 512},
        "network": {"rank": 4, "alpha": 2.0},
        "schedule": {"steps": 10},
        "output": {"name": "contract", "prefix": "cg_", "save_every_steps": 5},
        "sampling": {"every_steps": 5} if sampling else {},
    }
    return TrainingPlan.model_validate(tables)


def place(folder: str = "/runs/20261120-120000-contract") -> Place:
    """A place that is nowhere: rendering must not look."""
    run = Path(folder)
    return Place(run, run / "dataset", run / "output", Path("/engine/venv/bin/python"), Path("/engine/source"), "1.0")


def check_manifest(backend: Backend) -> None:
    manifest = backend.manifest
    assert re.fullmatch(r"[a-z][a-z0-9_]*", manifest.id)
    assert manifest.title
    assert manifest.licence
    assert manifest.families
    assert set(manifest.optimizers) <= set(catalog.optimizers())
    assert set(manifest.schedulers) <= set(catalog.schedulers())
    for claim in manifest.families.values():
        assert set(claim.methods) <= set(fields.all_fields()["model.method"].choices)
        assert set(claim.algorithms) <= set(catalog.algorithms())
        assert set(claim.optional_parts) <= set(claim.parts) <= set(PARTS)
    assert not set(manifest.families) & set(manifest.refused)
    assert all(ending.startswith(".") and ending == ending.lower() for ending in manifest.dataset.extensions)
    for row in manifest.diagnosis:
        re.compile(row["pattern"])
        assert row["cause"].endswith((".", "?"))
        assert row["advice"]
    assert len({row["id"] for row in manifest.diagnosis}) == len(manifest.diagnosis)


def check_parse(backend: Backend) -> None:
    for line in GARBAGE:
        assert backend.parse(line) is None, f"{line[:40]!r} means nothing"

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=400))
    def never_raises(line: str) -> None:
        assert backend.parse(line) is None or isinstance(backend.parse(line), TELLING)

    never_raises()


def check_render(backend: Backend, plan: TrainingPlan) -> None:
    stopping = blocking(backend.problems(plan, MACHINE))
    assert not stopping, f"{plan.model.family}: {stopping[0].message}"
    where = place()
    spec = backend.render(plan, where)
    assert backend.render(plan, where) == spec, "rendering gives another job each time"
    assert not where.run.exists(), "rendering writes nothing"
    assert spec.backend == backend.manifest.id
    assert spec.total_steps == plan.schedule.steps
    check_command(spec, where)
    check_files(spec)
    check_artefacts(spec, plan)


def check_command(spec: JobSpec, where: Place) -> None:
    assert isinstance(spec.command, tuple)
    assert all(isinstance(word, str) and word for word in spec.command)
    assert Path(spec.command[0]).is_absolute(), "PATH is somebody else's"
    assert spec.working_directory.is_absolute()
    assert spec.working_directory.is_relative_to(where.run), "the engine works in the run folder"
    if spec.metrics.kind == "tensorboard":
        assert spec.metrics.loss
        assert spec.metrics.folder is not None
        assert spec.metrics.folder.is_relative_to(where.run)
    for name, value in spec.environment.items():
        assert isinstance(name, str)
        assert isinstance(value, str)
        assert not re.search(r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|API_?KEY)$", name), "secrets stay out of a run's files"


def check_files(spec: JobSpec) -> None:
    assert spec.files, "the plan has to reach the engine somehow"
    for name, text in spec.files.items():
        assert isinstance(name, PurePosixPath)
        assert not name.is_absolute()
        assert ".." not in name.parts
        if name.suffix == ".toml":
            tomllib.loads(text)
        if name.suffix == ".json":
            json.loads(text)


def check_artefacts(spec: JobSpec, plan: TrainingPlan) -> None:
    for pattern in (spec.artefacts.final, spec.artefacts.checkpoints, spec.artefacts.samples):
        assert not pattern.glob.startswith("/")
        re.compile(pattern.pattern)
    groups = re.compile(spec.artefacts.checkpoints.pattern).groupindex
    assert "step" in groups, "checkpoints are shown by step"
    assert plan.output_stem

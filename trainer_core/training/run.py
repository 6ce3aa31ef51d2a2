"""A run: the job that trains with an engine. This module prepares runs; the rest is the same for all jobs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from trainer_core import places
from trainer_core.engines.seam import Backend, JobSpec, Place
from trainer_core.engines.status import EngineStatus
from trainer_core.errors import JobError, RunError
from trainer_core.install.place import at_place, check_installed, place_for
from trainer_core.jobs.folder import writing
from trainer_core.jobs.job import Job, attached
from trainer_core.models import hub_repository, tokens
from trainer_core.plan import fields
from trainer_core.plan.elsewhere import is_named_there, is_on_hub
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import LIST, with_paths
from trainer_core.training import hub_need, image_folders, mirror_end, numbers, states
from trainer_core.training.checks import check
from trainer_core.training.facts import facts
from trainer_core.training.folder import KIND, OnTrainer, RunFolder
from trainer_core.training.gpu import steps_on

if TYPE_CHECKING:
    from trainer_core.datasets.scan import Dataset
    from trainer_core.hardware import Machine


class Run(Job):
    """A handle for a run folder. Several processes may have one for the same run; none of them owns it."""

    @classmethod
    def prepare(
        cls,
        plan: TrainingPlan,
        backend: Backend,
        dataset: Dataset | None = None,
        *,
        machine: Machine | None = None,
        folder: Path | None = None,
        chosen: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        into: RunFolder | None = None,
        remote: OnTrainer | None = None,
    ) -> Self:
        """A run that is ready to `launch`: its folder, with the staged dataset and the engine's files.

        `folder` is the folder for run folders, or the run's own folder is the empty one `into`; `dataset` is None only for an engine that needs no images; `chosen` has
        the ids of the "profile", "preset" and "policy" that values of the plan come from, and other entries of its
        versions.json, such as its "gpu"; `environment` has more variables for the engine's programs. With `remote`, the engine is on another machine, which is
        `machine` if it is known.

        Raises:
            JobError: the engine is not installed, the plan has a blocking Problem, or the folder cannot be written.
        """
        if remote is None:
            check_installed(backend)
        check(plan, backend, machine, EngineStatus(installed=True) if remote else None)
        made = into or RunFolder.create(folder or places.runs(), plan.output_stem)
        with contextlib.ExitStack() as undo:
            undo.callback(made.remove)
            captions = _stage(dataset, made, plan) if dataset is not None else {}
            plan, spec, place = rendered(plan, backend, made.path, captions, environment)
            about = facts(plan, len(captions))
            with writing(made.path):
                about |= numbers.of_new(made.path, about["about"])
            versions = {
                **about,
                "engine": backend.manifest.id,
                **({} if remote else {"engine_version": place.version, "engine_python": str(place.python)}),
                **(chosen or {}),
            }
            hardware = machine.to_dict() if machine else {}
            keeps = hub_need.variables(plan, backend.manifest)
            tables = plan.model_dump(exclude_none=True)
            made.write_job(tables, spec, versions, hardware, remote=remote, keeps=keeps)
            undo.pop_all()
        return cls(made)

    @classmethod
    def attach(cls, path: Path) -> Self:
        """The run in a folder, whichever process started it.

        Raises:
            JobError: it is not a job folder, or it is from a newer Easel.
        """
        return cls(RunFolder.open(path))

    @property
    def folder(self) -> RunFolder:
        """The folder of the run, which contains its whole state."""
        return RunFolder(super().folder.path)

    def launch(self) -> None:
        """Starts the supervisor of a prepared run; an engine or a mirror that needs the Hub inherits the token that only this process can find.

        Raises:
            JobError: as for every job.
        """
        spec = self.folder.spec
        plan = spec.details.get("plan")
        named = mirror_end.wanted(plan) if isinstance(plan, Mapping) else ""
        # A run on another machine is mirrored from here.
        needs_token = (spec.kind == KIND and bool(spec.keeps)) or hub_repository.is_place(named)
        with tokens.lent("huggingface") if needs_token else contextlib.nullcontext():
            super().launch()

    @property
    def again(self) -> str:
        """What to do after the run was lost."""
        if states.records(self.folder):
            return f"Resume it: easel runs resume {self.name}"
        return "Start a new run from its plan.toml."

    def saves(self) -> bool | None:
        """Whether the run saves checkpoints before its end, by its plan; None if that cannot be read."""
        try:
            wanted = self.folder.plan.get("output", {})
        except JobError:
            return None
        return any(value for name, value in wanted.items() if name.startswith("save_every"))


def rendered(
    plan: TrainingPlan,
    backend: Backend,
    folder: Path,
    captions: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
) -> tuple[TrainingPlan, JobSpec, Place]:
    """The plan with absolute paths, what its engine renders for a run in `folder`, and the place; nothing is written.

    `captions` are those of the staged images; `environment` has more variables for the engine's programs.
    """
    plan = _with_absolute_paths(plan)
    place = place_for(backend, folder, captions)
    spec = backend.render(at_place(plan, backend.manifest, place), place)
    return plan, dataclasses.replace(spec, steps=steps_on(spec.steps, environment or {})), place


def list_runs(folder: Path) -> list[Run]:
    """The runs in a folder, the one that was started last first. Other folders, and runs from a newer Easel, are skipped."""
    return attached(Run, folder)


def method_of(run: Run) -> str:
    """The training method of a run; "lora" if its folder is damaged or names no known one."""
    setting = fields.all_fields()["model.method"]
    with contextlib.suppress(RunError):
        method = run.folder.plan.get("model", {}).get("method")
        if isinstance(method, str) and method in setting.choices:
            return method
    return str(setting.default)


def _stage(dataset: Dataset, folder: RunFolder, plan: TrainingPlan) -> Mapping[str, str]:
    """Stages the images and returns their captions by file name."""
    try:
        return image_folders.stage(dataset, folder, plan)
    except OSError as error:
        message = f"The images cannot be staged in {folder.path}: {error.strerror or error}."
        raise RunError(message, "Check the free disk space and the permissions.") from error


def _with_absolute_paths(plan: TrainingPlan) -> TrainingPlan:
    """The plan with absolute paths, because supervisor and engine run in the run folder.

    Links to models are resolved here, because sd-scripts resolves the link of an SDXL model itself, and reads a relative
    target as a path below its own folder. A link whose target has another ending (the Hub's cache) is left to the engine.
    """
    flat = fields.flatten(plan.model_dump())
    for setting in fields.paths():
        text = flat[setting.path]
        if text and not (setting.section == "model" and is_named_there(text)) and not is_on_hub(setting.path, text):
            is_models = setting.section == "model"
            flat[setting.path] = _followed(text) if is_models else _absolute(text)
    flat[LIST] = with_paths(flat[LIST], _absolute)
    return TrainingPlan.model_validate(fields.nest(flat))


def _absolute(text: str) -> str:
    return str(places.typed(text).absolute())


def _followed(text: str) -> str:
    path = places.typed(text).absolute()
    target = places.real(path)
    return str(target if target.suffix == path.suffix else path)

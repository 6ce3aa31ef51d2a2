"""The folder of a run: the files that a training job has in addition to those of every job.

    plan.toml        the plan; `easel train plan.toml` trains it again
    hardware.json    the machine
    dataset/         links to the images; the engine works here, never in the user's folder
    output/          the files that the engine writes

`versions.json` also names the engine, its version and Python, and the profile. The details of `spec.json` name the run that
this one continues, if it does; `states.json` has the recorded states (trainer_core.training.states).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core.engines.seam import ArtefactPattern, Artefacts, JobSpec, Metrics, StatePattern
from trainer_core.errors import RunError
from trainer_core.files import read_toml, write_whole
from trainer_core.jobs.folder import JobFolder, writing
from trainer_core.jobs.spec import Spec

KIND = "training"
RESUMES = "resumes"
PLAN_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Origin:
    """The run that another one continues: its name and folder, the step after which, and the name of the state's folder.

    The learning-rate schedule began after step `schedule_from`.
    """

    run: str
    folder: str
    step: int
    state: str
    schedule_from: int = 0


@dataclass(frozen=True)
class RunFolder(JobFolder):
    """The paths of a run's files, its plan, and the job that the backend rendered from the plan."""

    @property
    def dataset(self) -> Path:
        """The staged images."""
        return self.path / "dataset"

    @property
    def output(self) -> Path:
        """The folder that the engine writes into."""
        return self.path / "output"

    @property
    def plan(self) -> dict[str, Any]:
        """The tables of the plan, without the schema version and the engine's id, which the file also contains.

        Raises:
            RunError: the file is damaged.
        """
        # A file name in it that is not UTF-8 keeps its bytes.
        tables = read_toml(self.path / "plan.toml", RunError, bad_bytes="surrogateescape")
        return {name: table for name, table in tables.items() if isinstance(table, dict)}

    @property
    def origin(self) -> Origin | None:
        """The run that this one continues; None if it started at step 0.

        Raises:
            JobError: the file is damaged.
        """
        data = self.spec.details.get(RESUMES)
        try:
            return None if data is None else Origin(**data)
        except TypeError as error:
            raise RunError(f"The spec.json in {self.path} is damaged: {error}.") from error

    @property
    def done_steps(self) -> int:
        """The steps that were trained before this run.

        Raises:
            JobError: the file is damaged.
        """
        return self.origin.step if self.origin else 0

    @property
    def rendered(self) -> JobSpec:
        """The job that the backend rendered from the plan. Its `files` are empty, because they are in this folder.

        Raises:
            JobError: the file is damaged.
        """
        spec = self.spec
        try:
            return _job_spec(spec)
        except (KeyError, TypeError) as error:
            raise RunError(f"The spec.json in {self.path} is damaged: {error}.") from error

    def write_job(
        self,
        plan: Mapping[str, Any],
        spec: JobSpec,
        versions: Mapping[str, Any],
        hardware: Mapping[str, Any],
        origin: Origin | None = None,
    ) -> None:
        """Writes all files that the supervisor needs, `spec.json` last; `origin` is the run that this one continues.

        Raises:
            JobError: a file cannot be written, or the backend wants to write something that is not allowed.
        """
        import tomli_w

        with writing(self.path):
            self.output.mkdir(exist_ok=True)
            for name, text in spec.files.items():
                self._write_native(name, text)
            tables = {"schema_version": PLAN_SCHEMA_VERSION, "engine": spec.backend, **plan}
            write_whole(self.path / "plan.toml", tomli_w.dumps(tables))
            self.write("hardware.json", hardware)
        self.write_spec(_spec(spec, origin), versions)

    def _write_native(self, name: PurePosixPath, text: str) -> None:
        if name.is_absolute() or ".." in name.parts:
            raise RunError(f"The backend wants to write {name}, which is not inside the run folder.")
        write_whole(self.path / name, text)


def _spec(spec: JobSpec, origin: Origin | None) -> Spec:
    """The job as its supervisor reads it, with only the names of its files."""
    details = {
        "backend": spec.backend,
        "files": [str(name) for name in spec.files],
        "metrics": dataclasses.asdict(spec.metrics),
        "artefacts": dataclasses.asdict(spec.artefacts),
        **({RESUMES: dataclasses.asdict(origin)} if origin else {}),
    }
    return Spec(
        KIND, spec.steps, spec.working_directory, spec.stop_signal, total_steps=spec.total_steps, details=details
    )


def _job_spec(spec: Spec) -> JobSpec:
    details = spec.details
    metrics, artefacts = dict(details["metrics"]), details["artefacts"]
    metrics["folder"] = Path(metrics["folder"]) if metrics["folder"] else None
    metrics["learning_rates"] = tuple(metrics["learning_rates"])
    return JobSpec(
        backend=details["backend"],
        files={},
        steps=spec.steps,
        working_directory=spec.working_directory,
        total_steps=spec.total_steps,
        metrics=Metrics(**metrics),
        artefacts=Artefacts(**{kind: _pattern(pattern) for kind, pattern in artefacts.items()}),
        stop_signal=spec.stop_signal,
    )


def _pattern(data: Mapping[str, Any] | None) -> Any:
    """A pattern of artefacts from JSON, which has lists for tuples; None for None."""
    if data is None:
        return None
    known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return StatePattern(**known) if "keep" in known else ArtefactPattern(**known)

"""The folder of a run: the files that a training job has in addition to those of every job.

    plan.toml        the plan; `easel train plan.toml` trains it again
    hardware.json    the machine
    dataset/         links to the images; the engine works here, never in the user's folder
    output/          the files that the engine writes
    requests.json    how often somebody asked the engine for a checkpoint or for samples while it ran
    interrupted      exists if the machine ended the run, and Easel is to resume it when it is next used
    delivered.json   the checkpoints that somebody took, and where they were delivered
    choice.json      which checkpoint the user likes best, and the name of copies

`versions.json` also names the engine, its version and Python, and the profile. The details of `spec.json` name the run that
this one continues, if it does; `states.json` has the recorded states (trainer_core.training.states).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core import places
from trainer_core.engines.seam import ArtefactPattern, Artefacts, Control, JobSpec, Metrics, Request, StatePattern
from trainer_core.errors import RunError
from trainer_core.events import whole
from trainer_core.files import read_toml, write_whole
from trainer_core.jobs.folder import SPEC, JobFolder, writing
from trainer_core.jobs.spec import Spec, Step
from trainer_core.text import printable

KIND = "training"
REMOTE = "remote-training"
KINDS = frozenset({KIND, REMOTE})
"""The kinds of job that are runs: one whose engine runs here, and one whose engine runs on another machine."""
WHERE = "where"
"""The entry of versions.json that says for people where the engine of a run is, if that is not this machine."""
RESUMES = "resumes"
PLAN_SCHEMA_VERSION = 1
GUARD_FILE = "guard.json"
"""The file that says why a guard, which applied to a run that failed, has started nothing."""
DELIVERED, INTERRUPTED = "delivered.json", "interrupted"
_GLOBS = ("needs", "parts", "texts")
"""The entries of a pattern of states that are patterns of files themselves."""
MIRROR_LOG = "mirror.log"
"""What the last pass of the mirror said; its lock, too."""
PLAN = "plan"
"""The key of the plan in the details of spec.json."""


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
class OnTrainer:
    """A run whose engine is on another machine: the program that follows it here, the variables that it inherits, and `where`."""

    step: Step
    keeps: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class RunFolder(JobFolder):
    """The paths of a run's files, its plan, and the job that the backend rendered from the plan."""

    @property
    def dataset(self) -> Path:
        """The staged images."""
        return self.path / "dataset"

    @property
    def class_images(self) -> Path:
        """The staged class images, if the run has some."""
        return self.path / "class_images"

    @property
    def staged(self) -> tuple[Path, ...]:
        """The folders of staged images that are there, the first one first; without those of their masks."""
        more = [path for path in self.path.glob("subset_*") if re.fullmatch(r"subset_\d{1,3}", path.name)]
        more.sort(key=lambda path: int(path.name.partition("_")[2]))
        return tuple(
            path for path in (self.dataset, self.class_images, *more) if path.is_dir() and not path.is_symlink()
        )

    @property
    def output(self) -> Path:
        """The folder that the engine writes into."""
        return self.path / "output"

    @property
    def plan(self) -> dict[str, Any]:
        """The tables of the plan that the job was made from: as recorded in spec.json, in older folders as in plan.toml.

        Raises:
            RunError: the file is damaged.
        """
        details = (self.read(SPEC) or {}).get("details")
        recorded = details.get(PLAN) if isinstance(details, dict) else None
        if isinstance(recorded, dict):
            return {name: table for name, table in recorded.items() if isinstance(table, dict)}
        # A file name in it that is not UTF-8 keeps its bytes.
        tables = read_toml(self.path / "plan.toml", RunError, bad_bytes="surrogateescape", is_own=True)
        return {name: table for name, table in tables.items() if isinstance(table, dict)}

    @property
    def where(self) -> str:
        """The machine on which the engine of the run is, as people read it; "" for this one."""
        if (self.read(SPEC) or {}).get("kind") != REMOTE:
            return ""
        return printable(str(self.versions.get(WHERE) or "another machine"), 200)

    @property
    def guards(self) -> dict[str, Any]:
        """What Easel does by itself if the run ends too early: the settings of the plan.

        Raises:
            RunError: the plan is damaged.
        """
        return self.plan.get("guards", {})

    @property
    def delivered(self) -> dict[str, str]:
        """The paths of checkpoints that were delivered one by one, by their paths relative to this folder."""
        return {name: path for name, path in (self.read(DELIVERED) or {}).items() if isinstance(path, str)}

    @property
    def origin(self) -> Origin | None:
        """The run that this one continues; None if it started at step 0.

        Raises:
            JobError: the file is damaged.
        """
        data = self.spec.details.get(RESUMES)
        try:
            return None if data is None else _origin(data)
        except (TypeError, ValueError) as error:
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
        except (AttributeError, KeyError, TypeError, ValueError, re.error) as error:
            raise RunError(f"The spec.json in {self.path} is damaged: {error}.") from error

    def write_job(
        self,
        plan: Mapping[str, Any],
        spec: JobSpec,
        versions: Mapping[str, Any],
        hardware: Mapping[str, Any],
        origin: Origin | None = None,
        remote: OnTrainer | None = None,
        keeps: tuple[str, ...] = (),
    ) -> None:
        """Writes all files that the supervisor needs, `spec.json` last; `origin` is the run that this one continues.

        `keeps` are variables that may be secret, and that the engine inherits all the same.
        If the engine is on another machine, as `remote` says, none of the engine's own files are written.

        Raises:
            JobError: a file cannot be written, or the backend wants to write something that is not allowed.
        """
        import tomli_w

        with writing(self.path):
            self.output.mkdir(exist_ok=True)
            for name, text in spec.files.items() if remote is None else ():
                self._write_native(name, text)
            for name, folder in spec.folders.items() if remote is None else ():
                self._link(name, folder)
            tables = {"schema_version": PLAN_SCHEMA_VERSION, "engine": spec.backend, **plan}
            write_whole(self.path / "plan.toml", tomli_w.dumps(tables))
            self.write("hardware.json", hardware)
        own = dataclasses.replace(_spec(spec, plan, origin), keeps=keeps)
        if remote is not None:
            own = dataclasses.replace(
                own,
                kind=REMOTE,
                steps=(remote.step,),
                keeps=remote.keeps,
                working_directory=self.path,
                stop_signal="SIGTERM",
            )
            versions = {**versions, WHERE: remote.where}
        self.write_spec(own, versions)

    def _write_native(self, name: PurePosixPath, text: str) -> None:
        write_whole(self.path / _inside(str(name)), text)

    def _link(self, name: PurePosixPath, folder: Path) -> None:
        link = self.path / _inside(str(name))
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(folder, target_is_directory=True)
        except FileExistsError as error:
            message = f"{link} is there already, where the engine needs a link to {folder}."
            raise RunError(message, "Start the run in a folder of its own.") from error
        except OSError as error:
            message = f"The engine needs a link to {folder} in the run folder, which cannot be made: {error.strerror or error}."
            raise RunError(message, "Choose a folder for runs on a file system that has links.") from error


def results_folder(plan: Mapping[str, Any]) -> Path:
    """The folder to which the results of a plan are delivered."""
    wanted = plan.get("output", {}).get("folder")
    return Path(str(wanted)) if wanted else places.outputs()


def results_stem(plan: Mapping[str, Any], run: RunFolder) -> str:
    """The name under which the results of a run are delivered, without a file ending."""
    wanted = plan.get("output", {})
    return str(wanted.get("prefix", "")) + str(wanted.get("name", "")) or run.path.name


def _spec(spec: JobSpec, plan: Mapping[str, Any], origin: Origin | None) -> Spec:
    """The job as its supervisor reads it, with only the names of its files.

    It contains the plan, too: somebody may edit or delete plan.toml while the engine runs.
    """
    details = {
        "backend": spec.backend,
        PLAN: plan,
        "files": [str(name) for name in (*spec.files, *spec.folders)],
        "metrics": dataclasses.asdict(spec.metrics),
        "artefacts": dataclasses.asdict(spec.artefacts),
        "controls": {
            name: {"file": str(control.file), "key": control.key, "effect": control.effect, "when": control.when}
            for name, control in spec.controls.items()
        },
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
    metrics["validation"] = tuple(metrics.get("validation", ()))
    return JobSpec(
        backend=_text(details["backend"]),
        files={},
        steps=spec.steps,
        working_directory=spec.working_directory,
        total_steps=spec.total_steps,
        metrics=Metrics(**metrics),
        artefacts=Artefacts(**{kind: _pattern(pattern) for kind, pattern in artefacts.items()}),
        stop_signal=spec.stop_signal,
        controls=_controls(details.get("controls", {})),
    )


def _text(value: object) -> str:
    """The value, which must be text.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is not text")  # noqa: TRY004 - what reads JSON raises one kind for a wrong value
    return value


def _origin(data: Mapping[str, Any]) -> Origin:
    """The run that another one continues, from JSON that anybody may have written.

    Raises:
        TypeError: an entry is missing or unknown.
        ValueError: an entry has the wrong type.
    """
    found = Origin(**data)
    steps = [whole(found.step), whole(found.schedule_from)]
    texts = (found.run, found.folder, found.state)
    if any(each is None or each < 0 for each in steps) or not all(isinstance(each, str) for each in texts):
        raise ValueError(f"its entry {RESUMES!r} does not name a run and a step")
    return found


def _controls(rows: Mapping[str, Mapping[str, str]]) -> dict[Request, Control]:
    return {
        name: Control(_inside(row["file"]), row["key"], row["effect"], row.get("when", "soon"))
        for name, row in rows.items()
        if name in ("save", "sample")
    }


def _inside(text: str) -> PurePosixPath:
    """The path of a file relative to the run folder.

    Raises:
        RunError: it leads out of the folder.
    """
    name = PurePosixPath(text)
    if name.is_absolute() or ".." in name.parts:
        raise RunError(f"The backend wants to write {name}, which is not inside the run folder.")
    return name


def _pattern(data: Mapping[str, Any] | None) -> Any:
    """A pattern of artefacts from JSON, which has lists for tuples; None for None. Somebody else may have written the folder."""
    if data is None:
        return None
    re.compile(data["pattern"])
    for glob in (data["glob"], *(each for name in _GLOBS for each in data.get(name) or ())):
        if not isinstance(glob, str) or "\0" in glob or not _inside(glob).parts:
            raise ValueError("a pattern of files is empty, or no text")
    if whole(data.get("keep", 0)) is None or not isinstance(data.get("named", ""), str):
        raise ValueError("an entry of the saved states has the wrong type")
    known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return StatePattern(**known) if "keep" in known else ArtefactPattern(**known)

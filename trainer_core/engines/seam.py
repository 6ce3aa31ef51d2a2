"""The interface between Easel and a training engine: what a backend must implement.

A backend turns a `TrainingPlan` into the engine's own files and command, and the engine's output into events.
It is pure: it reads and writes no files and starts no processes. `trainer_core.jobs`, `trainer_core.training` and
`trainer_core.install.environments` do that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Protocol

from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.status import EngineStatus
from trainer_core.events import Event
from trainer_core.hardware import Machine
from trainer_core.jobs.spec import Step
from trainer_core.plan.subsets import FIRST, ImageFolder
from trainer_core.problems import Problem

if TYPE_CHECKING:
    from trainer_core.plan.sections import TrainingPlan


@dataclass(frozen=True)
class ResumePoint:
    """The saved state that a run continues from.

    `state` is its folder, which is in the output folder of the new run; `step` is the last step that was trained before.
    The learning-rate schedule begins after step `schedule_from`: 0, or the step at which a finished run was extended.
    The learning rates in the state are multiplied by `rate_times`.
    """

    state: Path
    step: int
    schedule_from: int = 0
    rate_times: float = 1.0

    @property
    def starts_schedule(self) -> bool:
        """Whether the learning-rate schedule starts anew, so that its saved state is not loaded."""
        return self.schedule_from == self.step


@dataclass(frozen=True)
class Place:
    """The paths and facts of the place where a plan will run. All paths are absolute.

    `run` is the run folder, `dataset` the folder of staged images in it, `output` the folder that the engine writes into,
    `python` the interpreter of the engine's environment, `checkout` its source folder if it has one,
    `version` the installed version, `options` facts about the installation that rendering depends on. `captions` are the
    captions of the staged images by file name, for an engine that reads all of them from one file; before the names of
    further folders is that of the folder, as in "subset_2/1-a.png". `resume` is the state
    that the run continues from, None for a run that starts at step 0; the steps of a plan are those of the whole training.
    """

    run: Path
    dataset: Path
    output: Path
    python: Path
    checkout: Path | None = None
    version: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)
    resume: ResumePoint | None = None

    @property
    def class_images(self) -> Path:
        """The folder of staged class images, which is there if the plan has some."""
        return self.dataset.with_name("class_images")

    def images(self, folder: ImageFolder) -> Path:
        """The folder of the staged images of an image folder of the plan."""
        return self.dataset.with_name(folder.name) if folder.setting != FIRST else self.dataset

    def validation(self, folder: ImageFolder) -> Path:
        """The folder of the staged images that are held out, which is there if the plan holds some out."""
        return self.dataset.with_name(folder.validation_name)

    def masks(self, folder: ImageFolder) -> Path:
        """The folder of the staged masks of an image folder of the plan, which is there if it has some."""
        return self.dataset.with_name(folder.masks_name)

    def controls(self, folder: ImageFolder) -> tuple[Path, ...]:
        """The folders of the staged control images of an image folder of the plan, in the order in which the model is shown them.

        Each has a file for every image of the folder, with the name of the image; the ending may be another than that of its content.
        """
        return tuple(self.dataset.with_name(name) for name in folder.controls_names)

    def path(self, text: str) -> str:
        """The path of a file of the plan at this place: unchanged here; a place on another machine may change it."""
        return text


@dataclass(frozen=True)
class Metrics:
    """Where the engine writes raw loss and learning rate: into TensorBoard event files below `folder`, or into its log."""

    kind: Literal["tensorboard", "log"]
    folder: Path | None = None
    loss: str = ""
    """The TensorBoard tag of the raw loss of a step."""
    learning_rates: tuple[str, ...] = ()
    """The TensorBoard tags that may have the learning rate, best first."""
    validation: tuple[str, ...] = ()
    """The TensorBoard tags of the validation loss; empty if the engine records none."""


@dataclass(frozen=True)
class ArtefactPattern:
    """A pattern of files that an engine writes.

    `glob` is relative to the output folder; `pattern` is a regular expression for the relative path, whose group `step`,
    if it has one, is the step.
    """

    glob: str
    pattern: str


@dataclass(frozen=True)
class StatePattern(ArtefactPattern):
    """A pattern of folders, each with everything that the engine needs to continue a training.

    Without the group `step`, a name stands for the state of the last step. `needs` are patterns of files that a complete
    state contains. `parts` are patterns of the files that only resuming needs; the rest of the folder is a checkpoint and
    stays when the state is removed. Without `parts` the whole folder is the state. `named` is the name of a state of step
    `{step}`, under which a run finds the state that it continues from. `texts` are patterns of files that contain paths of
    the run folder. Of the complete states Easel keeps the newest `keep`.
    """

    needs: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    named: str = ""
    texts: tuple[str, ...] = ()
    keep: int = 0


@dataclass(frozen=True)
class Artefacts:
    """The patterns of the files in the output folder; `states` is None if the engine saves no states in this run."""

    final: ArtefactPattern
    checkpoints: ArtefactPattern
    samples: ArtefactPattern
    states: StatePattern | None = None


Request = Literal["save", "sample"]
"""What a running engine can be asked for: a checkpoint, or samples."""


@dataclass(frozen=True)
class Control:
    """How a running engine is asked for something: Easel raises a number in a JSON file that the engine reads again and again.

    `file` is one of the job's own files, relative to the run folder, and `key` the name of the number in it, which begins
    with 0. `effect` says in one sentence what the engine then does, and when; `when` is that time in a few words.
    """

    file: PurePosixPath
    key: str
    effect: str
    when: str = "soon"


@dataclass(frozen=True)
class JobSpec:
    """Everything needed to run an engine once.

    The files to write (relative to the run folder), the commands to run one after the other (one, unless the engine needs
    separate commands for caching), and where its results will be. The job ends at the first command that fails; the last
    command trains.
    """

    backend: str
    files: Mapping[PurePosixPath, str]
    steps: tuple[Step, ...]
    working_directory: Path
    total_steps: int
    metrics: Metrics
    artefacts: Artefacts
    stop_signal: str = "SIGTERM"
    """The signal that asks the engine to end; an engine that takes too long is killed."""
    controls: Mapping[Request, Control] = field(default_factory=dict)
    """What this job can be asked for while it runs; empty for an engine that cannot be asked."""
    folders: Mapping[PurePosixPath, Path] = field(default_factory=dict)
    """Folders that an engine must find under a path relative to its working directory, the run folder: links there lead to them."""

    @property
    def shown(self) -> dict[str, str]:
        """What a start writes into the run folder, as text by path; for a link the folder that it leads to."""
        links = {str(name): shown_link(folder) for name, folder in self.folders.items()}
        return {str(name): text for name, text in self.files.items()} | links


def shown_link(folder: Path | str) -> str:
    """How a link to a folder is shown where files are shown with their text."""
    return f"a link to {folder}"


class Backend(Protocol):
    """What each backend implements for its engine."""

    manifest: BackendManifest

    def problems(self, plan: TrainingPlan, machine: Machine, status: EngineStatus) -> Sequence[Problem]:
        """The Problems of the plan with this engine on this machine: settings that it does not support, ignores, or fails with."""
        ...

    def render(self, plan: TrainingPlan, place: Place) -> JobSpec:
        """The engine's own files and command for a plan without blocking problems."""
        ...

    def parse(self, line: str) -> Event | None:
        """The event in one line of the engine's output, or None.

        `Progress` and `Step` count optimizer steps; the progress of anything else, such as caching, is a `Phase` with detail.
        """
        ...

"""THE SEAM: what Easel asks of a training engine.

A backend translates a `TrainingPlan` into the engine's own files and command, and the engine's lines into events.
It is pure: it touches no disk and starts no process. Everything with an effect is done by `trainer_core.runs` and
`trainer_core.environments`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

from trainer_core.events import Event
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem


@dataclass(frozen=True)
class DatasetRules:
    """How an engine reads a dataset folder, so that a scan can say what it will see, skip and stumble over.

    `extensions` are lower case with a dot. `any_case`: whether mixed-case endings are seen (sd-scripts sees only
    all-lower and ALL-UPPER). `caption_lines`: "first" line only, or "each" line is a caption of its own. `recursive`:
    whether sub-folders are read. `borrows_captions`: whether a picture without a caption gets that of another name.
    """

    extensions: frozenset[str]
    any_case: bool
    caption_lines: Literal["first", "each"]
    recursive: bool = False
    borrows_captions: bool = False


@dataclass(frozen=True)
class FamilyClaim:
    """What an engine does with one model family.

    `options` are the engine's own words for the family (model_family, bucket_step, ...), `methods` those for each method
    it claims (script, network module, ...). `parts` maps the settings of `ModelSettings` that name a file beside the model
    to the engine's option, `optional_parts` are those of them that may stay empty. `algorithms` are the kinds of network
    it trains for this family.
    """

    family: str
    methods: Mapping[str, Mapping[str, Any]]
    options: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    optional_parts: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ("lora",)

    def needed_parts(self, inside: Collection[str]) -> tuple[str, ...]:
        """The settings of files that must lie beside a model which holds the parts `inside`.

        An engine whose option `parts_inside` is false reads each part from a file of its own.
        """
        there = inside if self.options.get("parts_inside", True) else ()
        return tuple(part for part in self.parts if part not in self.optional_parts and part not in there)

    def cell(self, method: str) -> dict[str, Any]:
        """The engine's words for the family and one of its methods; those of the method win."""
        return {**self.options, **self.methods.get(method, {})}


@dataclass(frozen=True)
class BackendManifest:
    """The data of a `backend.toml`: who the engine is and what it claims.

    `refused` maps a family id to the sentence why this engine does not train it. `hidden` engines exist for tests and
    are never offered. Of several engines for a family the one with the lowest `rank` is chosen. `optimizers` and
    `schedulers` map the names of the catalogue to the engine's spelling. `tables` is the whole parsed file.
    """

    id: str
    title: str
    licence: str
    families: Mapping[str, FamilyClaim]
    refused: Mapping[str, str]
    optimizers: Mapping[str, str]
    dataset: DatasetRules
    schedulers: Mapping[str, str] = field(default_factory=dict)
    diagnosis: Sequence[Mapping[str, str]] = ()
    hidden: bool = False
    needs_installation: bool = True
    rank: int = 100
    tables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a plan is going to run. All paths are absolute.

    `run` is the run folder, `dataset` the folder of staged pictures inside it, `output` where the engine writes,
    `python` the interpreter of the engine's environment, `checkout` its source folder where it has one,
    `version` the installed version, `options` facts about the installation that rendering depends on. `captions` are the
    captions of the staged pictures by file name, for an engine that wants them in a file of its own.
    """

    run: Path
    dataset: Path
    output: Path
    python: Path
    checkout: Path | None = None
    version: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Metrics:
    """Where the engine keeps raw loss and learning rate: its tensorboard event files below `folder`, or its log lines."""

    kind: Literal["tensorboard", "log"]
    folder: Path | None = None
    loss: str = ""
    """The tensorboard tag of the raw loss of a step."""
    learning_rates: tuple[str, ...] = ()
    """The tensorboard tags that may hold the learning rate, best first."""


@dataclass(frozen=True)
class ArtefactPattern:
    """Files an engine writes.

    `glob` is relative to the output folder; `pattern` is a regular expression over the relative path, whose group `step`,
    where it has one, is the step.
    """

    glob: str
    pattern: str


@dataclass(frozen=True)
class Artefacts:
    """What to look for in the output folder."""

    final: ArtefactPattern
    checkpoints: ArtefactPattern
    samples: ArtefactPattern


@dataclass(frozen=True)
class JobSpec:
    """Everything needed to run an engine once.

    The files to write (relative to the run folder), a command (never a shell string), additions to its environment, and
    where its results will be.
    """

    backend: str
    files: Mapping[PurePosixPath, str]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: Path
    total_steps: int
    metrics: Metrics
    artefacts: Artefacts
    stop_signal: str = "SIGTERM"
    """What asks the engine to end; it is killed when it takes too long."""


class Backend(Protocol):
    """Translate between Easel's words and one engine's."""

    manifest: BackendManifest

    def problems(self, plan: TrainingPlan, machine: Machine) -> Sequence[Problem]:
        """What this engine cannot do, or would stumble over, of the plan."""
        ...

    def render(self, plan: TrainingPlan, place: Place) -> JobSpec:
        """The engine's own files and command for a plan without blocking problems."""
        ...

    def parse(self, line: str) -> Event | None:
        """What one line of the engine's output means, or None."""
        ...

"""How a run ended: which state, which files, and why. An exit code of 0 is no success by itself."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core import diagnosis, places
from trainer_core.backend import BackendManifest, JobSpec
from trainer_core.diagnosis import Diagnosis
from trainer_core.errors import RunError
from trainer_core.runs import artefacts, delivery, tail
from trainer_core.runs.directory import RunDirectory
from trainer_core.runs.state import RunState

FULL_DISK_BYTES = 1 << 20


@dataclass
class Outcome:
    """What goes into `result.json`: state, files, what acceptance said, and the diagnosis of a failure."""

    state: RunState
    exit_code: int | None = None
    outputs: list[str] = field(default_factory=list)
    acceptance: dict[str, Any] | None = None
    diagnosis: Diagnosis | None = None
    notices: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """This as JSON data, with the state by name."""
        return {**dataclasses.asdict(self), "state": self.state.name}


def judge(directory: RunDirectory, spec: JobSpec, manifest: BackendManifest, exit_code: int) -> Outcome:
    """The outcome of an engine that ended by itself: COMPLETED with an accepted output, whatever the exit code."""
    # numpy is not needed before an engine has ended.
    from trainer_core.runs import acceptance

    final = artefacts.final_file(directory.output, spec.artefacts)
    plan = directory.plan
    noun = acceptance.noun(plan)
    if final is None:
        return Outcome(RunState.FAILED, exit_code, diagnosis=_nothing_written(directory, manifest, exit_code, noun))
    accepted = acceptance.accept(final, plan)
    record = dataclasses.asdict(accepted)
    if not accepted.ok and exit_code != 0:
        found = _explained(directory, manifest, exit_code)
        return Outcome(RunState.FAILED, exit_code, acceptance=record, diagnosis=found)
    if not accepted.ok:
        cause = f"The finished {noun} cannot be used: {' '.join(accepted.reasons)}"
        advice = (
            "It is kept in the run folder and was not delivered. Try a lower learning rate, or bf16 instead of fp16."
        )
        return Outcome(RunState.FAILED, 0, acceptance=record, diagnosis=Diagnosis("output-refused", cause, "", advice))
    outputs, notices = _deliver(directory, spec, plan.get("output", {}), final, noun)
    if exit_code != 0:
        notices.append(f"The engine failed after its {noun} was whole (exit code {exit_code}); the {noun} is good.")
    return Outcome(RunState.COMPLETED, exit_code, outputs, record, notices=[*accepted.notes, *notices])


def _explained(directory: RunDirectory, manifest: BackendManifest, exit_code: int) -> Diagnosis | None:
    """What the log says of a failure."""
    found = diagnosis.explain(tail.last_lines(directory.log), manifest.diagnosis, exit_code)
    full = shutil.disk_usage(directory.path).free < FULL_DISK_BYTES
    return _disk_full(found) if full and (found is None or found.id == "unknown") else found


def _disk_full(found: Diagnosis | None) -> Diagnosis:
    """The diagnosis for a log without one: on a full disk it ends in the middle of a line."""
    advice = "Free space, or set EASEL_HOME to a larger disk; then start a new run from its plan.toml."
    return Diagnosis("disk-full", "The disk is full.", found.line if found else "", advice)


def not_finite(steps: int, step: int) -> Diagnosis:
    """The diagnosis of a run that was stopped because its loss was no number any more."""
    cause = f"The loss was not a number for {steps} steps in a row, up to step {step}: what was trained was ruined, so the run was stopped."
    advice = "Use a lower learning rate, and bf16 instead of fp16. If it begins at the first step, check the base model and the VAE."
    return Diagnosis("nan-loss", cause, "", advice)


def _nothing_written(directory: RunDirectory, manifest: BackendManifest, exit_code: int, noun: str) -> Diagnosis | None:
    found = _explained(directory, manifest, exit_code)
    if found or exit_code != 0:
        return found
    cause = f"The engine ended without an error and without {'an' if noun == 'embedding' else 'a'} {noun}."
    advice = "Its log, engine.log in the run folder, says what it did; most often it found no pictures it could use."
    return Diagnosis("no-output", cause, "", advice)


def _deliver(
    directory: RunDirectory, spec: JobSpec, wanted: Mapping[str, Any], final: Path, noun: str
) -> tuple[list[str], list[str]]:
    """The files where the user finds them, and what went wrong on the way there; the result is safe in either case."""
    found = artefacts.matching(directory.output, spec.artefacts.checkpoints)
    steps = [(path, int(match["step"])) for path, match in found if "step" in match.groupdict() and path != final]
    folder = Path(wanted["folder"]) if wanted.get("folder") else places.outputs()
    stem = wanted.get("prefix", "") + wanted.get("name", "") or directory.path.name
    written: list[Path] = []
    copies: list[Path] = []
    notices: list[str] = []
    try:
        # What arrives before an error is kept.
        written.extend(delivery.deliver(final, steps, folder, stem))
    except RunError as error:
        if not written:
            return [str(final)], [f"The finished {noun} stays in the run folder. {error}"]
        notices.append(f"Some checkpoints stay in the run folder. {error}")
    try:
        if wanted.get("copy_to"):
            copies.append(delivery.copy_to(written[0], Path(wanted["copy_to"])))
    except RunError as error:
        notices.append(f"The finished {noun} could not be copied. {error}")
    return [str(path) for path in (written[0], *copies, *written[1:])], notices

"""How a run ended: its state, its files, and why. An exit code of 0 alone does not mean success."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.engines import diagnosis
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.seam import JobSpec
from trainer_core.errors import RunError
from trainer_core.jobs import tail
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.jobs.state import JobState
from trainer_core.training import artefacts, delivery
from trainer_core.training.folder import RunFolder

if TYPE_CHECKING:
    from trainer_core.training import finishing

FULL_DISK_BYTES = 1 << 20


@dataclass
class TrainingOutcome(Outcome):
    """How a run ended, with the acceptance of its output."""

    acceptance: dict[str, Any] | None = None


def judge(run: RunFolder, spec: JobSpec, manifest: BackendManifest, exit_code: int) -> TrainingOutcome:
    """The outcome of a run that nobody stopped: COMPLETED if the output is accepted, whatever the exit code."""
    # Imported here because numpy is not needed before an engine has ended.
    from trainer_core.training import acceptance, finishing

    final = artefacts.final_file(run.output, spec.artefacts)
    plan = run.plan
    noun = acceptance.noun(plan)
    if final is None:
        return TrainingOutcome(JobState.FAILED, exit_code, diagnosis=_nothing_written(run, manifest, exit_code, noun))
    accepted = acceptance.accept(final, plan)
    record = dataclasses.asdict(accepted)
    if not accepted.ok and exit_code != 0:
        found = _explained(run, manifest, exit_code)
        return TrainingOutcome(JobState.FAILED, exit_code, acceptance=record, diagnosis=found)
    if not accepted.ok:
        cause = f"The finished {noun} cannot be used: {' '.join(accepted.reasons)}"
        advice = "It stays in the run folder and was not delivered. Try a lower learning rate, or bf16 instead of fp16."
        return TrainingOutcome(
            JobState.FAILED, 0, acceptance=record, diagnosis=Diagnosis("output-refused", cause, "", advice)
        )
    wanted = plan.get("output", {})
    ready = finishing.finish(run, spec, plan, final, _stem(run, wanted))
    record["loads"] = ready.loads
    outputs, notices = _deliver(run, wanted, ready, noun)
    if exit_code != 0:
        notices.append(f"The engine failed after its {noun} was complete (exit code {exit_code}); the {noun} is valid.")
    return TrainingOutcome(
        JobState.COMPLETED, exit_code, outputs, acceptance=record, notices=[*accepted.notes, *notices, *ready.notices]
    )


def _explained(run: RunFolder, manifest: BackendManifest, exit_code: int) -> Diagnosis | None:
    """The diagnosis of a failure: what is certain from the log, else a full disk, else what the log makes likely."""
    found = diagnosis.explain(tail.last_lines(run.log), manifest.diagnosis, exit_code)
    full = shutil.disk_usage(run.path).free < FULL_DISK_BYTES
    return _disk_full(found) if full and not diagnosis.is_certain(found, manifest.diagnosis) else found


def _disk_full(found: Diagnosis | None) -> Diagnosis:
    """The diagnosis of a full disk. The log may end in the middle of a line, or name only what followed from it."""
    advice = "Free space, or set EASEL_HOME to a larger disk; then start a new run from its plan.toml."
    return Diagnosis("disk-full", "The disk is full.", found.line if found else "", advice)


def not_finite(steps: int, step: int) -> Diagnosis:
    """The diagnosis of a run that Easel stopped because its loss was NaN or infinite."""
    cause = f"The loss was not a number (NaN) for {steps} steps in a row, up to step {step}. The trained weights are unusable, so the run was stopped."
    advice = "Use a lower learning rate, and bf16 instead of fp16. If it happens from the first step, check the base model and the VAE."
    return Diagnosis("nan-loss", cause, "", advice)


def _nothing_written(run: RunFolder, manifest: BackendManifest, exit_code: int, noun: str) -> Diagnosis | None:
    found = _explained(run, manifest, exit_code)
    if found or exit_code != 0:
        return found
    cause = f"The engine ended without an error and without {'an' if noun == 'embedding' else 'a'} {noun}."
    advice = "Read engine.log in the run folder; the usual reason is that the engine found no images it can read."
    return Diagnosis("no-output", cause, "", advice)


def _stem(run: RunFolder, wanted: Mapping[str, Any]) -> str:
    return wanted.get("prefix", "") + wanted.get("name", "") or run.path.name


def _deliver(
    run: RunFolder, wanted: Mapping[str, Any], ready: finishing.Finished, noun: str
) -> tuple[list[str], list[str]]:
    """The paths of the delivered files, and notices about failed deliveries; the result stays in the run folder in any case."""
    folder = Path(wanted["folder"]) if wanted.get("folder") else places.outputs()
    written: list[Path] = []
    copies: list[Path] = []
    notices: list[str] = []
    try:
        # Files that were delivered before an error stay.
        written.extend(delivery.deliver(ready.final, ready.checkpoints, folder, _stem(run, wanted)))
    except RunError as error:
        if not written:
            return [str(ready.final)], [f"The finished {noun} stays in the run folder. {error}"]
        notices.append(f"Some checkpoints stay in the run folder. {error}")
    try:
        if wanted.get("copy_to"):
            copies.append(delivery.copy_to(written[0], Path(wanted["copy_to"])))
    except RunError as error:
        notices.append(f"The finished {noun} could not be copied. {error}")
    return [str(path) for path in (written[0], *copies, *written[1:])], notices

"""How a run ended: its state, its files, and why. An exit code of 0 alone does not mean success."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.engines import diagnosis
from trainer_core.errors import RunError
from trainer_core.events import Checked, Checkpoint, Phase
from trainer_core.jobs import tail
from trainer_core.jobs.folder import STOP
from trainer_core.jobs.outcome import Diagnosis, End, Outcome
from trainer_core.jobs.state import JobState
from trainer_core.training import artefacts, delivery
from trainer_core.training.basis import Basis
from trainer_core.training.checking import NOT_TESTED, CheckpointTests
from trainer_core.training.exiting import DOES_NOT_END
from trainer_core.training.folder import RunFolder, results_folder, results_stem

if TYPE_CHECKING:
    from trainer_core.training.acceptance import Acceptance

FULL_DISK_BYTES = 1 << 20
TESTS_S = 900.0
"""The remaining checkpoints are tested for at most this many seconds after the engine has ended."""
TESTS_AFTER_STOP_S = 60.0
"""The same after a stop: somebody waits for its end. Another stop ends them at once."""
NEWEST = "The newest usable checkpoint"
"""How the advice begins that names a checkpoint of the run."""
BEFORE_NAN = "before the loss became NaN"


@dataclass
class TrainingOutcome(Outcome):
    """How a run ended, with the acceptance of its output and the verdicts on its checkpoints.

    `checkpoints` has a dictionary for each checkpoint, by step: "path" (relative to the run folder), "step", "ok" (None if it
    was not tested), "reasons" (why not), "notes", and "delivered" (the path of the delivered copy, or ""). `newest_good` is
    the "path" and "step" of the newest one that can be used; None if there is none.
    """

    acceptance: dict[str, Any] | None = None
    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    newest_good: dict[str, Any] | None = None


@dataclass(frozen=True)
class Seen:
    """What was seen of a run: whether its last step was reached, from which step on all losses were NaN (0: none), and its steps."""

    last_step: bool
    nan_from: int = 0
    steps: int = 0


def conclude(basis: Basis, end: End, seen: Seen, tests: CheckpointTests, write: Callable[..., None]) -> TrainingOutcome:
    """The outcome of a run, whichever way it ended; delivers its results and tests its remaining checkpoints.

    `write` writes events. Needs no file of Easel and nothing of the engine but its output.
    """
    # Loaded already; this module is imported before, when numpy is not needed yet.
    from trainer_core.training import acceptance

    run = basis.run
    stop_asked = _stop_asked(run.path)
    stops_before = stop_asked()
    limit_s = TESTS_AFTER_STOP_S if stops_before or end.how == "stop" else TESTS_S
    write(Phase("checking the result"))
    final = artefacts.final_file(run.output, basis.spec.artefacts) if _may_be_whole(end, seen) else None
    accepted = acceptance.accept(final, basis.plan) if final is not None else None
    ended = _ended(basis, end, seen, accepted, acceptance.noun(basis.plan))
    saved = artefacts.checkpoints(run.path, run.output, basis.spec.artefacts)
    tests.add(*saved)
    if final is not None and accepted is not None:
        # The result can be a checkpoint, too: that of the last step.
        for one in (one for one in saved if run.path / one.path == final):
            tests.know(checked := Checked(one.path, one.step, accepted.ok, accepted.reasons, accepted.moved))
            write(checked)
    remaining = _Remaining(tests, lambda: stop_asked() != stops_before, limit_s, write)
    if ended.state is JobState.COMPLETED and final is not None:
        write(Phase("delivering the result"))
        delivered = _deliver(basis, ended, final, saved, remaining, seen.steps)
    else:
        delivered = run.delivered
    remaining.finish()
    ended.checkpoints = _rows(saved, tests.checked, delivered, seen.nan_from)
    ended.newest_good = _newest_good(ended.checkpoints, seen.nan_from)
    _advise(ended, run.path.name, seen.nan_from)
    return ended


def _may_be_whole(end: End, seen: Seen) -> bool:
    """Whether the file with the name of the result can be the result, and not one of an interrupted training."""
    if end.how in ("by itself", "unseen", "stop"):
        return end.how == "by itself" or seen.last_step
    return end.how == "watch" and end.diagnosis is not None and end.diagnosis.id == DOES_NOT_END.id


def _ended(basis: Basis, end: End, seen: Seen, accepted: Acceptance | None, noun: str) -> TrainingOutcome:
    """The state of a run with its diagnosis and notices, before anything is delivered."""
    record = dataclasses.asdict(accepted) if accepted else None
    if accepted and accepted.ok:
        said = _although(end, noun)
        return TrainingOutcome(JobState.COMPLETED, end.exit_code, acceptance=record, notices=[*accepted.notes, *said])
    state = {"stop": JobState.CANCELLED, "unseen": JobState.LOST}.get(end.how, JobState.FAILED)
    found = _why(basis, end, seen, accepted, noun)
    return TrainingOutcome(state, end.exit_code, acceptance=record, diagnosis=found)


def _although(end: End, noun: str) -> list[str]:
    """The notice of a complete run that did not end as usual."""
    if end.how == "stop":
        return [f"The stop came after the {noun} was complete; the {noun} is valid."]
    if end.how == "unseen":
        return [
            f"Nobody saw how the engine ended, because Easel's supervisor was ended before; the {noun} is complete and valid."
        ]
    if end.how == "watch":
        return [f"The engine did not end after its {noun} was complete, so Easel ended it; the {noun} is valid."]
    if end.exit_code:
        return [f"The engine failed after its {noun} was complete (exit code {end.exit_code}); the {noun} is valid."]
    return []


def _why(basis: Basis, end: End, seen: Seen, accepted: Acceptance | None, noun: str) -> Diagnosis | None:
    """The diagnosis of a run without an accepted result; None after a stop."""
    if end.how == "stop":
        return None
    if end.how == "watch":
        return end.diagnosis
    if end.how == "unseen":
        return end.diagnosis or _unseen(basis, seen, accepted, noun)
    if end.exit_code is None:
        lines = tail.last_lines(basis.run.log)
        advice = f"Check the engine with: easel backends verify {basis.spec.backend}"
        return Diagnosis("not-started", lines[-1] if lines else "The engine could not be started.", "", advice)
    if accepted and end.exit_code == 0:
        cause = f"The finished {noun} cannot be used: {' '.join(accepted.reasons)}"
        advice = "It stays in the run folder and was not delivered. Try a lower learning rate, or bf16 instead of fp16."
        return Diagnosis("output-refused", cause, "", advice)
    found = _explained(basis, end.exit_code)
    return found if found or end.exit_code else _nothing_written(noun)


def _unseen(basis: Basis, seen: Seen, accepted: Acceptance | None, noun: str) -> Diagnosis:
    """The diagnosis of an engine that ended while nobody watched it."""
    known = _explained(basis, None)
    state = "its last step was reached" if seen.last_step else "its last step was not reached"
    result = (
        f"the finished {noun} cannot be used: {' '.join(accepted.reasons)}"
        if accepted
        else f"there is no finished {noun}."
    )
    cause = f"The engine ended while no supervisor of Easel watched it; {state}, and {result}"
    if known is None:
        advice = "The machine may have been restarted, or ran out of memory. Start a new run from its plan.toml."
        return Diagnosis("unseen", cause, "", advice)
    return Diagnosis(known.id, f"{cause} {known.cause}", known.line, known.advice)


def _explained(basis: Basis, exit_code: int | None) -> Diagnosis | None:
    """The diagnosis of a failure: what is certain from the log, else a full disk, else what the log makes likely."""
    known = basis.manifest.diagnosis
    log = basis.run.log
    found = diagnosis.explain(tail.last_lines(log), known, exit_code, is_cut=tail.is_cut(log))
    full = shutil.disk_usage(basis.run.path).free < FULL_DISK_BYTES
    return _disk_full(found) if full and not diagnosis.is_certain(found, known) else found


def _disk_full(found: Diagnosis | None) -> Diagnosis:
    """The diagnosis of a full disk. The log may end in the middle of a line, or name only what followed from it."""
    advice = "Free space, or set EASEL_HOME to a larger disk; then start a new run from its plan.toml."
    return Diagnosis("disk-full", "The disk is full.", found.line if found else "", advice)


def not_finite(steps: int, step: int) -> Diagnosis:
    """The diagnosis of a run that Easel stopped because its loss was NaN or infinite."""
    cause = f"The loss was not a number (NaN) for {steps} steps in a row, up to step {step}. The trained weights are unusable, so the run was stopped."
    advice = "Use a lower learning rate, and bf16 instead of fp16. If it happens from the first step, check the base model and the VAE."
    return Diagnosis("nan-loss", cause, "", advice)


def _nothing_written(noun: str) -> Diagnosis:
    cause = f"The engine ended without an error and without {'an' if noun == 'embedding' else 'a'} {noun}."
    advice = "Read engine.log in the run folder; the usual reason is that the engine found no images it can read."
    return Diagnosis("no-output", cause, "", advice)


def _stop_asked(run: Path) -> Callable[[], int]:
    """When somebody last asked for a stop: each request writes the file again. 0 if nobody did."""

    def asked() -> int:
        try:
            return (run / STOP).stat().st_mtime_ns
        except OSError:
            return 0

    return asked


@dataclass
class _Remaining:
    """The tests of checkpoints that are left when the engine has ended; they are made once, when first needed."""

    tests: CheckpointTests
    cut_short: Callable[[], bool]
    limit_s: float
    write: Callable[..., None]
    is_done: bool = False

    def finish(self) -> None:
        """Makes the tests, as far as there is time."""
        if not self.is_done:
            self.is_done = True
            for checked in self.tests.finish(self.limit_s, self.cut_short):
                self.write(checked)

    def is_good(self, run: Path, path: Path) -> bool:
        """Whether a checkpoint was tested and can be used."""
        self.finish()
        checked = self.tests.checked.get(path.relative_to(run).as_posix())
        return checked is not None and checked.ok


def _deliver(
    basis: Basis,
    ended: TrainingOutcome,
    final: Path,
    saved: Iterable[Checkpoint],
    remaining: _Remaining,
    trained: int,
) -> dict[str, str]:
    """Delivers the result at once, then its good checkpoints; returns the paths of delivered checkpoints by their own paths.

    Files and notices go into `ended`. The result stays in the run folder in any case.
    """
    # Loaded already, as in `conclude`.
    from trainer_core.training import finishing

    run, noun, folder = basis.run, _noun(basis.plan), results_folder(basis.plan)
    stem = results_stem(basis.plan, run)
    ready = finishing.Finishing(run, basis.plan, stem)
    before = _taken(run, folder)
    named = [(run.path / one.path, one.step) for one in saved if one.step and one.path not in before]
    steps = [(path, step) for path, step in named if path != final]
    sources: list[Path] = [final]
    written: list[Path] = []

    def fits(path: Path) -> bool:
        is_good = remaining.is_good(run.path, path)
        # Somebody may take a checkpoint while others are delivered.
        before.update(_taken(run, folder))
        fitting = is_good and path.relative_to(run.path).as_posix() not in before
        if fitting:
            sources.append(path)
        return fitting

    def made(path: Path) -> Path:
        return ready.made_final(path, trained) if path == final else ready.made(path, dict(steps)[path])

    try:
        # Files that were delivered before an error stay.
        written.extend(delivery.deliver(final, steps, folder, stem, fits, made))
    except RunError as error:
        if not written:
            ended.outputs = [str(final)]
            ended.notices.append(f"The finished {noun} stays in the run folder. {error}")
            return before
        ended.notices.append(f"Some checkpoints stay in the run folder. {error}")
    copies = _copy(ended, basis.plan.get("output", {}).get("copy_to"), written[0], noun)
    ended.outputs = [str(path) for path in (written[0], *copies, *written[1:])]
    ended.notices += [*_not_delivered(steps, remaining, run.path), *ready.notices]
    if ended.acceptance is not None:
        ended.acceptance["loads"] = ready.loads
    placed = zip(sources, written, strict=False)
    return before | {source.relative_to(run.path).as_posix(): str(target) for source, target in placed}


def _taken(run: RunFolder, folder: Path) -> dict[str, str]:
    """The checkpoints that somebody has already taken to this folder, each with its path there."""
    return {path: place for path, place in run.delivered.items() if Path(place).parent == folder}


def _copy(ended: TrainingOutcome, folder: str | None, written: Path, noun: str) -> list[Path]:
    """The copy of the delivered result in the second folder of a plan, if it has one."""
    try:
        return [delivery.copy_to(written, Path(folder))] if folder else []
    except RunError as error:
        ended.notices.append(f"The finished {noun} could not be copied. {error}")
        return []


def _not_delivered(steps: Iterable[tuple[Path, int]], remaining: _Remaining, run: Path) -> list[str]:
    """The notices about checkpoints that were not delivered because they cannot be used, or were not tested."""
    said = []
    for path, step in steps:
        checked = remaining.tests.checked.get(path.relative_to(run).as_posix())
        if checked is None or not checked.ok:
            why = " ".join(checked.reasons) if checked else NOT_TESTED
            said.append(f"The checkpoint of step {step} was not delivered. {why}")
    return said


def _noun(plan: Mapping[str, Any]) -> str:
    from trainer_core.training import acceptance

    return acceptance.noun(plan)


def _rows(
    saved: Iterable[Checkpoint], checked: Mapping[str, Checked], delivered: Mapping[str, str], nan_from: int
) -> list[dict[str, Any]]:
    """The verdicts on the checkpoints, for `result.json`."""
    rows = []
    for one in saved:
        found = checked.get(one.path)
        after = bool(nan_from) and one.step >= nan_from
        notes = (
            ["It was saved after the loss had become NaN; its values are finite."]
            if after and found and found.ok
            else []
        )
        rows.append(
            {
                "path": one.path,
                "step": one.step,
                "ok": found.ok if found else None,
                "reasons": list(found.reasons) if found else [NOT_TESTED],
                "notes": notes,
                "delivered": delivered.get(one.path, ""),
            }
        )
    return rows


def _newest_good(rows: Iterable[Mapping[str, Any]], nan_from: int) -> dict[str, Any] | None:
    """The newest good checkpoint; after a NaN loss the newest from before it, if there is one."""
    good = [row for row in rows if row["ok"]]
    before = [row for row in good if not nan_from or row["step"] < nan_from]
    newest = max(before or good, key=lambda row: row["step"], default=None)
    return None if newest is None else {"path": newest["path"], "step": newest["step"]}


def _advise(ended: TrainingOutcome, name: str, nan_from: int) -> None:
    """Adds to the advice of a NaN loss or a lost run which checkpoint can be used."""
    found, newest = ended.diagnosis, ended.newest_good
    if found is None or newest is None or not (nan_from or ended.state is JobState.LOST):
        return
    when = f" from {BEFORE_NAN}" if nan_from and newest["step"] < nan_from else ""
    words = f"{NEWEST}{when} is that of step {newest['step']}, {newest['path']}; take it with: easel runs use {name}"
    ended.diagnosis = dataclasses.replace(found, advice=f"{found.advice} {words}")

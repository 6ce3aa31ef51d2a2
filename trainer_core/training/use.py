"""The checkpoints of a run, whatever state it is in: which there are, which can be used, and how to take one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import JobError, RunError, wrong_use
from trainer_core.events import Checkpoint
from trainer_core.jobs.alone import alone
from trainer_core.jobs.folder import writing
from trainer_core.text import printable
from trainer_core.training import artefacts, choice, delivery
from trainer_core.training.checking import NOT_TESTED, tested
from trainer_core.training.folder import DELIVERED, RunFolder, results_folder
from trainer_core.training.run import Run

MOST_STEPS = 12
"""So many deleted checkpoints are named in a sentence."""


@dataclass(frozen=True)
class Saved:
    """A checkpoint of a run.

    `path` is absolute. `ok` is whether it can be used, None if it was not tested; `reasons` are sentences why not.
    `delivered` is where it was delivered, None if it was not, or if it is no longer there. `notices` are sentences about a
    delivery that is done.
    """

    path: Path
    step: int
    size_bytes: int
    ok: bool | None
    reasons: tuple[str, ...] = ()
    delivered: Path | None = None
    notices: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The checkpoint as JSON data."""
        return {
            "path": str(self.path),
            "step": self.step,
            "size_bytes": self.size_bytes,
            "ok": self.ok,
            "reasons": list(self.reasons),
            "delivered": str(self.delivered) if self.delivered else "",
            **({"notices": list(self.notices)} if self.notices else {}),
        }


def saved(run: Run) -> list[Saved]:
    """The checkpoints of a run, by step. The verdicts are those that were recorded; nothing is tested now.

    Raises:
        JobError: the spec.json of the run is damaged.
    """
    folder = run.folder
    verdicts, delivered = _verdicts(run), _delivered(run)
    found = []
    for one in artefacts.checkpoints(folder.path, folder.output, folder.rendered.artefacts):
        path = folder.path / one.path
        ok, reasons = verdicts.get(one.path, (None, (NOT_TESTED,)))
        size = artefacts.size_of(path)
        found.append(Saved(path, one.step, size[1] if size else 0, ok, reasons, delivered.get(one.path)))
    return found


def removed(run: Run) -> tuple[Checkpoint, ...]:
    """The checkpoints that the engine has deleted because the plan keeps only the newest (`output.keep_last`), by step."""
    output = run.folder.plan.get("output")
    if not isinstance(output, Mapping) or not output.get("keep_last"):
        return ()
    gone = {one.path: one for one in run.summary.checkpoints if not (run.folder.path / one.path).exists()}
    return tuple(sorted(gone.values(), key=lambda one: one.step))


def removal(run: Run) -> str:
    """A sentence about the checkpoints that the engine has deleted as the plan asks for; "" if there are none."""
    steps = [f"{one.step:,}" for one in removed(run)]
    if not steps:
        return ""
    many = f"checkpoint{'s' if len(steps) > 1 else ''} of step{'s' if len(steps) > 1 else ''}"
    shown = ", ".join(steps[:MOST_STEPS]) + (f" and {len(steps) - MOST_STEPS} more" if len(steps) > MOST_STEPS else "")
    return f"The engine deleted the {many} {shown}, because the plan keeps only the newest (output.keep_last)."


def newest_good(run: Run) -> Saved | None:
    """The newest checkpoint that is known to be usable, after a NaN loss the newest from before; None if there is none.

    Raises:
        JobError: as `saved`.
    """
    return newest_of(run, saved(run))


def newest_of(run: Run, every: Sequence[Saved]) -> Saved | None:
    """As `newest_good`, among checkpoints of the run that were read before."""
    good = [one for one in every if one.ok]
    named = (run.result or {}).get("newest_good")
    step = named.get("step") if isinstance(named, Mapping) else None
    return next((one for one in good if one.step == step), good[-1] if good else None)


def use(run: Run, step: int | None = None, folder: Path | None = None) -> Saved:
    """Delivers a checkpoint under the user's name, and returns it with the path where it was delivered.

    `step` is by default that of the newest good checkpoint; `folder` that of the run's results. A checkpoint that was not
    tested is tested first. One that was delivered there before is not delivered again. If the delivery cannot be recorded,
    as on a full disk, a notice says so.

    Raises:
        RunError: there is no such checkpoint, it cannot be used, or the folder cannot be written.
        JobError: the run folder is damaged.
    """
    chosen = _of_step(run, step) if step is not None else _newest(run)
    plan = run.folder.plan
    if not chosen.ok:
        chosen = _tested(chosen, plan)
    if not chosen.ok:
        raise RunError(
            f"The checkpoint of step {chosen.step} cannot be used: {' '.join(chosen.reasons)}",
            f"`easel runs checkpoints {run.name}` shows all checkpoints of the run.",
        )
    target = folder or results_folder(plan)
    if not target.is_absolute():
        raise RunError(f"{printable(str(target), 200)} is not an absolute path.", "Give the whole path of the folder.")
    refuse_own_folder(run.folder, target)
    with alone(run.folder.output):
        refuse_deleted(run)
        return _delivered_once(run, plan, chosen, target)


def _delivered_once(run: Run, plan: Mapping[str, Any], chosen: Saved, target: Path) -> Saved:
    """The checkpoint, delivered to a folder unless it is there already."""
    own = chosen.path.relative_to(run.folder.path).as_posix()
    there = _delivered(run).get(own)
    if there is not None and there.parent == target:
        return replace(chosen, delivered=there)
    stem = choice.stem_of(run.folder) + delivery.step_ending(chosen.step)
    # Loads much, and a notebook that only lists checkpoints does not need it.
    from trainer_core.training import finishing

    ready = finishing.Finishing(run.folder, plan, stem)
    placed = next(delivery.deliver(chosen.path, (), target, stem, made=lambda path: ready.made(path, chosen.step)))
    return replace(chosen, delivered=placed, notices=(*ready.notices, *note_delivered(run, chosen.path, placed)))


def note_delivered(run: Run, path: Path, placed: Path) -> tuple[str, ...]:
    """Records where a checkpoint was delivered; returns a sentence if that is not possible: the delivery is done."""
    own = path.relative_to(run.folder.path).as_posix()
    try:
        with writing(run.folder.path), alone(run.folder.path):
            run.folder.write(DELIVERED, {**run.folder.delivered, own: str(placed)})
    except JobError as error:
        return (f"The run does not show that it was delivered: {error}",)
    return ()


def _verdicts(run: Run) -> dict[str, tuple[bool | None, tuple[str, ...]]]:
    """The recorded verdicts by path: from the events, or from the result when there is one. A run folder is untrusted."""
    found: dict[str, tuple[bool | None, tuple[str, ...]]] = {
        path: (one.ok is True, _sentences(one.reasons)) for path, one in run.summary.checked.items()
    }
    rows = (run.result or {}).get("checkpoints")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and isinstance(row.get("ok"), bool):
            found[str(row.get("path"))] = row["ok"], _sentences(row.get("reasons"))
    return found


def _sentences(reasons: object) -> tuple[str, ...]:
    return tuple(printable(str(each), 500) for each in reasons) if isinstance(reasons, list | tuple) else ()


def _delivered(run: Run) -> dict[str, Path]:
    """Where checkpoints were delivered, as far as the copies are still there."""
    rows = (run.result or {}).get("checkpoints")
    named = {
        str(row.get("path")): str(row.get("delivered") or "")
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict)
    }
    known = {**named, **run.folder.delivered}
    return {name: Path(place) for name, place in known.items() if place and places.is_there(Path(place))}


def _of_step(run: Run, step: int) -> Saved:
    found = saved(run)
    chosen = next((one for one in found if one.step == step), None)
    if chosen is None:
        steps = ", ".join(str(one.step) for one in found) or "none"
        said = f"The run {run.name} has no checkpoint of step {step}. It has: {steps}."
        raise wrong_use(RunError(said, removal(run)))
    return chosen


def _newest(run: Run) -> Saved:
    """The newest good checkpoint; without one, the newest that passes the test now, whatever an earlier test said."""
    if (known := newest_good(run)) is not None:
        return known
    found, plan = saved(run), run.folder.plan
    for one in reversed(found):
        if (now := _tested(one, plan)).ok:
            return now
    if not found:
        raise RunError(
            f"The run {run.name} has no checkpoint.",
            "Set output.save_every_steps before the next run, so that it saves some.",
        )
    last = _tested(found[-1], plan)
    raise RunError(
        f"None of the {len(found)} checkpoints of {run.name} can be used. That of step {last.step}: {' '.join(last.reasons)}"
    )


def _tested(one: Saved, plan: Mapping[str, Any]) -> Saved:
    """A checkpoint with the verdict of a test that is made now."""
    found = tested(one.path, plan)
    return replace(one, ok=found["ok"], reasons=tuple(found["reasons"]))


def refuse_deleted(run: Run) -> None:
    """Checks that the folder of a run is still there.

    Raises:
        RunError: the run was deleted meanwhile.
    """
    if not places.is_folder(run.folder.path):
        raise RunError(
            f"The run {run.name} was deleted meanwhile, so nothing was delivered.",
            f"Bring it back first: easel runs trash restore {run.name}",
        )


def refuse_own_folder(run: RunFolder, target: Path) -> None:
    """Refuses a folder inside the run folder: what lies there disappears with the run."""
    if places.real(target).is_relative_to(places.real(run.path)):
        raise RunError(f"{target} is inside the run folder.", "Choose another folder.")

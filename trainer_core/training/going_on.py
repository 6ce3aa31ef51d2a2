"""What continuing a run would do, as sentences for a person: they read them before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.training import resume

if TYPE_CHECKING:
    from trainer_core.training.resume import Proposal

PICKLES = "A state contains pickle files, which can run code when they are loaded."


def headline(found: Proposal) -> str:
    """What the new run does, in one sentence."""
    verb = "Extends" if found.extends else "Resumes"
    return f"{verb} {found.run.name} after step {found.step:,}: steps {found.step + 1:,} to {found.total:,}."


def sentences(found: Proposal) -> list[str]:
    """What continues, what starts anew, the learning rate, and the disk space."""
    data = found.as_dict()
    said = [f"Continues: {', '.join(found.continuation.continues)}."]
    said += [f"Differs: {text}" for text in found.continuation.restarts]
    said.append(resume.learning_rate(found))
    if data["exact"]:
        said.append("Every step has the learning rate that it would have had without the interruption.")
    size, free = data["state_bytes"] / resume.GIB, data["free_disk_bytes"] / resume.GIB
    said.append(f"State: {found.state.path.name}, {size:.2f} GiB. Free disk space: {free:.1f} GiB.")
    return said


def warnings(found: Proposal) -> list[str]:
    """What the user should know and agree to."""
    return [*found.notes, *([f"{found.distrust} {PICKLES}"] if found.distrust else []), *found.warnings]

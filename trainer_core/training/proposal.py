"""What a proposed continuation of a run will do, as labelled sentences: for the command line and the notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.text import size

if TYPE_CHECKING:
    from trainer_core.training.resume import Proposal

WARNING = "warning"
PICKLES = "A state contains pickle files, which can run code when they are loaded."


def headline(found: Proposal) -> str:
    """What is continued, in a sentence."""
    verb = "Extends" if found.extends else "Resumes"
    return f"{verb} {found.run.name} after step {found.step}: steps {found.step + 1} to {found.total}."


def lines(found: Proposal) -> list[tuple[str, str]]:
    """(label, text) of everything that the user should know before it starts; the label "warning" marks what may be wrong."""
    # Imported here: the command line takes its help from this module.
    from trainer_core.training.resume import learning_rate

    data = found.as_dict()
    rows = [
        ("state", f"{found.state.path}, {size(data['state_bytes'])}"),
        ("continues", ", ".join(found.continuation.continues)),
        *(("differs", text) for text in found.continuation.restarts),
        ("learning rate", learning_rate(found)),
    ]
    if data["exact"]:
        rows.append(("exact", "Every step has the learning rate that it would have had without the interruption."))
    rows.append(("free disk space", size(data["free_disk_bytes"])))
    told = (*found.notes, *([f"{found.distrust} {PICKLES}"] if found.distrust else ()), *found.warnings)
    return [*rows, *((WARNING, text) for text in told)]


def sentences(found: Proposal) -> list[str]:
    """The same without the warnings, each as one line."""
    return [f"{label.capitalize()}: {text}" for label, text in lines(found) if label != WARNING]


def warnings(found: Proposal) -> list[str]:
    """What may be wrong."""
    return [text for label, text in lines(found) if label == WARNING]

"""Rules for what an engine loads from the Hugging Face Hub when it starts."""

from __future__ import annotations

from collections.abc import Iterator

from trainer_core.draft.checks.case import Case
from trainer_core.problems import Fix, Problem, Task
from trainer_core.text import size

TOOL = "hub-files"
FETCH = "Fetch the files now"
WHY = {
    "off": "and the Hub is switched off (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE)",
    "no": "and the Hub cannot be reached from here",
    "unknown": "and it is not known yet whether the Hub can be reached",
    "yes": "so the engine downloads {them} when it starts",
}


def hub_files_are_there(case: Case) -> Iterator[Problem]:
    """The engine finds what it loads from the Hub, or can download it: else it stops after the model was chosen and the run made."""
    found = case.facts.hub
    if case.backend is None or found is None or not found.missing:
        return
    title, rows = case.backend.manifest.title, found.missing
    what = " and ".join(row.title for row in rows)
    are, them = ("is", "it") if len(rows) == 1 else ("are", "them")
    message = f"{title} needs {what} from the Hugging Face Hub ({size(sum(row.bytes for row in rows))}), which {are} not on this machine"
    message = f"{message}, {WHY[found.reach].format(them=them)}."
    if found.reach in ("off", "no"):
        more = f" Easel can make {them} here, without the Hub: use “{FETCH}”." if found.obtainable else ""
        message = f"{message} The training would stop at once.{more}"
    severity = {"off": "error", "no": "error", "unknown": "warning", "yes": "info"}[found.reach]
    yield Problem("", severity, message, _fix(case, found.obtainable or found.reach in ("yes", "unknown"), them))  # type: ignore[arg-type]


def _fix(case: Case, can_be_had: bool, them: str) -> Fix:
    """The work that brings the files, if it can be done here; else what the user can do."""
    assert case.backend is not None
    engine, family = case.backend.manifest.id, case.plan.model.family
    task = Task(TOOL, {"engine": engine, "family": family}, "")
    if can_be_had:
        return Fix(FETCH, task=task)
    return Fix(
        f"Connect this machine to the Hub and run: {task.command}. Or run that on a connected machine, and copy {them} from there: "
        "the command says where it puts the files."
    )

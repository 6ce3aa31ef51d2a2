"""Rules for what an engine loads from the Hugging Face Hub when it starts."""

from __future__ import annotations

from collections.abc import Iterator

from trainer_core.draft.checks.case import Case
from trainer_core.models import variants
from trainer_core.problems import Fix, Problem, Task
from trainer_core.text import size

TOOL = "hub-files"
FETCH = "Fetch the files now"
WHY = {
    "off": "The Hub is switched off (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE), so the training would stop at once.",
    "no": "The Hugging Face Hub cannot be reached, so the training would stop at once.",
    "unknown": "It is not known yet whether the Hugging Face Hub can be reached.",
    "yes": "The engine downloads {them} from the Hugging Face Hub when it starts.",
}
TOKENIZER = "the tokenizer of "
NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six")


def hub_files_are_there(case: Case) -> Iterator[Problem]:
    """The engine finds what it loads from the Hub, or can download it: else it stops after the model was chosen and the run made."""
    found = case.facts.hub
    if case.backend is None or found is None or not found.missing:
        return
    rows = found.missing
    are, them = ("is", "it") if len(rows) == 1 else ("are", "them")
    names = " and ".join(row.title for row in rows)
    if len(rows) > 1 and all(row.title.startswith(TOKENIZER) for row in rows):
        names = f"{NUMBERS[len(rows)] if len(rows) < len(NUMBERS) else len(rows)} tokenizers"
    what = f"{names[:1].upper()}{names[1:]} {are} missing ({size(sum(row.bytes for row in rows))})."
    message = f"{what} {f'Easel can make {them} here.' if found.obtainable else WHY[found.reach].format(them=them)}"
    severity = {"off": "error", "no": "error", "unknown": "warning", "yes": "info"}[found.reach]
    yield Problem("", severity, message, _fix(case, found.obtainable or found.reach in ("yes", "unknown"), them))  # type: ignore[arg-type]


def _fix(case: Case, can_be_had: bool, them: str) -> Fix:
    """The work that brings the files, if it can be done here; else what the user can do."""
    assert case.backend is not None
    engine, family = case.backend.manifest.id, case.plan.model.family
    variant = case.plan.model.variant or variants.likely(family, case.facts.detection)
    # Where it makes no difference, the command stays short.
    differs = case.claim is not None and bool(case.claim.variant_hub)
    task = Task(TOOL, {"engine": engine, "family": family, **({"variant": variant} if variant and differs else {})}, "")
    if can_be_had:
        return Fix(FETCH, task=task)
    return Fix(
        f"Connect this machine to the Hub and run: {task.command}. Or run that on a connected machine, and copy {them} from there: "
        "the command says where it puts the files."
    )

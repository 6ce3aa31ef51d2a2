"""Rules from what an engine's claim of a family says before a start."""

from __future__ import annotations

from collections.abc import Iterator

from trainer_core.draft.checks.case import Case
from trainer_core.plan import fields
from trainer_core.problems import Fix, Problem


def family_is_proved(case: Case) -> Iterator[Problem]:
    """The engine was tried with real weights of the family."""
    if case.claim is not None and case.claim.unproved:
        message = f"Training this family with {_engine(case)} is not proved on real weights. {case.claim.unproved}"
        yield Problem("model.family", "info", message)


def notes_are_read(case: Case) -> Iterator[Problem]:
    """What else the claim says of the family."""
    for note in case.claim.notes if case.claim is not None else ():
        yield Problem("model.family", "info", note)


def settings_are_not_replaced(case: Case) -> Iterator[Problem]:
    """No setting has a number that the engine replaces by its own for this family."""
    values = fields.flatten(case.plan.model_dump())
    for path, forced in (case.claim.forced if case.claim is not None else {}).items():
        if not forced.allows(values[path]):
            message = f"{_engine(case)} uses {forced.value:g} here for this family: {forced.why}"
            yield Problem(path, "warning", message, Fix(f"Use {forced.value:g}", {path: forced.value}))


def _engine(case: Case) -> str:
    return case.backend.manifest.title if case.backend else "this engine"

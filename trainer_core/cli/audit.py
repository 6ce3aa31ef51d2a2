"""`easel backends audit`: what Easel does with every option of an engine, and what another version changed."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.engines import audit as accounts
from trainer_core.engines import registry
from trainer_core.engines.option_rules import OptionRules
from trainer_core.engines.seam import Backend
from trainer_core.errors import EaselError, wrong_use
from trainer_core.install import environments

UNACCOUNTED = 1
"""The exit code when an option has no decision."""

_STATUS_TITLES = {
    "mapped": "follows from settings",
    "fixed": "fixed by Easel",
    "owned": "reserved for Easel, not written here",
    "native": "native",
    "refused": "refused",
    "ignored": "not used here",
    "other family": "for other model families",
    "unaccounted": "UNACCOUNTED",
}


@click.command("audit")
@click.argument("name")
@click.option("--program", default="", help="Only this program, with all of its options.")
@click.option(
    "--against",
    default="",
    help="A folder of recorded options to compare with, or installed, for the installed engine.",
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def audit(name: str, program: str, against: str, as_json: bool) -> None:
    """Show what Easel does with every option of an engine.

    The options come from the record that Easel ships; --against installed compares it with the installed engine.
    The exit code is 1 when an option has no decision.
    """
    backend = registry.get(name)
    if backend.manifest.options == OptionRules():
        raise EaselError(f"{backend.manifest.title} has no options of its own.")
    missing = _compare(backend, program, against, as_json) if against else _account(backend, program, as_json)
    if missing:
        sys.exit(UNACCOUNTED)


def _account(backend: Backend, program: str, as_json: bool) -> bool:
    found = list(accounts.audit(backend, program))
    if not found:
        known = ", ".join(accounts.records(backend.manifest.schema))
        raise wrong_use(
            EaselError(f"{backend.manifest.title} has no program called {program!r:.80}.", f"Known: {known}.")
        )
    if as_json:
        show.as_json([{**dataclasses.asdict(entry), "counts": entry.count()} for entry in found])
    else:
        _show(found, whole=bool(program))
        versions = ", ".join(sorted({entry.version for entry in found}))
        ask = f"To compare with the installed engine: easel backends audit {backend.manifest.id} --against installed"
        show.line(f"From the record that Easel ships for {versions}. {ask}", "dim")
    return any(entry.unaccounted for entry in found)


def _show(found: Sequence[accounts.ProgramAudit], *, whole: bool) -> None:
    shown = [status for status in _STATUS_TITLES if status != "unaccounted"]
    show.table(
        ("program", "trains", "options", *shown, "unaccounted"),
        (
            (
                entry.record,
                ", ".join(f"{family} {method}" for family, method in entry.cells) or "-",
                len(entry.options),
                *(entry.count().get(status, 0) or "" for status in shown),
                len(entry.unaccounted),
            )
            for entry in found
        ),
    )
    for entry in found:
        if whole:
            show.line()
            rows = ((option.name, _STATUS_TITLES[option.status], _because(option)) for option in entry.options)
            show.table(("option", "status", "reason"), rows)
        for option in entry.unaccounted:
            show.line(f"{entry.program}: no decision about {option}.", "bold red")


def _because(option: accounts.Audited) -> str:
    return "; ".join(part for part in (", ".join(option.settings), option.reason) if part)


def _compare(backend: Backend, program: str, against: str, as_json: bool) -> bool:
    folder = Path(against)
    if against == "installed":
        folder = environments.record_options(backend.manifest.id, report=show.notice if as_json else show.line)
    ours, theirs = accounts.records(backend.manifest.schema), accounts.records(folder)
    if not theirs:
        raise EaselError(f"There are no recorded options in {folder}.")
    if not any(cell.program for claim in backend.manifest.families.values() for cell in claim.methods.values()):
        # There is only one program, and its record is named after its version.
        newest = ours[accounts.program_of(backend.manifest)]
        ours = {record: ours.get(record, newest) for record in theirs}
    wanted = [found for found in accounts.compare(ours, theirs) if program in ("", found.record)]
    decided = {
        found.record: {name: accounts.decided(backend.manifest, found.record, name).kind for name in found.came}
        for found in wanted
    }
    if as_json:
        show.as_json([{**dataclasses.asdict(found), "decided": decided[found.record]} for found in wanted])
    else:
        _show_differences(wanted, decided)
        show.line(f"Compared the record that Easel ships, {backend.manifest.schema}, with {folder}.", "dim")
    return any(kind == "unaccounted" for kinds in decided.values() for kind in kinds.values())


def _show_differences(found: Sequence[accounts.Difference], decided: Mapping[str, Mapping[str, Any]]) -> None:
    if not found:
        show.line("The records are the same.")
        return
    rows: list[tuple[object, ...]] = []
    for difference in found:
        rows += [
            (difference.record, "added", name, _STATUS_TITLES[decided[difference.record][name]])
            for name in difference.came
        ]
        rows += [(difference.record, "removed", name, "") for name in difference.went]
        rows += [
            (difference.record, "changed", name, f"{what}: {old!r} became {new!r}")
            for name, what, old, new in difference.changed
        ]
    show.table(("program", "change", "option", "details"), rows)

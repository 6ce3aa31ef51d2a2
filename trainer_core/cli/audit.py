"""`easel backends audit`: every option of an engine accounted for, and what another version changed."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from trainer_core import audit as accounts
from trainer_core import engine_options, registry
from trainer_core.backend import Backend
from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.errors import EaselError

UNACCOUNTED = 1
"""The exit code when nothing is decided about some option."""

_WORDS = {
    "mapped": "follows from settings",
    "fixed": "fixed by Easel",
    "owned": "Easel's, and not written here",
    "native": "native",
    "refused": "refused",
    "ignored": "of no use here",
    "other family": "of other model families",
    "unaccounted": "UNACCOUNTED",
}


@click.command("audit")
@click.argument("name")
@click.option("--program", default="", help="One program only, with every option of it.")
@click.option("--against", default="", help="A folder of recorded options to compare with, or: installed.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def audit(name: str, program: str, against: str, as_json: bool) -> None:
    """Account for every option of an engine.

    The exit code is 1 when nothing is decided about one.
    """
    backend = registry.get(name)
    if not accounts.rules_of(backend.manifest):
        raise EaselError(f"{backend.manifest.title} has no options of its own.")
    missing = _compare(backend, program, against, as_json) if against else _account(backend, program, as_json)
    if missing:
        sys.exit(UNACCOUNTED)


def _account(backend: Backend, program: str, as_json: bool) -> bool:
    found = list(accounts.audit(backend, program))
    if not found:
        known = ", ".join(accounts.records(accounts.rules_of(backend.manifest)["schema"]))
        raise EaselError(f"{backend.manifest.title} has no program called {program!r:.80}.", f"Known: {known}.")
    if as_json:
        show.as_json([{**dataclasses.asdict(entry), "counts": entry.count()} for entry in found])
    else:
        _show(found, whole=bool(program))
    return any(entry.unaccounted for entry in found)


def _show(found: Sequence[accounts.ProgramAudit], *, whole: bool) -> None:
    shown = [status for status in _WORDS if status != "unaccounted"]
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
            rows = ((option.name, _WORDS[option.status], _because(option)) for option in entry.options)
            show.table(("option", "is", "because of"), rows)
        for option in entry.unaccounted:
            show.line(f"{entry.program}: nothing is decided about {option}.", "bold red")


def _because(option: accounts.Audited) -> str:
    return "; ".join(part for part in (", ".join(option.settings), option.reason) if part)


def _compare(backend: Backend, program: str, against: str, as_json: bool) -> bool:
    rules = accounts.rules_of(backend.manifest)
    folder = engine_options.dump_folder(backend.manifest.id) if against == "installed" else Path(against)
    ours, theirs = accounts.records(rules["schema"]), accounts.records(folder)
    if not theirs:
        hint = f"Record them with: easel backends verify {backend.manifest.id}" if against == "installed" else ""
        raise EaselError(f"There are no recorded options in {folder}.", hint)
    if "program" not in rules:
        # There is one program, whose record is named by its version.
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
    return any(kind == "unaccounted" for kinds in decided.values() for kind in kinds.values())


def _show_differences(found: Sequence[accounts.Difference], decided: Mapping[str, Mapping[str, Any]]) -> None:
    if not found:
        show.line("The records agree.")
        return
    rows: list[tuple[object, ...]] = []
    for difference in found:
        rows += [
            (difference.record, "came", name, _WORDS[decided[difference.record][name]]) for name in difference.came
        ]
        rows += [(difference.record, "went", name, "") for name in difference.went]
        rows += [
            (difference.record, "changed", name, f"{what}: {old!r} became {new!r}")
            for name, what, old, new in difference.changed
        ]
    show.table(("program", "", "option", "what"), rows)

"""Audits the options of an engine: which settings determine each, or why it cannot be set. Also compares two records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from trainer_core.engines import option_rules, option_sources, options
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.options import EngineOptions, Option
from trainer_core.engines.seam import Backend

Status = Literal["mapped", "fixed", "owned", "native", "refused", "ignored", "other family", "unaccounted"]
"""`owned` options that are rendered become "mapped" if settings determine them, else "fixed"; others stay "owned"."""


@dataclass(frozen=True)
class Audited:
    """One option: its status, the settings that determine it, and the reason or topic."""

    name: str
    status: Status
    settings: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class ProgramAudit:
    """One record: its name, the (family, method) cells that use it, and every option."""

    record: str
    program: str
    version: str
    cells: tuple[option_sources.Cell, ...]
    options: tuple[Audited, ...]

    @property
    def unaccounted(self) -> tuple[str, ...]:
        """The options without a decision in `options.toml`."""
        return tuple(option.name for option in self.options if option.status == "unaccounted")

    def count(self) -> Mapping[str, int]:
        """The number of options with each status."""
        found: dict[str, int] = {}
        for option in self.options:
            found[option.status] = found.get(option.status, 0) + 1
        return found


@dataclass(frozen=True)
class Difference:
    """The differences between two records of one program: added, removed, and `changed` as (option, attribute, old, new)."""

    record: str
    came: tuple[str, ...] = ()
    went: tuple[str, ...] = ()
    changed: tuple[tuple[str, str, Any, Any], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the records agree."""
        return not (self.came or self.went or self.changed)


def records(folder: Path) -> Mapping[str, EngineOptions]:
    """{name: options} of every record in a folder, except the file of shared options."""
    files = (path for path in sorted(folder.glob("*.json")) if path.name != options.COMMON)
    return {path.stem: options.load(path) for path in files}


def program_of(manifest: BackendManifest, family: str = "", method: str = "") -> str:
    """The name of the record of the program that trains a cell: the name of its `program` without the extension.

    For an engine with a single program, whose cells do not name it, it is the preferred version.
    """
    claim = manifest.families.get(family)
    program = claim.methods[method].program if claim else ""
    return PurePosixPath(program).stem if program else manifest.environment[0].version


def audit(backend: Backend, program: str = "") -> Iterator[ProgramAudit]:
    """The audit of every record of the engine, or only of the record named `program`."""
    manifest, rules = backend.manifest, backend.manifest.options
    known = records(manifest.schema)
    shared = {name: found for name, found in known.items() if not option_rules.is_program(rules, name)}
    cells: dict[str, list[option_sources.Cell]] = {}
    for family, claim in sorted(manifest.families.items()):
        for method in claim.methods:
            cells.setdefault(program_of(manifest, family, method), []).append((family, method))
    of_shared = {name: option_sources.Rendered() for name in shared}
    for name, recorded in known.items():
        if name in shared or program not in ("", name):
            continue
        seen = option_sources.sources(backend, cells.get(name, ()), {name: recorded, **shared})
        for other in shared:
            of_shared[other].add(seen[other])
            if other not in rules.launch.records:
                # An option in the description of the dataset replaces the program's option of that name.
                seen[name].add(seen[other], rules.dataset.called)
        yield _audit_of(manifest, name, recorded, seen[name], tuple(cells.get(name, ())))
    for name, recorded in shared.items():
        if program in ("", name):
            yield _audit_of(manifest, name, recorded, of_shared[name], ())


def _audit_of(
    manifest: BackendManifest,
    name: str,
    recorded: EngineOptions,
    rendered: option_sources.Rendered,
    cells: tuple[option_sources.Cell, ...],
) -> ProgramAudit:
    found = []
    for option, entry in sorted(recorded.options.items()):
        decision = decided(manifest, name, option, entry.families)
        settings = tuple(sorted(rendered.settings.get(option, ())))
        status: Status = decision.kind
        if status == "owned" and option in rendered.names:
            status = "mapped" if settings else "fixed"
        found.append(Audited(option, status, settings, decision.reason))
    return ProgramAudit(name, recorded.program, recorded.version, cells, tuple(found))


def decided(
    manifest: BackendManifest, record: str, option: str, families: tuple[str, ...] = ()
) -> option_rules.Decision:
    """The decision about an option of a record; `families` are the model families that have the option."""
    cells = (cell for claim in manifest.families.values() for cell in claim.methods.values())
    trained = frozenset(cell.model_family for cell in cells if cell.model_family)
    return option_rules.decide(option_rules.part(manifest.options, record), option, record, families, trained)


def compare(old: Mapping[str, EngineOptions], new: Mapping[str, EngineOptions]) -> Iterator[Difference]:
    """The differences between two sets of records, by record; equal records are left out."""
    for name in sorted(old.keys() | new.keys()):
        before = old[name].options if name in old else {}
        after = new[name].options if name in new else {}
        found = Difference(
            record=name,
            came=tuple(sorted(after.keys() - before.keys())),
            went=tuple(sorted(before.keys() - after.keys())),
            changed=tuple(
                change
                for option in sorted(before.keys() & after.keys())
                for change in _changes(option, before[option], after[option])
            ),
        )
        if not found.is_empty:
            yield found


def _changes(name: str, old: Option, new: Option) -> Iterator[tuple[str, str, Any, Any]]:
    for attribute in ("type", "many", "choices", "default"):
        if getattr(old, attribute) != getattr(new, attribute):
            yield name, attribute, getattr(old, attribute), getattr(new, attribute)

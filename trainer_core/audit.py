"""Accounts for every option of an engine: what each follows from, or why it cannot be set; and compares two records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from trainer_core import engine_options, option_rules, option_sources
from trainer_core.backend import Backend, BackendManifest
from trainer_core.engine_options import EngineOptions, Option

Status = Literal["mapped", "fixed", "owned", "native", "refused", "ignored", "other family", "unaccounted"]
"""An `owned` option that no claimed cell writes is neither mapped nor fixed."""


@dataclass(frozen=True)
class Audited:
    """One option: what is decided, the settings it follows from, and the reason or topic."""

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
        """The options that nothing is decided about."""
        return tuple(option.name for option in self.options if option.status == "unaccounted")

    def count(self) -> Mapping[str, int]:
        """How many options have each status."""
        found: dict[str, int] = {}
        for option in self.options:
            found[option.status] = found.get(option.status, 0) + 1
        return found


@dataclass(frozen=True)
class Difference:
    """What two records of one program do not share; `changed` is (option, what, old, new)."""

    record: str
    came: tuple[str, ...] = ()
    went: tuple[str, ...] = ()
    changed: tuple[tuple[str, str, Any, Any], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the records agree."""
        return not (self.came or self.went or self.changed)


def records(folder: Path) -> Mapping[str, EngineOptions]:
    """{name: options} of every record in a folder, without what they share."""
    files = (path for path in sorted(folder.glob("*.json")) if path.name != engine_options.COMMON)
    return {path.stem: engine_options.load(path) for path in files}


def rules_of(manifest: BackendManifest) -> Mapping[str, Any]:
    """What the engine's `options.toml` says; nothing for an engine without one."""
    return manifest.tables.get("options", {})


def program_of(manifest: BackendManifest, family: str = "", method: str = "") -> str:
    """The name of the record of the program that trains a cell.

    That is what the cell has under the word that `options.toml` calls `program`, without an ending; for an engine of one
    program, for which it does not, its preferred version.
    """
    key = rules_of(manifest).get("program")
    if key is None:
        return manifest.tables["environment"][0]["version"]
    return PurePosixPath(manifest.families[family].cell(method)[key]).stem


def audit(backend: Backend, program: str = "") -> Iterator[ProgramAudit]:
    """The account of every record of the engine; of one only, when it is named."""
    manifest = backend.manifest
    rules = rules_of(manifest)
    known = records(rules["schema"])
    aside = {name: options for name, options in known.items() if not option_rules.is_program(rules, name)}
    cells: dict[str, list[option_sources.Cell]] = {}
    for family, claim in sorted(manifest.families.items()):
        for method in claim.methods:
            cells.setdefault(program_of(manifest, family, method), []).append((family, method))
    shared = {name: option_sources.Rendered() for name in aside}
    for name, options in known.items():
        if name in aside or program not in ("", name):
            continue
        seen = option_sources.sources(backend, cells.get(name, ()), {name: options, **aside})
        for other in aside:
            shared[other].add(seen[other])
            if other not in rules.get("launch", {}).get("records", ()):
                # What stands in the description of the dataset covers the program's option of that name.
                seen[name].add(seen[other], rules["dataset"].get("called", {}))
        yield _account(manifest, name, options, seen[name], tuple(cells.get(name, ())))
    for name, options in aside.items():
        if program in ("", name):
            yield _account(manifest, name, options, shared[name], ())


def _account(
    manifest: BackendManifest,
    name: str,
    options: EngineOptions,
    rendered: option_sources.Rendered,
    cells: tuple[option_sources.Cell, ...],
) -> ProgramAudit:
    found = []
    for option, entry in sorted(options.options.items()):
        decision = decided(manifest, name, option, entry.families)
        settings = tuple(sorted(rendered.settings.get(option, ())))
        status: Status = decision.kind
        if status == "owned" and option in rendered.names:
            status = "mapped" if settings else "fixed"
        found.append(Audited(option, status, settings, decision.reason))
    return ProgramAudit(name, options.program, options.version, cells, tuple(found))


def decided(
    manifest: BackendManifest, record: str, option: str, families: tuple[str, ...] = ()
) -> option_rules.Decision:
    """What is decided about an option of a record; `families` are the model families that have it."""
    trained = frozenset(
        str(claim.options["model_family"]) for claim in manifest.families.values() if "model_family" in claim.options
    )
    return option_rules.decide(option_rules.part(rules_of(manifest), record), option, record, families, trained)


def compare(old: Mapping[str, EngineOptions], new: Mapping[str, EngineOptions]) -> Iterator[Difference]:
    """What came, went and changed between two sets of records, by record; those that agree are left out."""
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
    for what in ("type", "many", "choices", "default"):
        if getattr(old, what) != getattr(new, what):
            yield name, what, getattr(old, what), getattr(new, what)

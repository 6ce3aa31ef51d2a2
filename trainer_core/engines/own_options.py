"""The own options of the program that trains a job: what each is, whether a user may set it, and what it follows from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer_core.engines import launcher, option_rules, options
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.option_rules import Decisions, Kind, OptionRules
from trainer_core.engines.options import EngineOptions, Option


@dataclass(frozen=True)
class OwnOption:
    """One option: `name` is the engine's, `table` is "launch" for an option of the launcher and else "".

    `kind` and `reason` are Easel's decision (see `option_rules`). `bounds` are the lowest and highest useful value. `needs` says
    what it is read together with, `package` which package it needs.
    """

    path: str
    name: str
    table: str
    option: Option
    kind: Kind
    reason: str
    bounds: tuple[float, float] | None = None
    needs: str = ""
    package: str = ""
    is_weights: bool = False

    @property
    def can_set(self) -> bool:
        """Whether a user may set it."""
        return self.kind == "native"

    @property
    def follows(self) -> str:
        """The setting of the plan that determines it, "" if Easel does, or if it does not follow from anything."""
        return self.reason if self.kind == "owned" else ""

    @property
    def why_not(self) -> str:
        """Why it cannot be set, as a sentence; "" if it can."""
        if self.kind in ("native", "unaccounted"):
            return "" if self.kind == "native" else "Easel has not decided about this option yet."
        if self.kind == "owned":
            return f"It follows from {self.reason}: change that one." if self.reason else "Easel determines it."
        said = {"ignored": "Not read here: ", "other family": "Not for this model: "}.get(self.kind, "")
        return said + self.reason if said else self.reason[:1].upper() + self.reason[1:]


def of_program(manifest: BackendManifest, family: str, method: str, version: str = "") -> tuple[OwnOption, ...]:
    """Every option of the program that trains a job, and of the launcher that can start it; () if the engine records none."""
    recorded = options.of_program(manifest, family, method, version)
    if recorded is None:
        return ()
    trained = manifest.families[family].methods[method].model_family
    key = manifest.folder, recorded.name, trained
    if key not in _known:
        _known[key] = tuple(_all(manifest, recorded, trained))
    return _known[key]


_known: dict[tuple[Path, str, str], tuple[OwnOption, ...]] = {}
"""What was decided about the options of a program: the files that come with a backend do not change."""


def _all(manifest: BackendManifest, recorded: EngineOptions, trained: str) -> Iterator[OwnOption]:
    rules, head = manifest.options, f"native.{manifest.id}"
    yield from _of(rules, rules, recorded, head, "", trained)
    if (started := options.of_launcher(manifest)) is not None:
        yield from _of(rules, rules.launch, started, head, launcher.TABLE, trained)


def _of(
    whole: OptionRules, rules: Decisions, recorded: EngineOptions, head: str, table: str, trained: str
) -> Iterator[OwnOption]:
    families = frozenset({trained}) if trained else frozenset()
    for name, option in sorted(recorded.options.items()):
        decision = option_rules.decide(rules, name, recorded.name, option.families, families)
        yield OwnOption(
            path=f"{head}.{table}.{name}" if table else f"{head}.{name}",
            name=name,
            table=table,
            option=option,
            kind=decision.kind,
            reason=decision.reason,
            bounds=rules.bounds.get(name),
            needs=_needs(whole, name) if not table else "",
            package=whole.parts.get(name, "") if not table else "",
            is_weights=name in rules.weights,
        )


def _needs(rules: OptionRules, name: str) -> str:
    other, *choices = rules.needs.get(name, ("",))
    if not other:
        return ""
    listed = f" as {' or '.join(choices[0])}" if choices else ""
    return f"Read only together with {other}{listed}."


def names_of(manifest: BackendManifest, recorded: EngineOptions | None) -> Mapping[str, tuple[str, ...]]:
    """{setting of the plan: the options that follow from it} among those of a program and of the description of a dataset."""
    found: dict[str, list[str]] = {}
    if recorded is None:
        return {}
    for name, path in manifest.options.settings.items():
        if name in recorded.options:
            found.setdefault(path, []).append(name)
    for name, path in manifest.options.dataset.settings.items():
        found.setdefault(path, []).append(name)
    return {path: tuple(dict.fromkeys(names)) for path, names in found.items()}

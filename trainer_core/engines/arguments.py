"""The keys inside an engine's option that is a list of `key=value`, such as sd-scripts' `network_args` and `optimizer_args`.

A backend with such options has a method `arguments` (see `TakesArguments`). Their values are part of the native settings: the
option itself is in the plan, as a list or as text with commas, whatever its parser takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest
    from trainer_core.engines.status import EngineStatus
    from trainer_core.plan.sections import TrainingPlan


@dataclass(frozen=True)
class Argument:
    """One key of one option.

    `reader` is the module or class that reads it, `wanted` what its value must be, and `choices` the only values. `setting` is
    the setting of the plan that it follows from. `file` is that of the class `reader` in the engine's packages, which has its help. `why_not` says why it cannot be set, "" if it can.
    """

    option: str
    key: str
    reader: str
    wanted: str = ""
    choices: tuple[str, ...] = ()
    default: str = ""
    help: str = ""
    file: str = ""
    setting: str = ""
    why_not: str = ""

    def path(self, engine: str) -> str:
        """Its path among the settings of a job."""
        return f"native.{engine}.{self.option}.{self.key}"


@runtime_checkable
class TakesArguments(Protocol):
    """A backend that knows the keys inside its engine's options."""

    def arguments(self, plan: TrainingPlan, status: EngineStatus) -> Sequence[Argument]:
        """Every known key, also those that a plan with these choices cannot set."""
        ...


def of_plan(backend: object, plan: TrainingPlan, status: EngineStatus) -> tuple[Argument, ...]:
    """The keys inside the options of an engine; () if it has none."""
    return tuple(backend.arguments(plan, status)) if isinstance(backend, TakesArguments) else ()


def entries(value: Any) -> tuple[str, ...]:
    """The entries `key=value` of an option: of a list, or of a text with commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def key_of(entry: str) -> str:
    """The key of an entry."""
    return entry.partition("=")[0].strip()


def value_of(value: Any, key: str) -> str | None:
    """The text that an option has for a key; None if it has none. If it has several, the last one counts."""
    given = [entry.partition("=")[2].strip() for entry in entries(value) if key_of(entry) == key]
    return given[-1] if given else None


def with_entry(value: Any, key: str, text: str | None, *, many: bool) -> list[str] | str | None:
    """An option with another text for a key, or without it; None if nothing is left. `many`: it is a list, not a text."""
    kept = [entry for entry in entries(value) if key_of(entry) != key]
    if text is not None and text.strip():
        kept.append(f"{key}={text.strip()}")
    if not kept:
        return None
    return kept if many else ",".join(kept)


def named(engine: str, path: str, manifest: BackendManifest) -> tuple[str, str] | None:
    """(option, key) of a path "native.<engine>.<option>.<key>", if the option is one of those with keys; else None."""
    parts = path.split(".", 3)
    if len(parts) < 4 or parts[:2] != ["native", engine] or parts[2] not in manifest.options.lists:
        return None
    return parts[2], parts[3]

"""One row of the list of all settings: a setting of the plan, an option of the engine, or a key inside such an option."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from trainer_core.text import without_secrets

Kind = Literal["switch", "choice", "int", "float", "text", "list", "any"]
"""How a value is entered; "switch" is on or off."""

OWN, LAUNCH, FOLLOWS, REFUSED, OTHERS = "own", "launch", "follows", "refused", "others"
"""The groups of an engine's options: those that can be set, those of its launcher, those that follow from the plan, those that
cannot be set; and native settings of other engines that the job has."""
NOT_SHOWN = "[not shown]"


@dataclass(frozen=True)
class Choice:
    """One allowed value: as it is entered, its title, and why it cannot be used, "" if it can."""

    value: str
    title: str
    why_not: str = ""


@dataclass(frozen=True)
class Row:
    """One setting.

    `path` is what `easel train --set` takes. `help` comes from Easel or from the engine itself; without `has_help` it says why
    there is none. `shown` and `default` are values as a user writes them. `options` are the engine's own options that follow from
    it, `inside` the option whose key it is, `follows` the setting that it follows from. `source` is a word and `reason` the sentence about it. `note` says what
    it needs, `engine_default` what the engine itself would use, if that differs from Easel's default. `problem` is the worst Problem of the value, and `severity` how bad that is.
    """

    path: str
    title: str
    group: str
    group_title: str
    help: str
    kind: Kind
    value: Any
    shown: str
    default: str
    source: str
    reason: str
    has_help: bool = True
    topic: str = ""
    unit: str = ""
    bounds: str = ""
    choices: tuple[Choice, ...] = ()
    optional: bool = False
    options: tuple[str, ...] = ()
    inside: str = ""
    follows: str = ""
    can_set: bool = True
    why_not: str = ""
    is_mine: bool = False
    is_changed: bool = False
    note: str = ""
    engine_default: str = ""
    problem: str = ""
    severity: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON data."""
        return dataclasses.asdict(self)


def safe(name: str, text: str) -> str:
    """A value without secrets; that of an option whose name says that it is one is not shown at all."""
    assigned = without_secrets(f"{name}={text}")
    return text if not text or assigned == f"{name}={text}" else NOT_SHOWN

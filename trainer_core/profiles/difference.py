"""The settings that a profile would change, and two profiles beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainer_core.plan import fields
from trainer_core.profiles.profile import Profile


@dataclass(frozen=True)
class Change:
    """One setting that a profile changes from `before` to `after`; a value that is not set is the default.

    `kind` is "set" if the setting was at its default, "dropped" if it returns to its default, else "changed".
    """

    path: str
    title: str
    kind: Literal["set", "changed", "dropped"]
    before: Any
    after: Any
    reason: str = ""


def diff(profile: Profile, values: Mapping[str, Any] | None = None) -> tuple[Change, ...]:
    """What a profile changes compared with these values by dotted path, such as another profile's; None means the defaults."""
    present = dict(values or {})
    return tuple(
        change
        for path in fields.all_fields()
        if path in profile.settings or path in present
        if (change := _change(path, profile, present)) is not None
    )


@dataclass(frozen=True)
class Beside:
    """One setting of two profiles: its value in each. `is_set` says which of the two sets it; the other leaves the default."""

    path: str
    title: str
    first: Any
    second: Any
    is_set: tuple[bool, bool]

    @property
    def differs(self) -> bool:
        """Whether the two values differ."""
        return self.first != self.second


def compare(first: Profile, second: Profile) -> tuple[Beside, ...]:
    """Every setting that one of two profiles sets, in the order of the plan: first those whose values differ."""
    known = fields.all_fields()
    rows = (
        Beside(
            path,
            known[path].title,
            *(profile.settings.get(path, known[path].default) for profile in (first, second)),
            is_set=(path in first.settings, path in second.settings),
        )
        for path in known
        if path in first.settings or path in second.settings
    )
    return tuple(sorted(rows, key=lambda row: not row.differs))


def _change(path: str, profile: Profile, present: Mapping[str, Any]) -> Change | None:
    setting = fields.all_fields()[path]
    before, after = present.get(path, setting.default), profile.settings.get(path, setting.default)
    if before == after:
        return None
    kind = "dropped" if path not in profile.settings else "changed" if path in present else "set"
    return Change(path, setting.title, kind, before, after, profile.reasons.get(path, ""))

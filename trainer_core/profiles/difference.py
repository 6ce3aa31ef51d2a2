"""The settings that a profile would change."""

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


def _change(path: str, profile: Profile, present: Mapping[str, Any]) -> Change | None:
    setting = fields.all_fields()[path]
    before, after = present.get(path, setting.default), profile.settings.get(path, setting.default)
    if before == after:
        return None
    kind = "dropped" if path not in profile.settings else "changed" if path in present else "set"
    return Change(path, setting.title, kind, before, after, profile.reasons.get(path, ""))

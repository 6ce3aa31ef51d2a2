"""What a profile would change, as rows for a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainer_core.plan import fields
from trainer_core.profiles.profile import Profile


@dataclass(frozen=True)
class Change:
    """One setting that a profile changes: from `before` to `after`, each the default where it is not set.

    `kind` is "set" for one that was at its default, "changed", or "dropped" for one that goes back to its default.
    """

    path: str
    title: str
    kind: Literal["set", "changed", "dropped"]
    before: Any
    after: Any
    reason: str = ""


def diff(profile: Profile, values: Mapping[str, Any] | None = None) -> tuple[Change, ...]:
    """What a profile changes against these values by dotted path, such as another profile's; None are the defaults."""
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

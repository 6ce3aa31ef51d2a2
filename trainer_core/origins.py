"""Where a value comes from, in words: its layer, who set it there, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core import prefill
from trainer_core.plan.draft import Draft, Source
from trainer_core.plan.sections import PARTS

if TYPE_CHECKING:
    from trainer_core.policies import Prefilled
    from trainer_core.presets import Preset
    from trainer_core.profiles import Profile

_PARTS = frozenset(f"model.{part}" for part in PARTS)


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: its layer, who set it there ("the profile Character"), and why, "" where nobody said."""

    source: Source
    by: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.by}: {self.reason}" if self.reason else self.by


def origin(
    draft: Draft,
    path: str,
    profile: Profile | None = None,
    preset: Preset | None = None,
    prefilled: Prefilled | None = None,
) -> Origin:
    """Where the value of a setting comes from, in a draft with this profile, memory preset and policy."""
    source = draft.source_of(path)
    if source is Source.USER:
        return Origin(source, "you")
    if source is Source.PROFILE:
        reason = profile.reasons.get(path, "") if profile else ""
        return Origin(source, f"the profile {profile.title}" if profile else "a profile", reason)
    if source is Source.DEFAULT:
        return Origin(source, "the default")
    if prefilled and path in prefilled.values:
        return Origin(source, f"the policy {prefilled.title}", prefilled.reasons[path])
    if preset and any(path in values for values in (preset.values, *preset.by_family.values())):
        return Origin(source, f"the memory preset {preset.title}")
    if path in _PARTS:
        return Origin(source, "the model library", "it lies there and fits the model.")
    return Origin(source, "this machine", prefill.REASONS.get(path, ""))

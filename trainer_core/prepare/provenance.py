"""Where the value of a setting comes from: its layer, what set it, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core.draft import prefill, recommend
from trainer_core.draft.layers import Draft, Source
from trainer_core.plan import fields
from trainer_core.prepare.state import over_profile

if TYPE_CHECKING:
    from trainer_core.catalog.presets import Preset
    from trainer_core.policies import Prefilled
    from trainer_core.prepare.state import State
    from trainer_core.profiles import Profile


WORDS = {
    Source.DEFAULT: "default",
    Source.RECOMMENDED: "recommended",
    Source.PROFILE: "profile",
    Source.PREFILL: "computed",
    Source.USER: "yours",
}
"""The word for each source of a value."""
MACHINE = "this machine"
SMALLER = "by the estimate, samples of the usual size may not fit."
DISTILLED = "it is distilled to few steps, and the profile's value is for the model that it was made from."


@dataclass(frozen=True)
class Provenance:
    """Where a value comes from: its layer, what set it ("the profile Character"), and the reason, "" if there is none."""

    source: Source
    by: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.by}: {self.reason}" if self.reason else self.by


def of(state: State, path: str) -> Provenance:
    """Where the value of a setting of a job comes from."""
    if state.draft.source_of(path) is Source.RECOMMENDED:
        return Provenance(Source.RECOMMENDED, "recommended", recommend.reasons(state.draft).get(path, ""))
    found = provenance(state.draft, path, state.profile, state.preset, state.prefilled)
    if found.source is Source.PREFILL and path in state.smaller and state.preset:
        return Provenance(found.source, f"the memory preset {state.preset.title}", SMALLER)
    if found.by == MACHINE and path in over_profile(state):
        return Provenance(found.source, "the model", DISTILLED)
    return found


def word(state: State, path: str) -> str:
    """The word for the source of a value: "profile", "computed", "yours", ...; "" for a companion file that is not set."""
    source = state.draft.source_of(path)
    setting = fields.all_fields().get(path)
    if setting and setting.about.part:
        return {Source.PREFILL: "found here", Source.DEFAULT: ""}.get(source, WORDS[source])
    if source is Source.PREFILL and is_from_preset(state, path):
        return "preset"
    return WORDS[source]


def is_from_preset(state: State, path: str) -> bool:
    """Whether a computed value is set because of the memory preset."""
    chosen = state.preset.values_for(state.family) if state.preset else {}
    return path in chosen or path in state.smaller


def provenance(
    draft: Draft,
    path: str,
    profile: Profile | None = None,
    preset: Preset | None = None,
    prefilled: Prefilled | None = None,
) -> Provenance:
    """Where the value of a setting comes from, in a draft with this profile, memory preset and policy."""
    source = draft.source_of(path)
    if source is Source.USER:
        return Provenance(source, "you")
    if source is Source.PROFILE:
        reason = profile.reasons.get(path, "") if profile else ""
        return Provenance(source, f"the profile {profile.title}" if profile else "a profile", reason)
    if source is Source.DEFAULT:
        return Provenance(source, "the default")
    if source is Source.RECOMMENDED:
        return Provenance(source, "recommended")
    if prefilled and path in prefilled.values:
        return Provenance(source, f"the policy {prefilled.title}", prefilled.reasons[path])
    if preset and any(path in values for values in (preset.values, *preset.by_family.values())):
        return Provenance(source, f"the memory preset {preset.title}")
    setting = fields.all_fields().get(path)
    if setting and setting.about.part:
        return Provenance(source, "the model library", "the file found there is of the kind that the model needs.")
    return Provenance(source, MACHINE, prefill.REASONS.get(path, ""))

"""A policy on a draft: recomputed when what it stands on changes, and "auto-adjust", which can be undone.

The order of a value: default, profile, what machine and memory preset say, policy, user. Of the settings a policy owns,
batch size, accumulation and optimizer stay as the memory preset has them: they are the card's, and the policy counts on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer_core.plan import fields
from trainer_core.plan.draft import Draft, Source
from trainer_core.policies.compute import Prefilled
from trainer_core.policies.policy import ACCUMULATION, BATCH, OPTIMIZER, Policy, PolicyCase

CARDS = (BATCH, ACCUMULATION, OPTIMIZER)
"""What follows from the card where a memory preset sets it."""


@dataclass(frozen=True)
class Adjustment:
    """What auto-adjust did: the new draft, the user's values it cleared, and the message that says all of it.

    `prefill_before` is the PREFILL layer it replaced, for `undo`.
    """

    draft: Draft
    prefilled: Prefilled
    cleared: Mapping[str, Any] = field(default_factory=dict)
    prefill_before: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""

    @property
    def told_of_cleared(self) -> str:
        """Which of the user's values were cleared, as a sentence; "" for none."""
        return " ".join(_cleared(self.cleared))


def case_for(draft: Draft, card: Mapping[str, Any], environment: Mapping[str, str]) -> PolicyCase:
    """The case of a draft; `card` are the values that follow from the machine and the memory preset."""
    dataset, detection = draft.facts.dataset, draft.facts.detection
    user = {path: value for path, value in draft.layers.get(Source.USER, {}).items() if path in fields.all_fields()}
    profile = draft.layers.get(Source.PROFILE, {})
    family, method = (str({**profile, **user}.get(path, "")) for path in ("model.family", "model.method"))
    return PolicyCase(
        images=len(dataset.pictures) if dataset else 0,
        given={**{path: card[path] for path in CARDS if path in card}, **user},
        below={**profile, **card},
        family=family or (detection and detection.family) or "",
        method=method or fields.all_fields()["model.method"].default,
        environment=environment,
    )


def recompute(policy: Policy, draft: Draft, card: Mapping[str, Any], environment: Mapping[str, str]) -> Prefilled:
    """What a policy sets on a draft as it stands. Call it again when dataset, policy, preset or a user's value change."""
    return policy.values(case_for(draft, card, environment))


def layered(card: Mapping[str, Any], prefilled: Prefilled | None) -> dict[str, Any]:
    """The PREFILL layer: what the card says, and over it what the policy sets."""
    return {**card, **(prefilled.values if prefilled else {})}


def adjust(policy: Policy, draft: Draft, card: Mapping[str, Any], environment: Mapping[str, str]) -> Adjustment:
    """The draft with the user's values cleared where the policy sets its own, and the policy's values in force.

    Nothing is cleared where the policy sets nothing: without pictures, or for another method.
    """
    user = draft.layers.get(Source.USER, {})
    bare = draft.without(Source.USER, *policy.owns)
    prefilled = recompute(policy, bare, card, environment)
    before = draft.layers.get(Source.PREFILL, {})
    if not prefilled.values:
        return Adjustment(draft, prefilled, {}, before, prefilled.message)
    cleared = {path: user[path] for path in fields.all_fields() if path in user and path in policy.owns}
    adjusted = bare.with_layer(Source.PREFILL, layered(card, prefilled))
    return Adjustment(adjusted, prefilled, cleared, before, " ".join([prefilled.message, *_cleared(cleared)]))


def undo(draft: Draft, adjustment: Adjustment) -> Draft:
    """The draft with the settings the policy owns as they were before it was adjusted; other settings stay as they are."""
    if not adjustment.prefilled.values:
        return draft
    owns, user = adjustment.prefilled.owns, draft.layers.get(Source.USER, {})
    kept = {path: value for path, value in user.items() if path not in owns}
    restored = draft.with_layer(Source.USER, {**kept, **adjustment.cleared})
    return restored.with_layer(Source.PREFILL, adjustment.prefill_before)


def _cleared(cleared: Mapping[str, Any]) -> list[str]:
    if not cleared:
        return []
    told = ", ".join(f"{fields.all_fields()[path].title} {value!r:.40}" for path, value in cleared.items())
    return [f"Your own {'value was' if len(cleared) == 1 else 'values were'} cleared: {told}."]

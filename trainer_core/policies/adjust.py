"""A policy applied to a draft: recomputed when its inputs change, and "auto-adjust", which can be undone.

A later layer overrides an earlier one: default, profile, machine and memory preset, policy, user. Exceptions: batch size,
accumulation and optimizer stay as the memory preset sets them, because they depend on the GPU. The policy calculates with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer_core.draft.layers import Draft, Source, is_native
from trainer_core.engines import launcher
from trainer_core.plan import fields
from trainer_core.policies.compute import Prefilled, values
from trainer_core.policies.policy import Policy, PolicyCase


@dataclass(frozen=True)
class Adjustment:
    """What auto-adjust did: the new draft, the user's values it cleared, and the message about both.

    `prefill_before` is the PREFILL layer before, for `undo`.
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
    """The policy's inputs from a draft; `card` contains the values set by the machine and the memory preset."""
    dataset, detection = draft.facts.dataset, draft.facts.detection
    known = fields.all_fields()
    chosen = draft.layers.get(Source.USER, {})
    user = {path: value for path, value in chosen.items() if path in known}
    # Batch size, accumulation and optimizer depend on the GPU if a memory preset sets them.
    of_card = {path: value for path, value in card.items() if path in known and known[path].about.card}
    profile = draft.layers.get(Source.PROFILE, {})
    said = {**profile, **user}
    family, method = str(said.get("model.family", "")), str(said.get("model.method", ""))
    return PolicyCase(
        images=len(dataset.images) if dataset else 0,
        given={**of_card, **user},
        below={**profile, **card},
        family=family or (detection and detection.family) or "",
        method=method or known["model.method"].default,
        environment=environment,
        processes=_processes(chosen.get("native")),
    )


def _processes(native: Any) -> int:
    """The number of processes that native settings start; 1 if they are not valid, or if several engines have some."""
    launches = (
        [table[launcher.TABLE] for table in native.values() if launcher.TABLE in table] if is_native(native) else []
    )
    is_sure = len(launches) == 1 and isinstance(launches[0], Mapping)
    return launcher.processes(launches[0]) if is_sure else 1


def recompute(policy: Policy, draft: Draft, card: Mapping[str, Any], environment: Mapping[str, str]) -> Prefilled:
    """What a policy sets for a draft. Call it again when the dataset, policy, preset or one of the user's values changes."""
    return values(policy, case_for(draft, card, environment))


def layered(card: Mapping[str, Any], prefilled: Prefilled | None) -> dict[str, Any]:
    """The PREFILL layer: the values for the GPU, overridden by those of the policy."""
    return {**card, **(prefilled.values if prefilled else {})}


def adjust(policy: Policy, draft: Draft, card: Mapping[str, Any], environment: Mapping[str, str]) -> Adjustment:
    """The draft after the user's values are cleared where the policy sets its own, so that the policy's values apply.

    Nothing is cleared if the policy sets nothing: without images, or for another method.
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
    """The draft with the policy's settings as they were before auto-adjust; other settings are not changed."""
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

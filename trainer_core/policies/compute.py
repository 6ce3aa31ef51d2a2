"""Computes the values of a policy for one case, each with its reason, and a message for the user."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from trainer_core import catalog
from trainer_core.plan import fields
from trainer_core.policies import environment, formatting
from trainer_core.policies.policy import (
    ACCUMULATION,
    ALPHA,
    BATCH,
    OPTIMIZER,
    RANK,
    RATE,
    REPEATS,
    SCHEDULER,
    STEPS,
    WARMUP,
    Policy,
    PolicyCase,
    Repeats,
    Tier,
)
from trainer_core.problems import Problem

MANY = 4
"""Above this multiple of the policy's own images per step, a note says that fewer steps are enough."""


@dataclass(frozen=True)
class Prefilled:
    """What a policy (id and title) sets: values and reasons by dotted path, the settings it owns, notes and a message.

    `values` leaves out settings that a higher layer sets. `epochs` is the approximate number of epochs, None if unknown.
    """

    policy: str
    title: str
    owns: frozenset[str]
    values: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Problem, ...] = ()
    message: str = ""
    epochs: float | None = None


def epochs(steps: int, batch: int, accumulation: int, images: int, repeats: int, processes: int = 1) -> float | None:
    """The number of epochs of a training: steps * batch * accumulation * processes / (images * repeats); None without images.

    Steps are optimizer steps: in each, every process takes `accumulation` batches of `batch` images, and an epoch uses every
    image `repeats` times. It is approximate, because a policy knows no aspect buckets: `engines/batches.py` counts those.
    """
    shown = images * repeats
    return steps * batch * accumulation * processes / shown if shown > 0 else None


def values(policy: Policy, case: PolicyCase) -> Prefilled:
    """What a policy sets for a case; nothing, and a note with the reason, if it does not apply."""
    if silent := _silent(policy, case):
        return Prefilled(policy.id, policy.title, policy.owns, notes=(silent,), message=silent.message)
    policy, notes, variables = environment.applied(policy, case.environment)
    sheet = _Sheet(policy, case, policy.tier(case.images), variables)
    sheet.fill()
    for path in [path for path in sheet.values if case.stands(path)]:
        del sheet.values[path], sheet.reasons[path]
    count = epochs(sheet[STEPS], sheet[BATCH], sheet[ACCUMULATION], case.images, sheet[REPEATS], case.processes)
    notes += [*_family_notes(policy, case), *sheet.notes()]
    label = formatting.label(policy, sheet.place, case.images)
    message = f"{label}: {', '.join(formatting.parts(policy.owns, sheet, sheet.values, count))}."
    message = f"{message} Why: {why}" if (why := sheet.why()) else message
    return Prefilled(policy.id, policy.title, policy.owns, sheet.values, sheet.reasons, tuple(notes), message, count)


def _silent(policy: Policy, case: PolicyCase) -> Problem | None:
    if not policy.suits("", "", case.method):
        what = " and ".join(policy.methods)
        return Problem(
            "model.method", "warning", f"{policy.title} is for {what}, not for {case.method}: it sets nothing."
        )
    if case.images < 1:
        message = f"{policy.title} needs the number of images: choose a dataset, and it sets its values."
        return Problem("dataset.path", "info", message)
    return None


def _family_notes(policy: Policy, case: PolicyCase) -> list[Problem]:
    if policy.suits(case.family):
        return []
    families = " and ".join(policy.families)
    return [Problem("", "warning", f"{policy.title} is for {families}, not for {case.family}.")]


class _Sheet:
    """The values of a policy while they are computed: fixed values first, then those calculated from them."""

    def __init__(self, policy: Policy, case: PolicyCase, place: int, variables: Mapping[str, str]) -> None:
        self.policy, self.case, self.place, self.variables = policy, case, place, variables
        self.tier: Tier = policy.tiers[place]
        self.label = formatting.label(policy, place)
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}

    def __getitem__(self, path: str) -> Any:
        """The effective value: the user's, else the policy's, else the profile's, else the default."""
        return self.case.value(path, self.values)

    def fill(self) -> None:
        """Computes every value."""
        for path, value in self.policy.settings.items():
            why = formatting.because(self.policy.title, self.policy.reasons.get(path, ""), self._named(path))
            self._put(path, value, why)
        for path, value in self.tier.settings.items():
            self._put(path, value, formatting.because(self.label, self.tier.reason, self._named(path)))
        self._suit_optimizer()
        if self.policy.alpha_per_rank is not None:
            share = self.policy.alpha_per_rank
            self._put(ALPHA, self[RANK] * share, formatting.alpha(share, self[RANK]))
        if rule := self.tier.repeats or self.policy.repeats:
            self._put(REPEATS, *self._repeats(rule))
        self._put_steps()
        self._put_warmup()

    def _put(self, path: str, value: float | str, reason: str) -> None:
        """Sets a value, limited to the maximum of its setting."""
        setting = fields.all_fields()[path]
        if isinstance(value, int | float) and setting.maximum is not None and value > setting.maximum:
            value = setting.base_type(setting.maximum)
            reason = f"{reason} {formatting.number(setting.maximum)} is the maximum."
        self.values[path], self.reasons[path] = value, reason

    def _why(self, is_tiers: bool) -> str:
        """The reason of a fixed number: the tier's, or the name of the policy."""
        return (
            formatting.because(self.label, self.tier.reason) if is_tiers else formatting.because(self.policy.title, "")
        )

    def _named(self, path: str) -> list[str]:
        """The environment variables that contributed to a value."""
        tier, targets = f"tiers.{self.place}", ()
        if path == RATE:
            targets = ("learning_rate", f"{tier}.learning_rate", f"tiers.{self.place - 1}.up_to", f"{tier}.up_to")
        elif path == STEPS:
            targets = ("steps.per_image", "steps.least", "steps.most")
        return [self.variables[target] for target in targets if target in self.variables]

    def _suit_optimizer(self) -> None:
        """Adapts learning rate and schedule to an optimizer that sets its own."""
        optimizer = catalog.optimizers()[self[OPTIMIZER]]
        if optimizer.adapts and RATE in self.values:
            self._put(RATE, 1.0, f"{optimizer.title} finds its own learning rate; this must be 1.")
        if optimizer.schedule_free and SCHEDULER in self.values:
            self._put(SCHEDULER, "constant", f"{optimizer.title} needs no learning rate schedule.")

    def _repeats(self, rule: Repeats) -> tuple[int, str]:
        if rule.fixed is not None:
            return rule.fixed, self._why(rule is self.tier.repeats)
        assert rule.images_per_epoch is not None
        share = Fraction(rule.images_per_epoch, self.case.images)
        rounded = {"up": math.ceil, "down": math.floor, "nearest": lambda x: math.floor(x + Fraction(1, 2))}
        repeats = min(max(rounded[rule.rounding](share), rule.least), rule.most)
        shown = f"{formatting.image_count(self.case.images)}, each with {repeats} repeats"
        return repeats, f"About {rule.images_per_epoch} images per epoch: {shown}."

    def _put_steps(self) -> None:
        rule = self.tier.steps or self.policy.steps
        if rule is None:
            return
        images = self.case.images
        if rule.fixed is not None:
            count, reason = rule.fixed, self._why(rule is self.tier.steps)
        elif rule.per_image is not None:
            count, reason = (
                rule.per_image * images,
                f"{formatting.image_count(images)}, {rule.per_image} steps per image.",
            )
        else:
            assert rule.epochs is not None
            at_once = self[BATCH] * self[ACCUMULATION] * self.case.processes
            count = -(-rule.epochs * images * self[REPEATS] // at_once)
            reason = f"{rule.epochs} epochs of {images * self[REPEATS]} images, {at_once} per step."
        if not rule.least <= count <= rule.most:
            reason = f"{reason} That is {count}, limited to between {rule.least} and {rule.most}."
        reason = formatting.because("", reason, self._named(STEPS))
        self._put(STEPS, min(max(count, rule.least), rule.most), reason)

    def _put_warmup(self) -> None:
        share = self.policy.warmup_percent
        if share is None:
            return
        scheduler = catalog.schedulers()[self[SCHEDULER]]
        if "warmup_steps" in scheduler.settings or catalog.optimizers()[self[OPTIMIZER]].schedule_free:
            self._put(WARMUP, self[STEPS] * share // 100, f"{share} % of {self[STEPS]} steps.")
        else:
            self._put(WARMUP, 0, f"The schedule {scheduler.title} has no warm-up.")

    def why(self) -> str:
        """The reason for these values: the tier's, else how the steps or the repeats were calculated."""
        steps, repeats = self.tier.steps or self.policy.steps, self.tier.repeats or self.policy.repeats
        counted = self.reasons.get(STEPS, "") if steps and steps.fixed is None else ""
        if not counted and repeats and repeats.fixed is None:
            counted = self.reasons.get(REPEATS, "")
        return self.tier.reason or counted

    def notes(self) -> list[Problem]:
        """The warning and note of the tier, and a note if a step averages many more images than the policy expects."""
        found = [Problem("dataset.path", "warning", self.tier.warning)] if self.tier.warning else []
        found += [Problem("dataset.path", "info", self.tier.note)] if self.tier.note else []
        at_once, meant = self[BATCH] * self[ACCUMULATION] * self.case.processes, self.policy.images_per_step
        rule = self.tier.steps or self.policy.steps
        if rule is not None and rule.epochs is None and STEPS in self.values and at_once > MANY * meant:
            same = max(1, self[STEPS] * meant // at_once)
            message = (
                f"{self[STEPS]} optimizer steps use {self[STEPS] * at_once} images here, {at_once} per step; this policy "
                f"was made for {meant} per step. Fewer steps are enough: {same} use as many images."
            )
            found.append(Problem(STEPS, "info", message))
        return found

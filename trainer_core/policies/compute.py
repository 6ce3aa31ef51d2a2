"""From a policy and a case to values, each with its reason, and one message for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from trainer_core import catalog
from trainer_core.plan import fields
from trainer_core.policies import environment, words
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
"""From how many times the pictures of a step that a policy has in mind on its steps are said to be more than needed."""


@dataclass(frozen=True)
class Prefilled:
    """What a policy (id and title) sets: values and reasons by dotted path, what it owns, notes, and the whole in one message.

    `values` leaves out what stands above the policy. `epochs` is about how often each picture is shown apart from its
    repeats; None where that is not known.
    """

    policy: str
    title: str
    owns: frozenset[str]
    values: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Problem, ...] = ()
    message: str = ""
    epochs: float | None = None


def epochs(steps: int, batch: int, accumulation: int, images: int, repeats: int) -> float | None:
    """How many epochs a training makes: steps * batch * accumulation / (images * repeats); None without pictures.

    Steps are optimizer steps: each takes `accumulation` batches of `batch` pictures, and an epoch shows every picture
    `repeats` times. It is about: engines fill each aspect bucket's last batch short, so an epoch can take more batches.
    Source: sd-scripts, library/train_util.py, make_buckets: batches are counted for each bucket and rounded up.
    """
    shown = images * repeats
    return steps * batch * accumulation / shown if shown > 0 else None


def values(policy: Policy, case: PolicyCase) -> Prefilled:
    """What a policy sets in a case; nothing, and a note that says why, where it cannot tell."""
    if silent := _silent(policy, case):
        return Prefilled(policy.id, policy.title, policy.owns, notes=(silent,), message=silent.message)
    policy, notes, variables = environment.applied(policy, case.environment)
    sheet = _Sheet(policy, case, policy.tier(case.images), variables)
    sheet.fill()
    for path in [path for path in sheet.values if case.stands(path)]:
        del sheet.values[path], sheet.reasons[path]
    count = epochs(sheet[STEPS], sheet[BATCH], sheet[ACCUMULATION], case.images, sheet[REPEATS])
    notes += [*_family_notes(policy, case), *sheet.notes()]
    label = words.label(policy, sheet.place, case.images)
    message = f"{label}: {', '.join(words.parts(policy.owns, sheet, sheet.values, count))}."
    message = f"{message} Why: {why}" if (why := sheet.why()) else message
    return Prefilled(policy.id, policy.title, policy.owns, sheet.values, sheet.reasons, tuple(notes), message, count)


def _silent(policy: Policy, case: PolicyCase) -> Problem | None:
    if not policy.suits("", "", case.method):
        what = " and ".join(policy.methods)
        return Problem(
            "model.method", "warning", f"{policy.title} is for {what}, not for {case.method}: it sets nothing."
        )
    if case.images < 1:
        message = f"{policy.title} goes by the number of pictures: choose a dataset, and it sets its values."
        return Problem("dataset.path", "info", message)
    return None


def _family_notes(policy: Policy, case: PolicyCase) -> list[Problem]:
    if policy.suits(case.family):
        return []
    families = " and ".join(policy.families)
    return [Problem("", "warning", f"{policy.title} is for {families}, not for {case.family}.")]


class _Sheet:
    """The values of a policy as they are worked out: those without conditions first, then those that follow from them."""

    def __init__(self, policy: Policy, case: PolicyCase, place: int, variables: Mapping[str, str]) -> None:
        self.policy, self.case, self.place, self.variables = policy, case, place, variables
        self.tier: Tier = policy.tiers[place]
        self.label = words.label(policy, place)
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}

    def __getitem__(self, path: str) -> Any:
        """The value in effect: the user's, else the policy's, else the profile's, else the default."""
        return self.case.value(path, self.values)

    def fill(self) -> None:
        """Works out every value."""
        for path, value in self.policy.settings.items():
            why = words.because(self.policy.title, self.policy.reasons.get(path, ""), self._named(path))
            self._put(path, value, why)
        for path, value in self.tier.settings.items():
            self._put(path, value, words.because(self.label, self.tier.reason, self._named(path)))
        self._suit_optimizer()
        if self.policy.alpha_per_rank is not None:
            share = self.policy.alpha_per_rank
            self._put(ALPHA, self[RANK] * share, words.alpha(share, self[RANK]))
        if rule := self.tier.repeats or self.policy.repeats:
            self._put(REPEATS, *self._repeats(rule))
        self._put_steps()
        self._put_warmup()

    def _put(self, path: str, value: float | str, reason: str) -> None:
        """Sets a value, brought within the bounds of its setting."""
        setting = fields.all_fields()[path]
        if isinstance(value, int | float) and setting.maximum is not None and value > setting.maximum:
            value = setting.base_type(setting.maximum)
            reason = f"{reason} {words.number(setting.maximum)} is the most there can be."
        self.values[path], self.reasons[path] = value, reason

    def _why(self, is_tiers: bool) -> str:
        """The reason of a fixed number: the tier's, or the policy as such."""
        return words.because(self.label, self.tier.reason) if is_tiers else words.because(self.policy.title, "")

    def _named(self, path: str) -> list[str]:
        """The environment variables behind a value."""
        tier = f"tiers.{self.place}"
        targets = {
            RATE: ("learning_rate", f"{tier}.learning_rate", f"tiers.{self.place - 1}.up_to", f"{tier}.up_to"),
            STEPS: ("steps.per_image", "steps.least", "steps.most"),
        }.get(path, ())
        return [self.variables[target] for target in targets if target in self.variables]

    def _suit_optimizer(self) -> None:
        """Leaves rate and curve to an optimizer that has its own."""
        optimizer = catalog.optimizers()[self[OPTIMIZER]]
        if optimizer.adapts and RATE in self.values:
            self._put(RATE, 1.0, f"{optimizer.title} finds its own learning rate and wants 1.")
        if optimizer.schedule_free and SCHEDULER in self.values:
            self._put(SCHEDULER, "constant", f"{optimizer.title} takes no learning rate curve.")

    def _repeats(self, rule: Repeats) -> tuple[int, str]:
        if rule.fixed is not None:
            return rule.fixed, self._why(rule is self.tier.repeats)
        assert rule.pictures_per_epoch is not None
        share = Fraction(rule.pictures_per_epoch, self.case.images)
        rounded = {"up": math.ceil, "down": math.floor, "nearest": lambda x: math.floor(x + Fraction(1, 2))}
        repeats = min(max(rounded[rule.rounding](share), rule.least), rule.most)
        shown = f"{words.pictures(self.case.images)}, each {repeats} times"
        return repeats, f"About {rule.pictures_per_epoch} pictures an epoch: {shown}."

    def _put_steps(self) -> None:
        rule = self.tier.steps or self.policy.steps
        if rule is None:
            return
        images = self.case.images
        if rule.fixed is not None:
            count, reason = rule.fixed, self._why(rule is self.tier.steps)
        elif rule.per_image is not None:
            count, reason = rule.per_image * images, f"{words.pictures(images)}, {rule.per_image} steps for each."
        else:
            assert rule.epochs is not None
            at_once = self[BATCH] * self[ACCUMULATION]
            count = -(-rule.epochs * images * self[REPEATS] // at_once)
            reason = f"{rule.epochs} epochs of {images * self[REPEATS]} pictures, {at_once} a step."
        if not rule.least <= count <= rule.most:
            reason = f"{reason} That is {count}: kept between {rule.least} and {rule.most}."
        reason = words.because("", reason, self._named(STEPS))
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
        """Why these values and no others: what the tier says, else how the steps or the repeats were counted."""
        steps, repeats = self.tier.steps or self.policy.steps, self.tier.repeats or self.policy.repeats
        counted = self.reasons.get(STEPS, "") if steps and steps.fixed is None else ""
        if not counted and repeats and repeats.fixed is None:
            counted = self.reasons.get(REPEATS, "")
        return self.tier.reason or counted

    def notes(self) -> list[Problem]:
        """What the tier says, and that a step averages many pictures."""
        found = [Problem("dataset.path", "warning", self.tier.warning)] if self.tier.warning else []
        found += [Problem("dataset.path", "info", self.tier.note)] if self.tier.note else []
        at_once, meant = self[BATCH] * self[ACCUMULATION], self.policy.pictures_per_step
        rule = self.tier.steps or self.policy.steps
        if rule is not None and rule.epochs is None and STEPS in self.values and at_once > MANY * meant:
            same = max(1, self[STEPS] * meant // at_once)
            message = (
                f"{self[STEPS]} optimizer steps show {self[STEPS] * at_once} pictures here, {at_once} a step; this policy has "
                f"{meant} a step in mind. Fewer steps will do: {same} show as many."
            )
            found.append(Problem(STEPS, "info", message))
        return found

"""Environment variables that replace single numbers of a policy; an invalid one is reported and its default is used."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainer_core.plan import fields
from trainer_core.policies.policy import MOST_IMAGES, MOST_PER_IMAGE, MOST_STEPS, RATE, STEPS, Policy
from trainer_core.problems import Problem
from trainer_core.text import printable

_MOST = {"per_image": MOST_PER_IMAGE, "least": MOST_STEPS, "most": MOST_STEPS, "up_to": MOST_IMAGES}
_WHOLE = re.compile(r"[0-9]{1,12}")
_NUMBER = re.compile(r"([0-9]{1,12}\.?[0-9]{0,20}|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Unusable:
    """Numbers of the environment that cannot be used: why, which setting they are for, and what is used instead."""

    path: str
    reason: str
    instead: str


def applied(policy: Policy, environment: Mapping[str, str]) -> tuple[Policy, list[Problem], dict[str, str]]:
    """The policy with the environment's numbers, the Problems of invalid ones, and the variable of each replaced number.

    An empty variable counts as not set.
    """
    numbers, unusable = _read(policy, environment)
    variables = {target: name for name, target in policy.environment.items()}
    refused = [Problem(each.path, "warning", f"{each.reason} {each.instead}") for each in unusable]
    return _replaced(policy, numbers), refused, {target: variables[target] for target in numbers}


def unusable(policy: Policy, environment: Mapping[str, str]) -> list[Unusable]:
    """The numbers of the environment that cannot be used, for a caller who uses nothing instead."""
    return _read(policy, environment)[1]


def _read(policy: Policy, environment: Mapping[str, str]) -> tuple[dict[str, float], list[Unusable]]:
    """The numbers of the environment by what they replace, and those that cannot be used."""
    numbers: dict[str, float] = {}
    refused: list[Unusable] = []
    variables = {target: name for name, target in policy.environment.items()}
    for target, name in variables.items():
        text = environment.get(name, "").strip()
        number = _number(target, text)
        if number is not None:
            numbers[target] = number
        elif text:
            reason = f"{name} is '{printable(text, 60)}', but it must be {_allowed(target)}."
            refused.append(Unusable(_path(target), reason, f"{default(policy, target):g} is used."))
    refused += _in_order(policy, numbers, variables)
    return numbers, refused


def _number(target: str, text: str) -> float | None:
    """The number in a text; None if it is not an allowed number."""
    if target.endswith("learning_rate"):
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
        return None if fields.check(RATE, number)[1] else number
    number = int(text) if _WHOLE.fullmatch(text) else 0
    return number if 1 <= number <= _MOST[target.rpartition(".")[2]] else None


def _allowed(target: str) -> str:
    if target.endswith("learning_rate"):
        return f"a number above 0 and at most {fields.all_fields()[RATE].maximum:g}, such as 0.0004"
    return f"a whole number from 1 to {_MOST[target.rpartition('.')[2]]}"


def _path(target: str) -> str:
    if target.endswith("up_to"):
        return ""
    return RATE if target.endswith("learning_rate") else STEPS


def _in_order(policy: Policy, numbers: dict[str, float], variables: Mapping[str, str]) -> Iterator[Unusable]:
    """Removes numbers that contradict each other, and says which."""
    ends = [f"tiers.{place}.up_to" for place in range(len(policy.tiers) - 1)]
    pairs = [(low, high, "below") for low, high in itertools.pairwise(ends)]
    if policy.steps is not None:
        pairs.append(("steps.least", "steps.most", "at most"))
    for low, high, word in pairs:
        least, most = (numbers.get(target, default(policy, target)) for target in (low, high))
        if (low in numbers or high in numbers) and (least > most or (word == "below" and least == most)):
            numbers.pop(low, None)
            numbers.pop(high, None)
            names = variables.get(low, low), variables.get(high, high)
            defaults = f"{default(policy, low):g} and {default(policy, high):g}"
            reason = f"{names[0]} ({least:.0f}) must be {word} {names[1]} ({most:.0f})."
            yield Unusable(_path(low), reason, f"Both are ignored: {defaults} are used.")


def default(policy: Policy, target: str) -> float:
    """The policy's own number for a target."""
    table: Any = policy.model_dump()
    for key in _keys(target):
        table = table[key]
    return table


def _replaced(policy: Policy, numbers: Mapping[str, float]) -> Policy:
    if not numbers:
        return policy
    data = policy.model_dump()
    for target, number in numbers.items():
        *above, last = _keys(target)
        table: Any = data
        for key in above:
            table = table[key]
        table[last] = number
    return Policy.model_validate(data)


def _keys(target: str) -> list[str | int]:
    """The keys that lead to a target in a policy's data."""
    keys: list[str | int] = [int(key) if key.isdigit() else key for key in target.split(".")]
    return [*keys[:-1], "settings", RATE] if keys[-1] == "learning_rate" else keys

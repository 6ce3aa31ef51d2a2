"""Drafts with a number of pictures, for the tests of prefill policies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.backends import engine_plans
from trainer_core import policies
from trainer_core.datasets.scan import Dataset, Picture
from trainer_core.plan.draft import Draft, Source
from trainer_core.plan.facts import Facts
from trainer_core.policies import PolicyCase, Prefilled

CARD = {"memory.mixed_precision": "bf16"}
"""What a recent card says, without a memory preset."""


def prefilled(policy: str, images: int, environment: dict[str, str] | None = None, **given: Any) -> Prefilled:
    """What a policy sets for so many pictures; `given` by path, with two underscores for the dot."""
    above = {path.replace("__", "."): value for path, value in given.items()}
    return policies.get(policy).values(PolicyCase(images, above, environment=environment or {}))


def draft(images: int, **user: Any) -> Draft:
    """A draft over a dataset of so many pictures, with these values of the user's."""
    picture = Picture("a.png", 512, 512, "mika", None, Path("/pictures/a.png"))
    facts = Facts(engine_plans.machine(), dataset=Dataset(Path("/pictures"), (picture,) * images, (), ()))
    return Draft(facts, {Source.USER: {path.replace("__", "."): value for path, value in user.items()}})


def with_policy(policy: str, before: Draft, **environment: str) -> Draft:
    """A draft with a policy's values in force."""
    found = policies.recompute(policies.get(policy), before, CARD, environment)
    return before.with_layer(Source.PREFILL, policies.layered(CARD, found))

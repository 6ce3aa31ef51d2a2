"""Drafts with a number of images, for the tests of prefill policies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support import engine_plans
from trainer_core import policies
from trainer_core.datasets.scan import Dataset, DatasetImage
from trainer_core.draft.facts import Facts
from trainer_core.draft.layers import Draft, Source
from trainer_core.policies import PolicyCase, Prefilled

CARD = {"memory.mixed_precision": "bf16"}
"""The values set for a recent GPU, without a memory preset."""


def prefilled(policy: str, images: int, environment: dict[str, str] | None = None, **given: Any) -> Prefilled:
    """What a policy sets for a number of images; `given` by path, with two underscores instead of the dot."""
    above = {path.replace("__", "."): value for path, value in given.items()}
    return policies.values(policies.get(policy), PolicyCase(images, above, environment=environment or {}))


def draft(images: int, **user: Any) -> Draft:
    """A draft with a dataset of a number of images, and these values of the user."""
    image = DatasetImage("a.png", 512, 512, "mika", None, Path("/images/a.png"))
    facts = Facts(engine_plans.machine(), dataset=Dataset(Path("/images"), (image,) * images, (), ()))
    return Draft(facts, {Source.USER: {path.replace("__", "."): value for path, value in user.items()}})


def with_policy(policy: str, before: Draft, **environment: str) -> Draft:
    """A draft with a policy's values applied."""
    found = policies.recompute(policies.get(policy), before, CARD, environment)
    return before.with_layer(Source.PREFILL, policies.layered(CARD, found))

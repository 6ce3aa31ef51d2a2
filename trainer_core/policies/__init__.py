"""Prefill policies: steps, learning rates and repeats that follow from the number of images. Not: code that a policy could bring.

Each is one TOML file here. A policy's values override the profile's, and the user's values override the
policy's. A file here contains numbers and rules of a small, fixed vocabulary (`policy.py`); nothing in it is evaluated.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from trainer_core.errors import PolicyError, wrong_use
from trainer_core.policies.adjust import Adjustment, adjust, case_for, layered, recompute, undo
from trainer_core.policies.compute import Prefilled, epochs, values
from trainer_core.policies.policy import Policy, PolicyCase, load

__all__ = [
    "Adjustment",
    "Policy",
    "PolicyCase",
    "Prefilled",
    "adjust",
    "automatic",
    "case_for",
    "epochs",
    "for_family",
    "get",
    "layered",
    "load",
    "recompute",
    "shipped",
    "undo",
    "values",
]


@functools.cache
def shipped() -> Mapping[str, Policy]:
    """The policies that come with Easel, by id, in the order of their file names.

    Raises:
        PolicyError: one of the files cannot be read.
    """
    return {path.stem: load(path) for path in sorted(Path(__file__).parent.glob("*.toml"))}


def get(name: str) -> Policy:
    """The policy with this id.

    Raises:
        PolicyError: there is no such policy.
    """
    found = shipped().get(name)
    if found is None:
        raise wrong_use(PolicyError(f"There is no policy called {name!r:.80}.", f"Known: {', '.join(shipped())}."))
    return found


def automatic(family: str, method: str) -> Policy | None:
    """The policy for a job without a profile and without a chosen policy; None if there is none for this family and method."""
    found = (policy for policy in shipped().values() if policy.automatic and policy.suits(family, "", method))
    return next(found, None)


def for_family(family: str, use: str = "", method: str = "lora") -> list[Policy]:
    """The policies for a family, a use ("" for any) and a method: those made for the use first, then in order of title."""
    found = [policy for policy in shipped().values() if policy.suits(family, use, method)]
    return sorted(found, key=lambda policy: (use not in policy.uses, policy.title))

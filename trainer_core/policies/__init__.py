"""Prefill policies: steps, rates and repeats that follow from the number of pictures, as data, one TOML file each.

A policy lies over the profile and under what the user sets. A file here holds numbers and rules of a small closed
vocabulary (`policy.py`); nothing in it is evaluated.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from trainer_core.errors import PolicyError
from trainer_core.policies.adjust import Adjustment, adjust, case_for, layered, recompute, undo
from trainer_core.policies.compute import Prefilled, epochs
from trainer_core.policies.policy import Policy, PolicyCase, load

__all__ = [
    "Adjustment",
    "Policy",
    "PolicyCase",
    "Prefilled",
    "adjust",
    "case_for",
    "epochs",
    "for_family",
    "get",
    "layered",
    "load",
    "recompute",
    "shipped",
    "undo",
]


@functools.cache
def shipped() -> Mapping[str, Policy]:
    """The policies that come with Easel, by id, in the order of their files' names.

    Raises:
        PolicyError: one of the files is damaged.
    """
    return {path.stem: load(path) for path in sorted(Path(__file__).parent.glob("*.toml"))}


def get(name: str) -> Policy:
    """The policy with this id.

    Raises:
        PolicyError: there is none.
    """
    found = shipped().get(name)
    if found is None:
        raise PolicyError(f"There is no policy called {name!r:.80}.", f"Known: {', '.join(shipped())}.")
    return found


def for_family(family: str, use: str = "", method: str = "lora") -> list[Policy]:
    """The policies for a family, a use ("" for any) and a method: those made for the use first, then by title."""
    found = [policy for policy in shipped().values() if policy.suits(family, use, method)]
    return sorted(found, key=lambda policy: (use not in policy.uses, policy.title))

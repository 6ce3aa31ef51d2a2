"""Rules for the network that is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator

from trainer_core import catalog
from trainer_core.draft.checks.case import Case
from trainer_core.problems import Fix, Problem
from trainer_core.text import plain_number

MOST_EFFECT = 4.0
"""The factor alpha / rank above which a warning is shown: published settings have 0.06 to 2, and guides warn of 8."""


def alpha_suits_rank(case: Case) -> Iterator[Problem]:
    """Alpha / rank, which multiplies what the network has learned, is not far above 1.

    Source: Hu et al. 2021, LoRA, section 4.1: alpha / rank acts like a factor on the learning rate. `docs/guide/profiles.md`.
    """
    plan, network = case.plan, case.plan.network
    if plan.model.method != "lora" or not {"alpha", "rank"} <= set(catalog.algorithms()[network.algorithm].settings):
        return
    reads = catalog.algorithms()[network.algorithm].settings
    if "full_matrix" in reads and network.full_matrix:
        return
    stabilized = "rank_stabilized" in reads and network.rank_stabilized
    factor = network.alpha / (math.sqrt(network.rank) if stabilized else network.rank)
    if factor <= MOST_EFFECT:
        return
    by = "the square root of the rank" if stabilized else "the rank"
    message = (
        f"Alpha {network.alpha:g} with rank {network.rank}: the network acts {plain_number(factor)} times as strongly as its learning "
        f"rate says (alpha divided by {by}). Usual are 0.5 to 1; with more, the images easily break."
    )
    usual = round(math.sqrt(network.rank)) if stabilized else network.rank
    yield Problem("network.alpha", "warning", message, Fix(f"Use alpha {usual}", {"network.alpha": float(usual)}))

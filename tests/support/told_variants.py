"""The variant that a plan must name for an engine that is told which model of its family it trains."""

from __future__ import annotations

from collections.abc import Mapping

from trainer_core.engines.claim import FamilyClaim


def told(claim: FamilyClaim, method: str) -> Mapping[str, str]:
    """The setting with the first variant that the engine trains; empty for an engine that need not be told."""
    flavours = getattr(claim.cell(method), "flavours", {})
    return {"model.variant": next(iter(flavours))} if flavours else {}

"""Texts about a policy's values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from trainer_core import catalog
from trainer_core.policies.policy import (
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
)


class Effective(Protocol):
    """Effective values, by dotted path."""

    def __getitem__(self, path: str) -> Any: ...


def label(policy: Policy, place: int, images: int | None = None) -> str:
    """The name of a policy's tier with its range of images, and the number of images it was chosen for."""
    name, span = policy.tiers[place].name or policy.title, policy.span(place)
    named = f"{name} ({span})" if span else name
    return named if images is None else f"{named} for {image_count(images)}"


def image_count(count: int) -> str:
    """A number of images, as text."""
    return f"{count} image" if count == 1 else f"{count} images"


def because(label: str, reason: str, variables: Sequence[str] = ()) -> str:
    """The reason of a value: where it comes from, why, and the environment variables that contributed."""
    said = f"{label}: {reason}" if label and reason else reason or f"{label}."
    return f"{said} From {' and '.join(variables)}." if variables else said


def alpha(share: float, rank: int) -> str:
    """The reason of an alpha: its ratio to the rank."""
    how = {0.5: "Half of", 1.0: "Equal to"}.get(share, f"{share:g} times")
    return f"{how} the rank of {rank}."


def number(value: float) -> str:
    """A number in decimal notation: 0.00025, not 2.5e-04."""
    text = f"{value:.10f}".rstrip("0").rstrip(".")
    return text if float(text) == value else f"{value:g}"


def parts(owns: Collection[str], effective: Effective, mine: Mapping[str, Any], epochs: float | None) -> Iterator[str]:
    """The effective values of the settings a policy owns; those set by a higher layer (not in `mine`) are marked "as set"."""

    def marked(text: str, *paths: str) -> str:
        return text if any(path in mine for path in paths) else f"{text} as set"

    if STEPS in owns:
        yield marked(f"{effective[STEPS]} optimizer steps", STEPS)
    if RATE in owns:
        curve = f" ({catalog.schedulers()[effective[SCHEDULER]].title.lower()})" if SCHEDULER in owns else ""
        yield marked(f"learning rate {number(effective[RATE])}{curve}", RATE)
    if OPTIMIZER in owns:
        yield marked(f"optimizer {catalog.optimizers()[effective[OPTIMIZER]].title}", OPTIMIZER)
    if RANK in owns:
        yield marked(f"rank/alpha {effective[RANK]}/{number(effective[ALPHA])}", RANK, ALPHA)
    if BATCH in owns:
        yield marked(f"batch size {effective[BATCH]}", BATCH)
    if REPEATS in owns:
        yield marked(f"repeats {effective[REPEATS]}", REPEATS)
    if WARMUP in owns:
        yield marked(f"warm-up {effective[WARMUP]} steps", WARMUP)
    if epochs is not None:
        yield f"about {round(epochs)} epochs" if round(epochs) != 1 else "about 1 epoch"

"""What a training costs on a machine that is rented by the hour: the time of the estimate, times the price that the user named."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainer_core.errors import RemoteError, wrong_use
from trainer_core.hardware import ASSUMED
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.estimate import Estimate
    from trainer_core.prepare.state import State

BEFORE_S = (120.0, 900.0)
"""How long a rented machine takes for what is no training: its start, the downloads of images and model. An assumption."""
_PRICE = re.compile(r"(?P<sign>[^\d\s.,-]{0,4})\s*(?P<number>\d{1,6}(?:[.,]\d{1,4})?)\s*(?P<after>[^\d\s.,-]{0,4})")


@dataclass(frozen=True)
class Cost:
    """The least and the most that a training probably costs, in the user's currency, and a sentence about how that is known.

    Both are None if the time is not known.
    """

    least: float | None
    most: float | None
    sentence: str

    @property
    def words(self) -> str:
        """The range for a figure: "0.12 to 0.48"; "" if it is not known."""
        if self.least is None or self.most is None:
            return ""
        least, most = _rounded(self.least), _rounded(self.most)
        return least if least == most else f"{least} to {most}"


def parsed(text: str) -> float | None:
    """The price per hour that a user typed, as "0.69" or "$ 0,69"; None for nothing.

    Raises:
        RemoteError: it is no price.
    """
    if not text.strip():
        return None
    found = _PRICE.fullmatch(text.strip())
    if found is None:
        raise wrong_use(RemoteError(f"{printable(text, 40)!r} is no price per hour.", "Write a number, such as 0.69."))
    return float(found["number"].replace(",", "."))


def estimate_on(state: State, gpu: str) -> Estimate | None:
    """The estimate of a job on a large machine with a GPU of this name; None as long as no model or engine is known."""
    from trainer_core.estimate import estimate

    if state.backend is None or state.facts.detection is None or state.draft.value_problems():
        return None
    card = replace(ASSUMED.accelerator, name=gpu)
    facts = replace(state.facts, machine=replace(ASSUMED, accelerators=(card,)))
    return estimate(state.draft.sketch(), facts, manifest=state.backend.manifest)


def cost(estimate: Estimate | None, price: float | None, *, is_rented: bool = True) -> Cost:
    """What a training costs by its estimate; `is_rented` adds the time before the training starts."""
    if price is None:
        return Cost(None, None, "Enter what an hour costs, and Easel says what the training will probably cost.")
    if estimate is None or not estimate.is_time_known or estimate.seconds[1] <= 0:
        return Cost(
            None, None, "How long it takes is not known before the first steps, so its cost is not known either."
        )
    before = BEFORE_S if is_rented else (0.0, 0.0)
    low, high = sorted(estimate.seconds)
    least, most = ((part + each) / 3600 * price for part, each in zip((low, high), before, strict=True))
    added = (
        f" {math.ceil(before[0] / 60)} to {math.ceil(before[1] / 60)} minutes are added for the start of the machine and its downloads."
        if is_rented
        else ""
    )
    return Cost(least, most, f"The estimated time at {price:g} an hour.{added} An estimate, not an offer.")


def _rounded(amount: float) -> str:
    """An amount as people write it: 0.05, 1.20, 34."""
    return f"{amount:,.2f}" if amount < 10 else f"{amount:,.0f}"

"""Numbers that are typed into a field of a tool."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer_ui.tool_fields import Number


class NotThisError(ValueError):
    """What was typed is no number for this field; the text is a sentence for the user."""


def figure(text: str, field: Number | None = None) -> float:
    """The number that was typed; with a field, one that it accepts.

    Raises:
        NotThisError: it is none.
    """
    plain = text.strip()
    try:
        number = float(plain.replace(",", "."))
    except ValueError:
        raise NotThisError(f"“{plain[:40]}” is not a number." if plain else "Enter a number.") from None
    if not math.isfinite(number):
        raise NotThisError(f"“{plain[:40]}” is not a number that can be used.")
    if field is None:
        return number
    if field.whole and number != int(number):
        raise NotThisError(f"{number:g} is not a whole number.")
    if (field.low is not None and number < field.low) or (field.high is not None and number > field.high):
        raise NotThisError(f"{number:g} is not possible: choose a number {_bounds(field)}.")
    return int(number) if field.whole else number


def _bounds(field: Number) -> str:
    if field.low is None:
        return f"of at most {field.high:g}"
    return f"of at least {field.low:g}" if field.high is None else f"from {field.low:g} to {field.high:g}"

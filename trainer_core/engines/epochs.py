"""Converts between epochs and optimizer steps. `batches.steps_of_epoch` says how many steps an epoch has."""

from __future__ import annotations

import math
from fractions import Fraction

MOST_DIGITS = 6
"""Digits after the point. An epoch of at most a million steps needs no more to show that a number of epochs is not whole."""


def to_epochs(steps: int, each: Fraction) -> Fraction:
    """The number of epochs that so many steps are, exactly; `each` is the number of steps of an epoch."""
    return steps / each


def to_steps(epochs: Fraction, each: Fraction) -> int:
    """The least whole number of steps that is at least so many epochs, so that no image is seen less often."""
    return max(1, math.ceil(epochs * each))


def parse(text: str) -> Fraction:
    """A number of epochs that somebody wrote, such as 20 or 2.5 or 1,000.

    Raises:
        ValueError: it is not a number above 0; the message is a sentence.
    """
    plain = text.strip().replace(",", "").removesuffix("epochs").removesuffix("epoch").strip()
    try:
        found = Fraction(plain) if len(plain) <= 20 and "/" not in plain and "e" not in plain.lower() else None
    except (ValueError, ZeroDivisionError):
        found = None
    if found is None or found <= 0:
        raise ValueError(f"{text.strip()!r:.40} is not a number of epochs. Type one above 0, such as 10 or 2.5.")
    return found


def shown(epochs: Fraction) -> str:
    """A number of epochs for people: without a point if it is whole, otherwise with enough digits to show that it is not."""
    if epochs.denominator == 1:
        return f"{epochs.numerator:,}"
    texts = [f"{float(epochs):,.{digits}f}" for digits in range(1, MOST_DIGITS + 1)]
    return next((text for text in texts if text.rstrip("0")[-1] != "."), texts[-1])


def sentence(each: Fraction) -> str:
    """How many steps make an epoch, as a sentence."""
    count = shown(each)
    return f"{count} {'step makes' if count == '1' else 'steps make'} an epoch."

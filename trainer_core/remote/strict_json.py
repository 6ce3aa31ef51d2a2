"""Reads JSON from outside without losing anything: no key twice, and no number that JSON does not have."""

from __future__ import annotations

import json
import math
from typing import Any


def loads(data: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, is nested too deeply, has a key twice, or a number that is infinite or none.
    """
    try:
        return json.loads(data, object_pairs_hook=_object, parse_float=_number, parse_constant=_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; with a key twice, one of the values would be lost."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _number(text: str) -> float:
    """A number; one that is infinite or none could not be written again."""
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"{text:.40} is no number of JSON")
    return found

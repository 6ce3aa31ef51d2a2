"""Values in metadata: text that was once a number, a tuple or a table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple


class Found(NamedTuple):
    """A value that metadata tells for a setting, and in which words it does."""

    path: str
    value: Any
    basis: str


def number(text: object) -> int | float | None:
    """The finite number that a text or a value of JSON is; None for anything else, "None" included."""
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        return None
    if isinstance(text, str) and len(text) > 40:
        return None
    try:
        found = float(text)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(found):
        return None
    return int(found) if found.is_integer() and abs(found) < 2**53 else found


def truth(text: object) -> bool | None:
    """The truth value that a text or a value of JSON is."""
    if isinstance(text, bool):
        return text
    return {"true": True, "false": False}.get(text.lower()) if isinstance(text, str) else None


def tables(text: object) -> Any:
    """The JSON in a text; None where it is none."""
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def mapping(text: object) -> Mapping[str, Any]:
    """The JSON object in a text; empty where it is none."""
    found = tables(text)
    return found if isinstance(found, dict) else {}


def side(text: object) -> int | None:
    """The resolution that "(1024, 1024)", "1024x1024", "1024,1024", [1024, 1024] or 1024 stand for: the side of its square."""
    if isinstance(text, str) and len(text) < 60:
        text = text.strip("()[] ").replace("x", ",").split(",")
    parts = [number(part) for part in (text if isinstance(text, list) else [text])[:2]]
    sides = [part for part in parts if part is not None and 0 < part < 100_000]
    return round(math.prod(sides) ** (1 / len(sides))) if sides and len(sides) == len(parts) else None

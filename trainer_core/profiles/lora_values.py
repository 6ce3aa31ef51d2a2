"""Reads values in metadata: numbers, tuples and tables saved as text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple


class Found(NamedTuple):
    """A value that metadata contains for a setting, and the key it comes from."""

    path: str
    value: Any
    basis: str


def number(text: object) -> int | float | None:
    """The finite number in a text or a JSON value; None for anything else, "None" included."""
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
    """The boolean in a text or a JSON value; None for anything else."""
    if isinstance(text, bool):
        return text
    return {"true": True, "false": False}.get(text.lower()) if isinstance(text, str) else None


def tables(text: object) -> Any:
    """The JSON value in a text; None if it is not JSON."""
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def mapping(text: object) -> Mapping[str, Any]:
    """The JSON object in a text; empty if it is not one."""
    found = tables(text)
    return found if isinstance(found, dict) else {}


def side(text: object) -> int | None:
    """The resolution in "(1024, 1024)", "1024x1024", "1024,1024", [1024, 1024] or 1024: the side of a square of that area."""
    if isinstance(text, str) and len(text) < 60:
        text = text.strip("()[] ").replace("x", ",").split(",")
    parts = [number(part) for part in (text if isinstance(text, list) else [text])[:2]]
    sides = [part for part in parts if part is not None and 0 < part < 100_000]
    return round(math.prod(sides) ** (1 / len(sides))) if sides and len(sides) == len(parts) else None

"""Keeps recorded headers small: repeated blocks are written once, as "0..27" instead of 28 equal entries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

RUN = re.compile(r"(\d+)\.\.(\d+)")


def fold(tensors: Mapping[str, str]) -> dict[str, Any]:
    """The tensors as nested objects, one level for each word of a key; equal neighbours with numbers become one entry."""
    nested: dict[str, Any] = {}
    for key, value in tensors.items():
        *path, leaf = key.split(".")
        node = nested
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value
    folded = _folded(nested)
    assert dict(unfold(folded)) == dict(tensors), "folding lost something"
    return folded


def _folded(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    rows: list[list[Any]] = []
    for key, inner in node.items():
        value = _folded(inner)
        last = rows[-1] if rows else None
        follows = last is not None and key.isdigit() and last[1].isdigit() and int(key) == int(last[1]) + 1
        if last is not None and follows and last[2] == value:
            last[1] = key
        else:
            rows.append([key, key, value])
    return {first if first == last else f"{first}..{last}": value for first, last, value in rows}


def unfold(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The names and values that were folded."""
    for key, value in node.items():
        run = RUN.fullmatch(key)
        for name in range(int(run[1]), int(run[2]) + 1) if run else (key,):
            if isinstance(value, dict):
                yield from unfold(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", value

"""Which answers of the program that tries something are whole: a check reads no other.

A pattern is a type, a list with the pattern of each entry, or a table with those of the entries that must be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

_ROW = {"name": str, "kind": str, "ok": bool, "reason": str}
_COUNTED = {"bytes": int, "full_bytes": int, "numbers": int}
_PATTERNS: Mapping[str, Mapping[str, Any]] = {
    "kernel": {"ok": bool, "reason": str, "torch": str, "architectures": [str], "devices": [_ROW]},
    "bitsandbytes": {"ok": bool, "reason": str},
    "attention": {"ok": bool, "reason": str, "device": str, "kinds": dict},
}


def is_whole(found: object, what: str) -> TypeGuard[dict[str, Any]]:
    """Whether the answer about "kernel", "bitsandbytes" or "attention" has all that the check of it reads."""
    if not isinstance(found, dict) or not _fits(found, _PATTERNS[what]):
        return False
    if what == "kernel":
        return bool(found["devices"]) and all(
            not row["ok"] or _fits(row, {"precisions": [str]}) for row in found["devices"]
        )
    if what == "attention":
        return all(_fits(row, {"ok": bool}) for row in found["kinds"].values())
    if found.get("absent") is True:
        return not found["ok"]
    if not _fits(found, {"device": str}):
        return False
    if not found["ok"]:
        return True
    more = {"allocated": int, "full_allocated": int} if "allocated" in found else {}
    return _fits(found, {**_COUNTED, **more}) and found["full_bytes"] > 0


def _fits(value: Any, pattern: Any) -> bool:
    if isinstance(pattern, Mapping):
        return isinstance(value, dict) and all(name in value and _fits(value[name], pattern[name]) for name in pattern)
    if isinstance(pattern, list):
        return isinstance(value, list) and all(_fits(each, pattern[0]) for each in value)
    return isinstance(value, pattern) and (pattern is bool or not isinstance(value, bool))

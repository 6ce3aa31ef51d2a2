"""Converts older profile files to the current format in memory; the file is not changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer_core.profiles.profile import FORMAT
from trainer_core.profiles.reading import refused

KEYS_OF_1 = frozenset({"id", "title", "family", "method", "use", "explanation", "sources", "settings", "format"})


def migrated(data: Mapping[str, Any], name: str) -> tuple[dict[str, Any], int]:
    """The tables in the current format, and the format of the file; a file without a format is of format 1.

    Raises:
        ProfileError: the format is invalid, or that of a later Easel.
    """
    found = data.get("format", 1)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise refused(name, "format", "the format must be a whole number, 1 or higher.", f"Write format = {FORMAT}.")
    if found > FORMAT:
        reason = f"the file has format {found}, but this Easel reads formats up to {FORMAT}."
        raise refused(name, "format", reason, "Update Easel.")
    return (_from_1(data, name) if found == 1 else dict(data)), found


def _from_1(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The tables of format 1 in the current format: its sources, a list of texts, become tables."""
    if newer := sorted(set(data) - KEYS_OF_1):
        hint = f"If the file has the current format, write format = {FORMAT} at its top."
        raise refused(name, newer[0], "this is not a key of a profile of format 1.", hint)
    sources = data.get("sources", [])
    if not isinstance(sources, list) or not all(isinstance(source, str) and source.strip() for source in sources):
        raise refused(name, "sources", "sources must be a list of texts in a file of format 1.")
    numbered = [{"id": f"source-{number}", "title": text} for number, text in enumerate(sources, 1)]
    return {**data, "sources": numbered, "format": FORMAT}

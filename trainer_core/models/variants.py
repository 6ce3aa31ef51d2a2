"""Which variant of its family a model is, where the header of several is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer_core.models.detection import Detection


def likely(family: str, detection: Detection | None) -> str:
    """Which variant of its family a model is: by its header or, among variants with the same header, by its name; "" if unknown."""
    from trainer_core.models.families import load_families

    if detection is None or not family or detection.family != family:
        return ""
    found, seen = load_families()[family], detection.variant
    guessed = detection.guess.variant if detection.guess else ""
    if guessed in found.alike(seen, detection.layout):
        return guessed
    # A model that edits images is named so; what is not named is not taken for one.
    return "" if found.twins.get(seen) else seen

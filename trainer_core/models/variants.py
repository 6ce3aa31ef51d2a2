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


def distilled(family: str, detection: Detection | None, told: str = "") -> str:
    """What says that a model was distilled to few steps, as the beginning of a sentence; "" if nothing does.

    `told` is the variant that the user named, which counts more than the name of the file.
    """
    from trainer_core.models.families import load_families

    if family not in load_families():
        return ""
    known, guess = load_families()[family], detection.guess if detection else None
    if guess and guess.distilled and not (told and guess.variant and told != guess.variant):
        return f"By its name this is {guess.title}"
    variant = told or likely(family, detection)
    return (
        f"This is the variant {variant} of {known.title}, distilled to few steps" if variant in known.distilled else ""
    )

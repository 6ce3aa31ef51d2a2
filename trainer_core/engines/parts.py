"""Which parts an engine reads from the model's own file, which from separate files, and in which layouts and prefixes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trainer_core.engines import trainable
from trainer_core.engines.claim import FamilyClaim

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest
    from trainer_core.models.detection import Detection
    from trainer_core.models.library import Companions, Library
    from trainer_core.models.renaming import Form


def own(found: Detection | None, claim: FamilyClaim) -> tuple[str, ...]:
    """The settings of parts that the engine reads from the model's file, if they are set to the path of that file."""
    if found is None:
        return ()
    return tuple(part for part in claim.needed_parts(found.parts) if _reads_inside(found, part, claim))


def separate(found: Detection | None, claim: FamilyClaim) -> tuple[str, ...]:
    """The settings of parts for which the engine needs a separate file."""
    inside = own(found, claim)
    return tuple(part for part in claim.needed_parts(found.parts if found else ()) if part not in inside)


def find(library: Library, found: Detection, manifest: BackendManifest) -> Companions:
    """The companion files that a library has for a model and an engine."""
    claim = manifest.families.get(found.family or "")
    if claim is None:
        return library.parts_for(found)

    def why_not(part: str, seen: Detection) -> str:
        return unread(seen, part, claim, manifest.title)

    return library.parts_for(found, separate(found, claim), why_not)


def _reads_inside(found: Detection, part: str, claim: FamilyClaim) -> bool:
    prefix = found.part_prefixes.get(part)
    # Without a prefix, the loader could not distinguish the tensors of the part from those of the model.
    return bool(prefix) and prefix in claim.part_prefixes.get(part, ())


def unread(found: Detection, part: str, claim: FamilyClaim, engine: str) -> str:
    """Why the engine's loader cannot read a file of the right kind; "" if it can, or if that is unknown."""
    layouts, prefixes = claim.part_layouts.get(part), claim.part_prefixes.get(part)
    if found.layout and layouts is not None and found.layout not in layouts:
        return (
            f"The tensor names in this file have the layout {found.layout}, but {engine} reads only the layout "
            f"{' or '.join(layouts)}."
        )
    if (found.layout or found.prefix) and prefixes is not None and found.prefix not in prefixes:
        return _odd_prefix(found.prefix, prefixes, engine)
    return trainable.not_leading(found, part, claim, engine)


def _odd_prefix(prefix: str, prefixes: tuple[str, ...], engine: str) -> str:
    odd = f"begin with {prefix!r:.80}" if prefix else f"lack the prefix {prefixes[0]!r}"
    return f"The tensor names in this file {odd}, and {engine} does not support that."


def wanted(kind: str, found: Detection, part: str, claim: FamilyClaim) -> Form | None:
    """The form to which a file can be renamed without loss, so that the engine reads it; None if there is no renaming.

    `part` is the setting, "path" for the model. The form of a part inside the model's file is not in `found`.
    """
    from trainer_core.models import renaming

    layouts = claim.layouts if part == "path" else claim.part_layouts.get(part)
    prefixes = claim.prefixes if part == "path" else claim.part_prefixes.get(part)
    layout = layouts[0] if layouts else found.layout
    to = renaming.Form(found.layout if layouts and found.layout in layouts else layout, prefixes[0] if prefixes else "")
    return to if renaming.is_possible(kind, renaming.Form(found.layout, found.prefix), to) else None


def renamed_model(found: Detection, manifest: BackendManifest) -> Form | None:
    """The form to which a model's file can be renamed, so that the engine trains it; None if renaming does not help."""
    claim = manifest.families.get(found.family or "")
    to = wanted(found.family or "", found, "path", claim) if claim and found.format == "safetensors" else None
    if to is None:
        return None
    # The copy contains only the denoiser.
    alone = {"role": "diffusion_model", "parts": (), "part_prefixes": {}}
    renamed = replace(found, layout=to.layout, prefix=to.prefix, first_name=to.prefix, **alone)
    return None if trainable.why_not(renamed, manifest) else to

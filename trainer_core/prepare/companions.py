"""The companion files that a model needs with the engine that Easel would choose; used by `detect`, `models` and plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.engines import parts, registry, trainable
from trainer_core.install import choice
from trainer_core.models.families import load_families

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest
    from trainer_core.models.detection import Detection
    from trainer_core.models.library import Companions, Library


def engine_for(found: Detection) -> BackendManifest | None:
    """The engine that Easel would choose for a model; None if it trains neither the model nor a copy with other tensor names."""
    engines = registry.available()
    chosen = choice.choose(found.family or "", engines, choice.installations(engines), found=found)
    if chosen is None:
        return None
    is_trained = not trainable.why_not(found, chosen.manifest) or parts.renamed_model(found, chosen.manifest)
    return chosen.manifest if is_trained else None


def needed(found: Detection | None) -> tuple[str, ...]:
    """The settings of the files that a base model needs besides its own.

    Without an engine for the model, they are the parts of the family that the model does not contain.
    """
    family = load_families().get(found.family or "") if found and found.role in trainable.BASES else None
    if found is None or family is None:
        return ()
    if engine := engine_for(found):
        return parts.separate(found, engine.families[family.id])
    return tuple(part for part in family.parts_of(found.variant) if part not in found.parts)


def inside(found: Detection) -> tuple[str, ...]:
    """The settings of the parts that the engine reads from the model's own file, if its path is set there too."""
    engine = engine_for(found)
    return parts.own(found, engine.families[found.family or ""]) if engine else ()


def find(library: Library, found: Detection) -> Companions:
    """The companion files that a library has for a model."""
    engine = engine_for(found)
    return parts.find(library, found, engine) if engine else library.parts_for(found)

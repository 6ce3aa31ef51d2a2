"""Which engines can train a model, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core import catalog
from trainer_core.engines import registry
from trainer_core.engines.claim import FamilyClaim
from trainer_core.engines.manifest import BackendManifest
from trainer_core.models import formats, variants

if TYPE_CHECKING:
    from trainer_core.models.detection import Detection
    from trainer_core.models.library import Entry, Library

BASES = ("checkpoint", "diffusion_model")
"""The roles of files that can be a base model."""


@dataclass(frozen=True)
class Choice:
    """A base model: the ids of the engines that can train it or, if there are none, the reason."""

    entry: Entry
    engines: tuple[str, ...]
    why_not: str = ""


def choices(library: Library, engines: Iterable[BackendManifest] | None = None) -> tuple[Choice, ...]:
    """The base models of a library, newest first: those that an engine can train, then the others, each with the reason.

    `engines` are those of the registry by default. Files that are not recognised come last; other files
    (LoRAs, VAEs, text encoders) are left out.
    """
    if engines is None:
        engines = [backend.manifest for backend in registry.available()]
    engines = list(engines)
    found = []
    for entry in library.of():
        if entry.found is None or entry.role == "unknown":
            found.append(Choice(entry, (), entry.error or "It is not recognised."))
        elif entry.role in BASES:
            reasons = {engine.id: why_not(entry.found, engine) for engine in engines}
            able = tuple(engine for engine, reason in reasons.items() if not reason)
            # Engines often refuse for the same reason.
            reason = "" if able else " ".join(dict.fromkeys(reasons.values())) or "There is no engine."
            found.append(Choice(entry, able, reason))
    return tuple(sorted(found, key=lambda choice: (not choice.engines, choice.entry.role == "unknown")))


def by(found: Detection) -> tuple[str, ...]:
    """The ids of the engines that can train a model."""
    return tuple(engine.manifest.id for engine in registry.available() if not why_not(found, engine.manifest))


def why_not(found: Detection, manifest: BackendManifest, variant: str = "") -> str:
    """The sentence that says why an engine cannot train a model; "" if it can. `variant` is the one that the user named."""
    if found.role not in BASES:
        return f"{_noun(found.role)} is not a base model, so it cannot be trained."
    if reason := formats.unread(found):
        return reason
    claim = manifest.families.get(found.family or "")
    if claim is None:
        reason = manifest.refused.get(found.family or "", "")
        return f"{manifest.title} does not train {family_title(found.family)}{f': {reason}' if reason else '.'}"
    variant = variant or variants.likely(found.family or "", found)
    if reason := claim.without.get(variant or found.variant):
        return reason
    if found.apart and found.variant not in claim.also_trained:
        return found.apart
    return _misfit(found, claim, manifest.title, variant)


def _misfit(found: Detection, claim: FamilyClaim, engine: str, variant: str) -> str:
    """Why an engine that trains the family cannot load the model in this form; "" if it can."""
    if found.layout == "pipeline":
        return "" if claim.folders else needs_file(found.family or "", engine)
    if not claim.single_file:
        return needs_folder(found.family or "", engine, variant, found)
    return _lacks(found, claim) or _odd_names(found, claim, engine)


def needs_file(family: str, engine: str) -> str:
    """The sentences that an engine reads a family only from a single file, and which command lists such files, if any does."""
    from trainer_core.models import starters

    is_listed = any(each.family == family for each in starters.shipped().values())
    command = f"easel models starter --family {family}"
    how = f" In a terminal, {command} lists files that can be downloaded." if is_listed else ""
    return f"{engine} reads this family from one .safetensors file, not from a diffusers folder.{how}"


def needs_folder(family: str, engine: str, variant: str = "", found: Detection | None = None) -> str:
    """The sentences that an engine reads a family only from a diffusers folder, and how to get the one of its publisher."""
    from trainer_core.models.families import load_families

    known = load_families().get(family)
    folders = known.folders if known else {}
    seen = (found.variant, found.layout) if found and found.family == family else ("", None)
    alike = known.alike(*seen) if known else ()
    wanted = [variant] if variant in folders else [each for each in alike if each in folders] or [""]
    commands = [
        f"easel models download {repository}{f' ({each})' if len(wanted) > 1 else ''}"
        for each in wanted
        for repository in folders.get(each, ())
    ]
    how = (
        f"In a terminal, {' or '.join(commands)} fetches the folder of its publisher."
        if commands
        else "In a terminal, easel models download OWNER/NAME fetches a folder, where OWNER/NAME is the repository of its publisher on Hugging Face."
    )
    return f"{engine} reads this family from a diffusers folder, not from a single file. {how}"


def _lacks(found: Detection, claim: FamilyClaim) -> str:
    """The sentence that a file lacks components which the engine reads only from that file; "" if it has them."""
    if not set(claim.parts) <= set(claim.optional_parts):
        return ""
    if found.role == "diffusion_model":
        alone = "The file contains only the denoiser, but the engine reads text encoders and VAE from the same file."
        return f"{alone} Choose the full checkpoint."
    from trainer_core.models.families import load_families

    family = load_families().get(found.family or "")
    kinds = family.parts_of(found.variant) if family and found.parts else {}
    absent = [catalog.parts()[kinds[setting][0]].title for setting in kinds if setting not in found.parts]
    if not absent:
        return ""
    lacking = f"The file is incomplete: it contains no {' and no '.join(absent)}, which the training needs."
    return f"{lacking} Choose the full checkpoint."


def _odd_names(found: Detection, claim: FamilyClaim, engine: str) -> str:
    """The sentence that the engine's loader does not support the tensor names of a file; "" if it does, or if unknown."""
    layouts, prefixes = claim.layouts, claim.prefixes
    hint = "Use the original file of the model's publisher, or convert this one."
    if found.layout and layouts is not None and found.layout not in layouts:
        known = " and ".join(layouts)
        return (
            f"{engine} supports this family in the layout {known}, but this file has the layout {found.layout}. {hint}"
        )
    if found.layout and prefixes is not None and found.prefix not in prefixes:
        odd = f"which begin with {found.prefix!r}" if found.prefix else f"which lack the prefix {prefixes[0]!r}"
        return f"{engine} does not support the tensor names in this file, {odd}. {hint}"
    return f"{reason} {hint}" if (reason := not_leading(found, "path", claim, engine)) else ""


def not_leading(found: Detection, setting: str, claim: FamilyClaim, engine: str) -> str:
    """The sentence that the loader keeps the prefix because the first name in the file lacks it; "" if that is not the case."""
    if setting not in claim.leading_prefixes or not found.prefix or found.first_name.startswith(found.prefix):
        return ""
    return (
        f"{engine} removes the prefix {found.prefix!r} only if the first name in the file has it, "
        f"and the first one is {found.first_name!r:.80}."
    )


def family_title(family: str | None) -> str:
    """The name of a family in a sentence."""
    from trainer_core.models.families import load_families

    known = load_families().get(family or "")
    return known.title if known else "an unknown family"


def _noun(role: str) -> str:
    nouns = {"lora": "A LoRA", "vae": "A VAE", "controlnet": "A ControlNet", "embedding": "An embedding"}
    return nouns.get(role) or ("A text encoder" if role == "text_encoder" else "A file that is not recognised")

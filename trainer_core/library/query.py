"""A scanned library, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core.detection import Detection
from trainer_core.families import load_families
from trainer_core.library import beside
from trainer_core.library.entry import Entry
from trainer_core.library.roots import Root

if TYPE_CHECKING:
    from trainer_core.backend import BackendManifest


@dataclass(frozen=True)
class Choice:
    """A model that could be trained on: the ids of the engines that train it or, where there is none, why not."""

    entry: Entry
    engines: tuple[str, ...]
    why_not: str = ""


@dataclass(frozen=True)
class Library:
    """The models of some folders as they were at one scan.

    `entries` are in the order of the folders and, within each, of the paths. `notices` are sentences about folders and
    files that were not looked at. `is_complete` is False after a scan that was cancelled. `files_read` is how many
    models had to be read, the rest being known from before.
    """

    entries: tuple[Entry, ...] = ()
    roots: tuple[Root, ...] = ()
    notices: tuple[str, ...] = ()
    is_complete: bool = True
    files_read: int = 0

    def of(self, *, role: str = "", family: str = "", part: str = "") -> tuple[Entry, ...]:
        """The models of a role, of (or made for) a family, of a kind of part (catalog/parts.toml); newest first."""
        return newest(
            entry
            for entry in self.entries
            if (not role or entry.role == role)
            and (not family or entry.family == family)
            and (not part or beside.kind_of(entry) == part)
        )

    def find(self, text: str) -> tuple[Entry, ...]:
        """The models that every word of a text speaks of, by path, role, family or kind; newest first."""
        words = text.casefold().split()
        return newest(entry for entry in self.entries if all(word in _described(entry) for word in words))

    def parts_for(self, found: Detection, needed: Collection[str] | None = None) -> beside.PartsFound:
        """The files that a model needs beside it: which to take, which not and why, and which are missing.

        `needed` are the settings to look for, for example `FamilyClaim.needed_parts`; by default all parts of the family
        that the model does not hold itself.
        """
        return beside.parts_for(self.entries, found, needed)

    def trainable(self, engines: Iterable[BackendManifest] | None = None) -> tuple[Choice, ...]:
        """The base models, newest first: those that an engine trains, then the others, each with the reason.

        `engines` are those of the registry unless given. Files that are not recognised come last; what is no base model
        (LoRAs, VAEs, text encoders) is left out.
        """
        from trainer_core import registry, trainable

        if engines is None:
            engines = [backend.manifest for backend in registry.available()]
        engines = list(engines)
        choices = []
        for entry in newest(self.entries):
            if entry.found is None or entry.role == "unknown":
                choices.append(Choice(entry, (), entry.error or "It is not recognised."))
            elif entry.role in trainable.BASES:
                reasons = {engine.id: trainable.why_not(entry.found, engine) for engine in engines}
                able = tuple(engine for engine, reason in reasons.items() if not reason)
                # Engines often refuse for the same reason.
                why_not = "" if able else " ".join(dict.fromkeys(reasons.values())) or "There is no engine."
                choices.append(Choice(entry, able, why_not))
        return tuple(sorted(choices, key=lambda choice: (not choice.engines, choice.entry.role == "unknown")))


def newest(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Entries by the time of their last change, the newest first."""
    return tuple(sorted(entries, key=lambda entry: (-entry.modified_s, str(entry.path))))


def _described(entry: Entry) -> str:
    """The words that a model is found by."""
    words = [str(entry.path), entry.role.replace("_", " "), entry.family]
    if family := load_families().get(entry.family):
        words.append(family.title)
    if found := entry.found:
        words += [found.variant, found.dtype, found.format, found.prediction or ""]
        words += [found.guess.id, found.guess.title] if found.guess else []
    return "\n".join(words).casefold()

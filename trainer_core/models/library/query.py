"""A scanned library, and the ways to search it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from trainer_core.models.detection import Detection
from trainer_core.models.families import load_families
from trainer_core.models.library import companions
from trainer_core.models.library.entry import Entry
from trainer_core.models.library.roots import Root


@dataclass(frozen=True)
class Library:
    """The models of some folders, as one scan found them.

    `entries` are in the order of the folders and, within each folder, of the paths. `notices` are sentences about folders
    and files that were skipped. `is_complete` is False after a cancelled scan. `files_read` is the number of models that
    were read; the others were known from an earlier scan.
    """

    entries: tuple[Entry, ...] = ()
    roots: tuple[Root, ...] = ()
    notices: tuple[str, ...] = ()
    is_complete: bool = True
    files_read: int = 0

    def of(self, *, role: str = "", family: str = "", part: str = "") -> tuple[Entry, ...]:
        """The models of a role, a family (or made for it), and a kind of part (catalog/parts.toml); newest first."""
        return newest(
            entry
            for entry in self.entries
            if (not role or entry.role == role)
            and (not family or entry.family == family)
            and (not part or companions.kind_of(entry) == part)
        )

    def find(self, text: str) -> tuple[Entry, ...]:
        """The models whose path, role, family or kind contain every word of a text; newest first."""
        words = text.casefold().split()
        return newest(entry for entry in self.entries if all(word in _described(entry) for word in words))

    def parts_for(
        self,
        found: Detection,
        needed: Collection[str] | None = None,
        unread: Callable[[str, Detection], str] = companions.reads_all,
    ) -> companions.Companions:
        """The companion files that a model needs: which to use, which not and why, and which are missing.

        `needed` are the settings to look for, for example `FamilyClaim.needed_parts`; by default all parts of the family
        that the model does not contain. `unread` is why the engine cannot read a file for a setting, "" if it can.
        """
        return companions.parts_for(self.entries, found, needed, unread)


def newest(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries sorted by the time of their last change, newest first."""
    return tuple(sorted(entries, key=lambda entry: (-entry.modified_s, str(entry.path))))


def _described(entry: Entry) -> str:
    """The text that a search for a model looks through."""
    words = [str(entry.path), entry.role.replace("_", " "), entry.family]
    if family := load_families().get(entry.family):
        words.append(family.title)
    if found := entry.found:
        words += [found.variant, found.dtype, found.format, found.prediction or ""]
        words += [found.guess.id, found.guess.title] if found.guess else []
    return "\n".join(words).casefold()

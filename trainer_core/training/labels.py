"""What a user calls a run: a name, a note and tags, in `labels.json` of the run folder. A run folder may come from anybody."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

from trainer_core import places
from trainer_core.errors import RunError
from trainer_core.files import set_aside
from trainer_core.jobs.alone import alone
from trainer_core.jobs.folder import JobFolder, entries_of, is_job, writing

FILE = "labels.json"
NEWEST = "last"
"""The word by which commands find the run that was started last."""
VERSION = 1
LONGEST_NAME = 100
LONGEST_NOTE = 4000
MOST_TAGS = 20
_TAG = re.compile(r"[\w.-]{1,40}")


@dataclass(frozen=True)
class Labels:
    """A name, a note and tags; each may be empty. They are plain text from outside: show them with `text.printable`."""

    name: str = ""
    note: str = ""
    tags: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The labels as JSON data."""
        return {"name": self.name, "note": self.note, "tags": list(self.tags)}

    def named(self, name: str) -> Self:
        """These labels with another name; "" removes it.

        Raises:
            RunError: the name is too long or has several lines.
        """
        plain = name.strip()
        if len(plain) > LONGEST_NAME or len(plain.splitlines()) > 1:
            raise RunError("This name cannot be used.", f"A name is one line of at most {LONGEST_NAME} characters.")
        return dataclasses.replace(self, name=plain)

    def noted(self, note: str) -> Self:
        """These labels with another note; "" removes it.

        Raises:
            RunError: the note is too long.
        """
        plain = note.strip()
        if len(plain) > LONGEST_NOTE:
            raise RunError(f"This note has {len(plain)} characters.", f"A note has at most {LONGEST_NOTE}: shorten it.")
        return dataclasses.replace(self, note=plain)

    def tagged(self, added: Iterable[str] = (), removed: Iterable[str] = ()) -> Self:
        """These labels with more and fewer tags.

        Raises:
            RunError: a tag has other characters than letters, digits, dot, dash and underscore, or there are too many.
        """
        added, removed = list(added), set(removed)
        if wrong := [tag for tag in added if not _TAG.fullmatch(tag)]:
            raise RunError(
                f"{wrong[0]!r:.80} cannot be a tag.",
                "A tag has at most 40 letters, digits, dots, dashes and underscores.",
            )
        tags = tuple(dict.fromkeys(tag for tag in (*self.tags, *added) if tag not in removed))
        if len(tags) > MOST_TAGS:
            raise RunError(f"A run has at most {MOST_TAGS} tags.", "Remove one with: easel runs tag RUN -- -TAG")
        return dataclasses.replace(self, tags=tags)


def read(folder: JobFolder) -> Labels:
    """The labels of a run. What is damaged or too long in the file is left out or cut."""
    data = folder.read(FILE) or {}
    name, note, tags = data.get("name"), data.get("note"), data.get("tags")
    name = " ".join(name[:LONGEST_NAME].split()) if isinstance(name, str) else ""
    note = note[:LONGEST_NOTE] if isinstance(note, str) else ""
    found = [tag for tag in tags if isinstance(tag, str) and _TAG.fullmatch(tag)] if isinstance(tags, list) else []
    return Labels(name, note, tuple(dict.fromkeys(found))[:MOST_TAGS])


def change(folder: JobFolder, made: Callable[[Labels], Labels]) -> Labels:
    """The labels of a run after `made` has changed them; what others change at the same time is kept.

    Raises:
        RunError: `made` refuses the change.
        JobError: the run folder cannot be written.
    """
    with alone(folder.path):
        changed = made(read(folder))
        write(folder, changed)
    return changed


def check_name(folder: JobFolder, name: str) -> None:
    """Checks that a name leads to this run only, among the runs beside it.

    Raises:
        RunError: commands would find another run by this name, too.
    """
    plain = name.strip()
    if not plain:
        return
    advice = "Choose another name: commands find a run by its name."
    if plain == NEWEST:
        raise RunError(f"{NEWEST!r} stands for the run that was started last.", advice)
    for path in sorted(entries_of(folder.path.parent)):
        if places.real(path) == places.real(folder.path) or not is_job(path):
            continue
        if read(JobFolder(path)).name == plain:
            raise RunError(f"The run {path.name} has this name already.", advice)
        if path.name.endswith(plain):
            raise RunError(f"{plain!r} is the end of the name of another run: {path.name}.", advice)


def free_name(folder: JobFolder, wanted: str) -> str:
    """A name that leads to this run only: the wanted one on one line, cut if it is too long, with a number if others have it."""
    plain = " ".join(wanted.split())[:LONGEST_NAME].strip()
    for number in range(1, 1000):
        ending = "" if number == 1 else f" ({number})"
        name = f"{plain[: LONGEST_NAME - len(ending)]}{ending}"
        with contextlib.suppress(RunError):
            check_name(folder, name)
            return name
    return ""


def write(folder: JobFolder, labels: Labels) -> None:
    """Writes the labels of a run.

    Raises:
        JobError: the run folder cannot be written.
    """
    with writing(folder.path):
        if folder.read(FILE) is None:
            # None, or a damaged one, which may still tell the user something.
            set_aside(folder.path / FILE)
        folder.write(FILE, {"version": VERSION, **labels.as_dict()})

"""Named selections of the images of a dataset, and the choice to keep or reject each, in `.easel/selections.json`."""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from trainer_core.curation import contents, renames
from trainer_core.errors import DatasetError
from trainer_core.files import open_own, set_aside, write_whole
from trainer_core.text import printable

FILE = "selections.json"
LARGEST_BYTES = 64 << 20
LONGEST_NAME = 64
WAIT_S = 10.0
_NOT_IN_NAMES = frozenset('/\\:*?"<>|')
"""Signs that a name has not, so that a folder can have the same name on every system."""

Choice = Literal["", "keep", "reject"]
"""What the user decided about an image; "" for not yet."""


@dataclass(frozen=True)
class Selections:
    """The selections of a dataset by name, and the choices by path; paths are relative to the dataset, with "/".

    `gone` are the paths at which there is no file now; they stay in the file, so that an undo brings them back.
    `notes` say what of the file could not be read.
    """

    named: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    choices: Mapping[str, Choice] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def images(self, name: str) -> tuple[str, ...]:
        """The images of a selection that are there.

        Raises:
            DatasetError: there is no selection with this name.
        """
        return tuple(path for path in self._all(name) if path not in self.gone)

    def missing(self, name: str) -> tuple[str, ...]:
        """The images of a selection that are not in the dataset any more.

        Raises:
            DatasetError: there is no selection with this name.
        """
        return tuple(path for path in self._all(name) if path in self.gone)

    def _all(self, name: str) -> tuple[str, ...]:
        if name not in self.named:
            known = ", ".join(printable(one, LONGEST_NAME) for one in self.named) or "none"
            raise DatasetError(f"There is no selection {printable(name, LONGEST_NAME)!r}.", f"There are: {known}.")
        return self.named[name]


def read(root: Path) -> Selections:
    """The selections and choices of a dataset. Images that an edit has renamed have their present path.

    A file that is damaged, or was written by something else, is read as far as it can be; `notes` say what was not.
    """
    table, notes = _table(root)
    found = _parsed(table, notes)
    mentioned = {path for paths in found.named.values() for path in paths} | set(found.choices)
    absent = {path for path in mentioned if not (root / path).is_file()}
    moved = renames.current(root, absent)
    named = {name: tuple(dict.fromkeys(moved.get(path, path) for path in paths)) for name, paths in found.named.items()}
    choices: dict[str, Choice] = {moved.get(path, path): choice for path, choice in found.choices.items()}
    return Selections(named, choices, frozenset(absent - set(moved)), found.notes)


def keep(root: Path, name: str, paths: Iterable[str]) -> Selections:
    """Gives a selection these images, whether it existed or not; returns what is kept then.

    Raises:
        DatasetError: the name or a path cannot be used, or the file cannot be written.
    """
    called, chosen = plain_name(name), _checked(root, paths)
    return _change(root, lambda found: dataclasses.replace(found, named={**found.named, called: chosen}))


def remove(root: Path, name: str) -> Selections:
    """Removes a selection; its images stay.

    Raises:
        DatasetError: there is none with this name, or the file cannot be written.
    """

    def change(found: Selections) -> Selections:
        found.images(name)
        return dataclasses.replace(found, named={key: paths for key, paths in found.named.items() if key != name})

    return _change(root, change)


def rename(root: Path, name: str, new: str) -> Selections:
    """Gives a selection another name.

    Raises:
        DatasetError: there is none with this name, another one has the new name, or the file cannot be written.
    """
    called = plain_name(new)

    def change(found: Selections) -> Selections:
        found.images(name)
        if called in found.named and called != name:
            raise DatasetError(f"There is a selection {called!r} already.")
        return dataclasses.replace(
            found, named={(called if key == name else key): paths for key, paths in found.named.items()}
        )

    return _change(root, change)


def choose(root: Path, paths: Iterable[str], choice: Choice) -> Selections:
    """Decides about images: "keep", "reject", or "" for undecided; returns what is kept then.

    Raises:
        DatasetError: there is no such choice, a path cannot be used, or the file cannot be written.
    """
    if choice not in get_args(Choice):
        raise DatasetError(f"{printable(str(choice), 40)!r} is no choice.", 'There are "keep" and "reject".')
    chosen = _checked(root, paths)

    def change(found: Selections) -> Selections:
        left = {path: one for path, one in found.choices.items() if path not in chosen}
        return dataclasses.replace(found, choices={**left, **dict.fromkeys(chosen, choice)} if choice else left)

    return _change(root, change)


def plain_name(name: str) -> str:
    """The name of a selection as it is kept: in the usual form of Unicode, without spaces around it.

    Raises:
        DatasetError: it is empty, too long, starts with a dot, or has a sign that a folder's name cannot have.
    """
    plain = unicodedata.normalize("NFC", name).strip()
    is_odd = plain != printable(plain, LONGEST_NAME) or plain.startswith(".") or not _NOT_IN_NAMES.isdisjoint(plain)
    if not plain or is_odd:
        raise DatasetError(
            f"{printable(name, LONGEST_NAME)!r} cannot be the name of a selection.",
            f"Use at most {LONGEST_NAME} characters, none of {' '.join(sorted(_NOT_IN_NAMES))}, and no dot at the start.",
        )
    return plain


def _change(root: Path, change: Callable[[Selections], Selections]) -> Selections:
    """Changes what is kept; nothing else does so meanwhile. What could not be read stays beside, in another file."""
    with contents.locked(root, WAIT_S):
        table, _ = _table(root)
        found = change(read(root))
        file = contents.own_folder(root) / FILE
        try:
            if found.notes:
                set_aside(file)
            rest = table if isinstance(table, dict) else {}
            own = {"selections": {name: list(paths) for name, paths in found.named.items()}, "choices": found.choices}
            write_whole(file, json.dumps({**rest, **own}, indent=1, ensure_ascii=True) + "\n", durable=True)
        except (OSError, ValueError) as error:
            raise DatasetError(f"The selections cannot be saved: {error}.") from error
    return dataclasses.replace(found, notes=())


def _checked(root: Path, paths: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(paths))
    for path in found:
        contents.inside(root, path)
    return found


def _table(root: Path) -> tuple[Any, tuple[str, ...]]:
    """The content of the file, {} without one; and a note if it cannot be read."""
    file = root / contents.OWN / FILE
    if file.parent.is_symlink():
        return {}, (f"{contents.OWN} is a link, so it is not read.",)
    try:
        with open_own(file) as opened:
            data = opened.read(LARGEST_BYTES + 1)
        if len(data) > LARGEST_BYTES:
            return {}, (f"{FILE} is too large to be read.",)
        return json.loads(data), ()
    except FileNotFoundError:
        return {}, ()
    except OSError as error:
        return {}, (f"{FILE} cannot be read: {error.strerror or error}.",)
    except (ValueError, RecursionError):
        return {}, (f"{FILE} is damaged: it is not JSON.",)


def _parsed(table: object, notes: tuple[str, ...]) -> Selections:
    if not isinstance(table, Mapping):
        return Selections(notes=(f"{FILE} is damaged: it holds no selections.",))
    named, choices, odd = {}, {}, 0
    for name, paths in _items(table.get("selections")):
        if not _is_name(name) or not isinstance(paths, list):
            odd += 1
            continue
        fit = [path for path in paths if isinstance(path, str) and _is_path(path)]
        odd += len(paths) - len(fit)
        named[name] = tuple(dict.fromkeys(fit))
    for path, choice in _items(table.get("choices")):
        if _is_path(path) and choice in ("keep", "reject"):
            choices[path] = choice
        else:
            odd += 1
    if any(not isinstance(table.get(key, {}), Mapping) for key in ("selections", "choices")):
        odd += 1
    if odd:
        notes = (*notes, f"{odd} {'entry' if odd == 1 else 'entries'} of {FILE} cannot be used.")
    return Selections(named, choices, notes=notes)


def _items(table: object) -> list[tuple[str, Any]]:
    return [(str(key), value) for key, value in table.items()] if isinstance(table, Mapping) else []


def _is_name(name: str) -> bool:
    try:
        return plain_name(name) == name
    except DatasetError:
        return False


def _is_path(path: str) -> bool:
    """Whether a path leads to a file inside of the dataset, outside of Easel's own folder."""
    parts = PurePosixPath(path).parts
    is_plain = bool(parts) and not path.startswith("/") and "\0" not in path and "\\" not in path
    return is_plain and ".." not in parts and parts[0].casefold() != contents.OWN

"""The folders whose files Easel shows and changes, and the check that a path lies in one of them.

What a page or a command names is not trusted. A spot is a root and names below it; it is checked where it is made, and again, with its
links resolved, each time a file is touched. Links that lead out are shown, and can be renamed or deleted as links; they are not followed.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from trainer_core import places
from trainer_core.errors import FilesError, wrong_use
from trainer_core.text import printable

MOST_PARTS = 64
LONGEST_NAME_BYTES = 255
READ_ONLY_APPS = frozenset({"kaggle"})
"""Programs of apps.toml in whose folders nothing can be changed."""


@dataclass(frozen=True)
class Root:
    """A folder in which files are kept. `about` says what is in it.

    In a `managed` one a folder at the top can only be deleted as a whole, and nothing below it is changed. In a `fixed` one
    nothing can be changed.
    """

    id: str
    title: str
    path: Path
    about: str
    is_managed: bool = False
    is_fixed: bool = False


@dataclass(frozen=True)
class Spot:
    """A file or folder in a root, by the names below the root; without names it is the root itself."""

    root: Root
    parts: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Its path, with links as they are named."""
        return self.root.path.joinpath(*self.parts)

    @property
    def name(self) -> str:
        """Its own name; the title of the root for a root."""
        return self.parts[-1] if self.parts else self.root.title

    @property
    def text(self) -> str:
        """How it is written on the command line, such as "models/loras/elena.safetensors"."""
        return "/".join((self.root.id, *self.parts))

    @property
    def parent(self) -> Spot:
        """The folder that it is in; of a root, the root."""
        return Spot(self.root, self.parts[:-1])

    def child(self, name: str) -> Spot:
        """A file or folder in it.

        Raises:
            FilesError: this is not the name of one file.
        """
        _check_name(name)
        return Spot(self.root, (*self.parts, name))


def roots() -> tuple[Root, ...]:
    """The folders of Easel, then the model folders of other programs and of the user."""
    from trainer_core.models import library

    found = [
        Root("models", "Models", places.models(), "Base models, VAEs, text encoders and LoRAs to train with."),
        Root(
            "outputs",
            "Results of your trainings",
            places.outputs(),
            "What your trainings have made. A model or LoRA from elsewhere belongs in Models.",
        ),
        Root("datasets", "Datasets", places.datasets(), "Images and captions, one folder for each dataset."),
        Root("runs", "Runs", places.runs(), "The trainings, with their samples and logs.", is_managed=True),
    ]
    real = {os.path.realpath(root.path) for root in found}
    for each in library.roots().folders:
        where = os.path.realpath(each.path)
        if where not in real and not _is_easels(where):
            real.add(where)
            key = f"folder-{hashlib.sha256(where.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
            title = f"{printable(each.path.name, 60)} ({printable(each.because, 80)})"
            fixed = each.app in READ_ONLY_APPS or not os.access(where, os.W_OK)
            found.append(Root(key, title, each.path, f"Models, {each.because}.", is_fixed=fixed))
    return tuple(found)


def _is_easels(real: str) -> bool:
    """Whether a folder contains Easel's own folders: then they would be shown as files of the user."""
    return Path(os.path.realpath(places.home())).is_relative_to(real)


def root(name: str) -> Root:
    """The root with this id.

    Raises:
        FilesError: there is none.
    """
    known = roots()
    for each in known:
        if each.id == name:
            return each
    listed = ", ".join(each.id for each in known)
    raise wrong_use(FilesError(f"There is no folder called {printable(name, 80)!r}.", f"There are: {listed}."))


def spot(root_id: str, below: str = "") -> Spot:
    """The spot with this path below a root.

    Raises:
        FilesError: there is no such root, or the path leads out of it.
    """
    parts = tuple(part for part in below.split("/") if part)
    if below.startswith("/") or len(parts) > MOST_PARTS:
        raise _outside(below)
    for part in parts:
        _check_name(part)
    found = Spot(root(root_id), parts)
    inside(found)
    return found


def named(text: str) -> Spot:
    """The spot that a user typed: a root with a path below it, such as "models/loras", or any path in a root.

    Raises:
        FilesError: it lies in no root.
    """
    if "\0" in text:
        raise wrong_use(_outside(text))
    head, _, below = text.partition("/")
    if head in {each.id for each in roots()}:
        return spot(head, below.strip("/"))
    typed = places.typed(text)
    path = Path(os.path.abspath(typed))  # noqa: PTH100 - Path.resolve would follow a link that is itself meant
    real = Path(os.path.realpath(path.parent)) / path.name
    fitting = [each for each in roots() if real.is_relative_to(os.path.realpath(each.path))]
    if not fitting:
        raise wrong_use(_outside(text))
    # The innermost root: a model folder can lie in another one.
    best = max(fitting, key=lambda each: len(os.path.realpath(each.path)))
    below = real.relative_to(os.path.realpath(best.path)).as_posix()
    return spot(best.id, "" if below == "." else below)


def inside(found: Spot) -> Path:
    """The path of a spot, after a check that the folder that it is in lies in the root. The spot itself may be a link.

    Raises:
        FilesError: it lies outside, perhaps behind a link.
    """
    for part in found.parts:
        _check_name(part)
    where = found.path if not found.parts else found.path.parent
    if not is_in(where, found.root):
        raise _outside(found.text)
    return found.path


def entered(found: Spot) -> Path:
    """The path of a spot whose content is read or written, after a check that it lies in the root with all its links followed.

    Raises:
        FilesError: it lies outside, behind a link.
    """
    path = inside(found)
    if not is_in(path, found.root):
        raise FilesError(
            f"{printable(found.text, 300)} is a link that leads out of {found.root.title}, and is not followed.",
            "Open the folder that it leads to.",
        )
    return path


def changeable(found: Spot) -> Path:
    """The path of a spot that is moved, renamed or deleted, or into which files are brought.

    Raises:
        FilesError: it lies outside, or nothing may be changed there.
    """
    path = inside(found)
    if found.root.is_fixed:
        raise FilesError(f"Nothing can be changed in {found.root.title}.", "It is read-only on this machine.")
    if found.root.is_managed:
        raise FilesError(
            "The files of a run belong together, so they are not changed one by one.",
            "Delete the whole run, or use History in the trainer to name it and to take its checkpoints.",
        )
    return path


def folder(found: Spot) -> Path:
    """The path of a folder into which files can come; a missing root is made.

    Raises:
        FilesError: it is no folder, lies outside, or nothing may be changed there.
    """
    changeable(found)
    path = entered(found)
    if not found.parts:
        path.mkdir(parents=True, exist_ok=True)
    if not path.is_dir():
        raise FilesError(f"{printable(found.text, 300)} is not a folder.", "Choose a folder.")
    return path


def make_folders(spot: Spot) -> Path:
    """The folder that a file is in; it is made, after a check that it will lie in the root.

    Raises:
        FilesError: it lies outside, or may not be changed.
        OSError: it cannot be made.
    """
    folder = spot.path.parent
    changeable(spot)
    # Below a link that leads out, nothing is made.
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if there.is_relative_to(spot.root.path) and not is_in(there, spot.root):
        entered(spot.parent)
    folder.mkdir(parents=True, exist_ok=True)
    return entered(spot.parent)


def is_in(path: Path, root_: Root) -> bool:
    """Whether a path lies in a root when all its links are followed."""
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root_.path))
    except (OSError, ValueError):
        return False


def _check_name(name: str) -> None:
    is_long = len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME_BYTES
    if name in ("", ".", "..") or "/" in name or "\0" in name or is_long:
        raise wrong_use(FilesError(f"{printable(name, 80)!r} is not the name of a file.", "Choose another name."))
    if name.startswith("."):
        raise wrong_use(FilesError(f"{printable(name, 80)} is a hidden file, and those are left alone.", ""))


def _outside(text: str) -> FilesError:
    return FilesError(
        f"{printable(text, 300)} is not in a folder whose files Easel shows.",
        "`easel files list` shows these folders; add one with: easel models folders add FOLDER",
    )

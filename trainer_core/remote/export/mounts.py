"""The files of this machine that a plan needs, and the plan with their paths on the other machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.errors import RemoteError
from trainer_core.plan import fields
from trainer_core.plan.subsets import LIST, with_paths
from trainer_core.remote.export.task import RESULTS, Mount
from trainer_core.text import plain_letters, printable

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest
    from trainer_core.plan.sections import TrainingPlan

BASE_MODEL = "model.path"
LONGEST = 60
IGNORE_FILES = (".gitignore", ".skyignore", ".dstackignore")
_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]+")


class Mounts:
    """Collects the files of one plan; each gets a name of its own, without unusual characters."""

    def __init__(self, *, is_shared: bool) -> None:
        """With `is_shared` every path stays as it is: the files are there already."""
        self._is_shared = is_shared
        self._found: dict[Path, Mount] = {}

    @property
    def all(self) -> tuple[Mount, ...]:
        """What was collected, in the order in which it was added."""
        return tuple(self._found.values())

    def add(self, text: str, setting: str, kind: str) -> str:
        """Adds the file or folder at a path in a setting, and returns its path there, from the folder of the task.

        Raises:
            RemoteError: it is not there, cannot be read, or its name is not text.
        """
        # The target of a link: a scheduler may bring the link alone.
        typed = places.typed(text).absolute()
        if self._is_shared:
            return str(typed)
        source = places.real(typed)
        if source not in self._found:
            # A folder of its own: the name alone can say something, such as how often images are repeated. In the cache of the
            # Hub only the link has the ending.
            target = PurePosixPath(kind, str(len(self._found) + 1), safe_name(typed.name))
            self._found[source] = _mount(source, target, setting)
        return f"./{self._found[source].target}"


def collected(
    plan: TrainingPlan, manifest: BackendManifest, model_from: str, *, is_shared: bool = False
) -> tuple[dict[str, Any], tuple[Mount, ...]]:
    """The plan as tables, with the paths on the other machine, and the files that it needs there.

    With `model_from` the base model is not among them; with `is_shared` none is, and the paths are the same there. The results go to the folder of the results.

    Raises:
        RemoteError: a file is missing.
    """
    flat = fields.flatten(plan.model_dump(exclude_none=True))
    found = Mounts(is_shared=is_shared)
    for setting in fields.paths():
        text = str(flat.get(setting.path) or "")
        if setting.about.written:
            flat[setting.path] = ""
        elif text and setting.path == BASE_MODEL and model_from:
            flat[setting.path] = f"./{downloaded(places.typed(text))}"
        elif text:
            kind = "models" if setting.section == "model" else "images"
            flat[setting.path] = found.add(text, setting.title, kind)
    flat["output.folder"] = f"./{RESULTS}"
    folders = with_paths(flat.get(LIST) or (), lambda text: found.add(text, "More image folders", "images"))
    flat[LIST] = list(folders)
    native = dict(flat.get("native") or {})
    own = dict(native.get(manifest.id) or {})
    for name in manifest.options.weights:
        if own.get(name):
            own[name] = _weights(own[name], name, found)
    flat["native"] = {manifest.id: own} if own else {}
    return fields.nest(flat), found.all


def downloaded(model: Path) -> PurePosixPath:
    """Where a base model is that the machine downloads itself, from the folder of the task; the ending is that of the file here."""
    return PurePosixPath("models", f"base.{safe_name(model.suffix)}" if model.is_file() else "base")


def safe_name(name: str) -> str:
    """A name without unusual characters, which says the same to a reader. It is never hidden: uploads leave hidden files out."""
    return _UNUSUAL.sub("_", plain_letters(name)).strip("._-")[:LONGEST] or "unnamed"


def _weights(value: Any, name: str, found: Mounts) -> Any:
    if isinstance(value, list | tuple):
        return [_weights(each, name, found) for each in value]
    return found.add(value, name, "models") if isinstance(value, str) else value


def _mount(source: Path, target: PurePosixPath, setting: str) -> Mount:
    shown = printable(str(source), 200)
    try:
        str(source).encode()
    except UnicodeEncodeError as error:
        message = f"{setting}: the name of {shown} is not UTF-8, so it cannot be written into an export."
        raise RemoteError(message, "Rename the file or the folder.") from error
    try:
        if source.is_file():
            if not os.access(source, os.R_OK):
                raise RemoteError(f"{setting}: {shown} cannot be read.", "Check its permissions.", "missing")
            return Mount(source, target, source.stat().st_size, is_folder=False)
        if source.is_symlink():
            raise RemoteError(
                f"{setting}: {shown} is a link that leads to itself.", "Correct the path in the plan.", "missing"
            )
        if not source.is_dir():
            raise RemoteError(f"{setting}: there is no {shown}.", "Correct the path in the plan.", "missing")
        sizes, links, ignores = 0, 0, False
        for path in _inside(source):
            links += path.is_symlink()
            ignores |= path.name in IGNORE_FILES
            sizes += path.stat().st_size if path.is_file() else 0
    except OSError as error:
        message = f"{setting}: {shown} cannot be read: {error.strerror or error}."
        raise RemoteError(message, "Check its permissions.", "missing") from error
    return Mount(source, target, sizes, is_folder=True, links=links, has_ignore_file=ignores)


def _inside(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        # A link to a folder is in `folders` and is not entered.
        yield from (Path(root, name) for name in (*folders, *files))


def local(text: str) -> Path:
    """The path that a user typed, as an absolute one."""
    return places.typed(text).absolute()


def size_of(text: str) -> int:
    """The size in bytes of a file or folder; 0 if it is not there."""
    path = local(text)
    if path.is_dir():
        return sum(each.stat().st_size for each in _inside(path) if each.is_file())
    return path.stat().st_size if path.is_file() else 0

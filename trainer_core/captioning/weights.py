"""Where the files of a tagger are: in a folder that the user names, or in Easel's models after they were fetched from the Hub."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer_core import places
from trainer_core.errors import DatasetError
from trainer_core.files import write_whole
from trainer_core.models.downloads import Progress
from trainer_core.text import printable

FOLDER = "captioning"
"""The folder of these models below Easel's models."""


WHOLE = ".whole"
"""A file that is written when all others have arrived."""


@dataclass(frozen=True)
class Found:
    """The files of a model, by their path in its repository."""

    folder: Path
    paths: dict[str, Path]

    def __getitem__(self, name: str) -> Path:
        return self.paths[name]


def home_of(model: str) -> Path:
    """The folder into which a model is fetched."""
    return places.models() / FOLDER / model


def look(model: str, files: Sequence[str], folder: str = "") -> Found | None:
    """The files of a model, in `folder` or where Easel fetches them; None if one of them is not there.

    Names with "*", of which there may be none, are not looked for. In a folder that the user names, files may be below their folder in the repository or directly in it.
    """
    root = places.typed(folder) if folder else home_of(model)
    found: dict[str, Path] = {}
    for name in files:
        if "*" in name:
            continue
        ways = (root / name, root / PurePosixPath(name).name)
        path = next((each for each in ways if each.is_file()), None)
        if path is None:
            return None
        found[name] = path
    return Found(root, found)


def required(model: str, title: str, files: Sequence[str], folder: str = "") -> Found:
    """As `look`.

    Raises:
        DatasetError: a file is not there.
    """
    found = look(model, files, folder)
    if found is None:
        where = printable(folder or str(home_of(model)), 200)
        raise DatasetError(
            f"{title} is not in {where}: it needs {', '.join(files)}.",
            f"Fetch it with: easel tools fetch-captioner --model {model}",
        )
    return found


def fetch(
    model: str,
    repository: str,
    files: Sequence[str],
    tell: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> Found:
    """The files of a model, fetched from the Hub if they are not there.

    Raises:
        DownloadError: they cannot be had.
    """
    from trainer_core.models.downloads import huggingface, pieces
    from trainer_core.models.downloads.transfer import Options

    if (present := look(model, files)) is not None and (present.folder / WHOLE).is_file():
        return present
    remote = huggingface.chosen(repository, files, cancel=cancel)
    pieces.fetch(remote, home_of(model), tell, Options(cancel=cancel))
    write_whole(home_of(model) / WHOLE, "")
    return required(model, model, files)

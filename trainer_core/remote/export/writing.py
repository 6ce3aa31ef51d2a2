"""The files of an export: YAML with every text quoted where that is needed, and a folder in which nothing is replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core.errors import RemoteError
from trainer_core.files import write_whole
from trainer_core.remote.export.task import Exported
from trainer_core.text import printable


def yaml_text(comments: tuple[str, ...], tables: Mapping[str, Any]) -> bytes:
    """YAML with comment lines above it. A comment has no line breaks, whatever is in it."""
    import yaml

    head = "".join(f"# {printable(line, 400)}\n" for line in comments)
    # Escaped: some line breaks of Unicode would be read as spaces.
    body = yaml.safe_dump(dict(tables), sort_keys=False, allow_unicode=False, width=10_000)
    return (head + body).encode()


def write(exported: Exported, folder: Path) -> tuple[Path, ...]:
    """Writes the files of an export into a folder, and returns their paths.

    Raises:
        RemoteError: one of them is there already, or cannot be written. Nothing is replaced.
    """
    names = (*exported.files, *exported.copies)
    if taken := next((name for name in names if os.path.lexists(folder / name)), None):
        raise RemoteError(f"{folder / taken} is there already.", "Choose another name with --output.", "taken")
    made: list[Path] = []
    try:
        for name, content in exported.files.items():
            write_whole(folder / name, content)
            made.append(folder / name)
        for name, source in exported.copies.items():
            made.append(folder / name)
            _copy(source, folder / name)
    except OSError as error:
        for path in made:
            _remove(path)
        message = f"The export cannot be written into {folder}: {error.strerror or error}."
        raise RemoteError(message, "Check the permissions and the free disk space.", "disk") from error
    return tuple(made)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def below(folder: PurePosixPath, files: Mapping[str, bytes]) -> dict[PurePosixPath, bytes]:
    """The files of a task by their paths in a folder."""
    return {folder / name: content for name, content in files.items()}

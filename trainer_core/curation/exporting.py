"""Copies a dataset out, as a folder or a zip, on request without what the images tell besides their pixels."""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer_core.curation import gathering, privacy
from trainer_core.errors import DatasetError
from trainer_core.files import open_regular
from trainer_core.text import printable


@dataclass(frozen=True)
class Exported:
    """What was written. `told` are the images that tell something, and what; `left_out` what was not copied, as (name, reason)."""

    images: int
    captions: int
    told: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]


def export(
    root: Path,
    target: Path,
    *,
    is_private: bool = False,
    ending: str = ".txt",
    went_on: Callable[[int, int], None] = lambda _, __: None,
) -> Exported:
    """Writes the images and captions of a dataset into `target`, a new folder, or a new zip if its name ends in .zip.

    `is_private`: without position, camera, prompts and the like; an image of a format in which Easel cannot remove them is
    left out. So is a link that leads out of the dataset. Nothing else goes along: no journal, no hidden files.

    Raises:
        DatasetError: the target exists, lies in the dataset, or cannot be written; nothing is left of it then.
    """
    if os.path.lexists(target):
        raise DatasetError(f"{printable(str(target), 200)} is there already.", "Choose another name.")
    if target.resolve().is_relative_to(root.resolve()):
        raise DatasetError("The copy cannot lie in the dataset itself.", "Choose another folder.")
    is_done = False
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix.casefold() == ".zip":
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
                found = _write(root, archive.writestr, is_private, ending, went_on)
        else:
            found = _write(root, lambda name, data: _file(part / name, data), is_private, ending, went_on)
        part.rename(target)
        is_done = True
    except OSError as error:
        raise DatasetError(f"Nothing was written: {error.strerror or error}.", "Free some space.") from error
    finally:
        if not is_done:
            shutil.rmtree(part, ignore_errors=True)
            with contextlib.suppress(OSError):
                part.unlink()
    return found


def _write(
    root: Path, put: Callable[[str, bytes], object], is_private: bool, ending: str, went_on: Callable[[int, int], None]
) -> Exported:
    items = gathering.caption_files(root, ending)
    images = gathering.images(root)
    told: list[tuple[str, str]] = []
    left: list[tuple[str, str]] = []
    captions: set[str] = set()
    count = 0
    for number, name in enumerate(images, 1):
        if _leads_out(root, name):
            left.append((printable(name, 200), "it is a link that leads out of the dataset"))
            continue
        data = _read(root / name)
        if is_private:
            data = privacy.without(data)
            if data is None:
                left.append((printable(name, 200), "what it tells cannot be removed from this format"))
                continue
        elif what := privacy.told(root / name):
            told.append((printable(name, 200), ", ".join(what)))
        put(name, data)
        count += 1
        went_on(number, len(images))
    for item in items:
        if item.path not in captions and (root / item.path).is_file() and not _leads_out(root, item.path):
            captions.add(item.path)
            put(item.path, _read(root / item.path))
    if not images:
        raise DatasetError("There is no image in the dataset.")
    return Exported(count, len(captions), tuple(told), tuple(left))


def _leads_out(root: Path, name: str) -> bool:
    return not (root / name).resolve().is_relative_to(root.resolve())


def _read(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read()


def _file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)

"""An accepted result under the name the user asked for, where the user wants it. Nothing is ever overwritten.

A result is a file or a folder. Inside one file system it is linked, not copied: a checkpoint of many GB then lies on the
disk once, and stays when the run folder or the delivered name is deleted.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trainer_core.errors import RunError

SUFFIX = ".safetensors"


def deliver(final: Path, checkpoints: Sequence[tuple[Path, int]], folder: Path, stem: str) -> Iterator[Path]:
    """Writes results to `folder`, one after the other: the last, then its checkpoints as `<stem>-step00000500.safetensors`.

    Folders have the same names without the ending. Where a name is taken, all of them get the same number. What was
    written before an error stays.

    Raises:
        RunError: the folder cannot be written, or a result holds a link.
    """
    wanted = {"": final, **{f"-step{step:08d}": path for path, step in checkpoints}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = _free_stem(folder, stem, wanted)
        for ending, source in wanted.items():
            target = folder / _name(free, ending, source)
            yield _place_folder(source, target) if source.is_dir() else _place_file(source, target)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written: {error.strerror or error}.", "The files are in the run folder."
        ) from error


def copy_to(source: Path, folder: Path) -> Path:
    """A copy of a delivered result in another folder, under the same name or a numbered one.

    Raises:
        RunError: as `deliver`.
    """
    return next(deliver(source, (), folder, source.name.removesuffix(SUFFIX)))


def _name(stem: str, ending: str, source: Path) -> str:
    return f"{stem}{ending}{'' if source.is_dir() else SUFFIX}"


def _free_stem(folder: Path, stem: str, wanted: Mapping[str, Path]) -> str:
    number = 1
    while True:
        free = stem if number == 1 else f"{stem}-{number}"
        if not any(os.path.lexists(folder / _name(free, ending, source)) for ending, source in wanted.items()):
            return free
        number += 1


def _place_file(source: Path, target: Path) -> Path:
    """Links or copies a file; a link fails if somebody else took the name first, and a copy appears whole."""
    scratch = _scratch(target)
    try:
        # A link to a link would point into the run folder.
        source = source.resolve()
        if not _linked(source, target):
            shutil.copyfile(source, scratch)
            # Taking the name fails if somebody else was faster; a plain rename would overwrite theirs.
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    return target


def _place_folder(source: Path, target: Path) -> Path:
    """Links or copies a folder beside the target first, then takes the name."""
    scratch = _scratch(target)
    try:
        for place, folders, files in os.walk(source):
            here = scratch / Path(place).relative_to(source)
            here.mkdir()
            for name in (*folders, *files):
                _refuse_link(Path(place, name))
            for name in files:
                if not _linked(Path(place, name), here / name):
                    shutil.copyfile(Path(place, name), here / name)
        # Whole from the first moment it can be seen; a rename never takes over a folder that holds something, or a file.
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _scratch(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}")


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise RunError(f"{path.name} is a link, which is not followed.", "The files are in the run folder.")


def _linked(source: Path, target: Path) -> bool:
    """Whether a second name could be given to a file; not across file systems, and not on those without such links.

    Raises:
        FileExistsError: the name is taken.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True

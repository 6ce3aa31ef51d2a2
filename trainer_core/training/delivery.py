"""Delivers accepted results to the user's folder, under the user's name. Nothing is ever overwritten.

A result is a file or a folder. Within one file system it is hard-linked, not copied: a checkpoint of many GB is then on
the disk only once, and stays if either the run folder or the delivered file is deleted. Engines may write files that only
their owner can read; a delivered file has the usual permissions of a new file, so that another program can read it. The
run folder itself stays private.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from trainer_core import places
from trainer_core.errors import RunError
from trainer_core.text import printable

SUFFIX = ".safetensors"
TRIES = 5


def deliver(
    final: Path,
    checkpoints: Sequence[tuple[Path, int]],
    folder: Path,
    stem: str,
    fits: Callable[[Path], bool] = lambda _: True,
    made: Callable[[Path], Path] = lambda path: path,
) -> Iterator[Path]:
    """Writes results to `folder`, one by one: the final one, then its checkpoints.

    A checkpoint is called `<stem>-step00000500.safetensors`; it is left out if `fits` is false for it, which is asked when its
    turn comes. `made` returns the file that is delivered for a result. Folders have the same names without the file ending. If a name exists already, all of them get the same
    number. Results that were written before an error stay.

    Raises:
        RunError: `stem` is not part of a file name, the folder cannot be written, or a result contains a link.
    """
    if not is_part_of_name(stem):
        raise RunError(
            f"{printable(stem, 100)!r} cannot be the name of a result: it must be a name, not a path.",
            "The files are in the run folder.",
        )
    wanted = {"": final, **{step_ending(step): path for path, step in checkpoints}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = _free_stem(folder, stem, wanted)
        for ending, source in wanted.items():
            if source is final or fits(source):
                yield _placed(made(source), folder, stem, free, ending)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written: {error.strerror or error}.", "The files are in the run folder."
        ) from error


def _placed(source: Path, folder: Path, stem: str, free: str, ending: str) -> Path:
    """The path of a delivered result. If another program takes its name meanwhile, the result gets another number."""
    for left in reversed(range(TRIES)):
        target = folder / _name(free, ending, source)
        try:
            return _place_folder(source, target) if source.is_dir() else _place_file(source, target)
        except OSError:
            if not left or not os.path.lexists(target):
                raise
            free = _free_stem(folder, stem, {ending: source})
    raise AssertionError


def step_ending(step: int) -> str:
    """The end of the name of a delivered checkpoint."""
    return f"-step{step:08d}"


def is_part_of_name(stem: str) -> bool:
    """Whether a text can be a part of a file name: no path, and nothing that leads out of a folder."""
    return bool(stem) and stem not in (".", "..") and not any(char in stem for char in "/\\\0")


def copy_to(source: Path, folder: Path) -> Path:
    """The path of a copy of a delivered result in another folder, with the same name or a numbered one.

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
    """Links or copies a file; a link fails if the name exists by now, and a copy appears only when it is complete."""
    scratch = _scratch(target)
    try:
        # A hard link to a symbolic link would point into the run folder.
        source = places.real(source)
        if source.is_symlink():
            raise OSError(errno.ELOOP, f"{printable(source.name, 100)} is a link that leads to itself")
        if _linked(source, target):
            target.chmod(_usual_mode(target))
        else:
            shutil.copyfile(source, scratch)
            # This fails if another process has created the name by now; a plain rename would overwrite its file.
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            try:
                scratch.replace(target)
            except OSError:
                target.unlink(missing_ok=True)
                raise
    finally:
        scratch.unlink(missing_ok=True)
    return target


def _place_folder(source: Path, target: Path) -> Path:
    """Links or copies a folder under a temporary name next to the target, then renames it."""
    scratch = _scratch(target)
    try:
        for place, folders, files in os.walk(source):
            here = scratch / Path(place).relative_to(source)
            here.mkdir()
            for name in (*folders, *files):
                _refuse_link(Path(place, name))
            for name in files:
                if _linked(Path(place, name), here / name):
                    (here / name).chmod(_usual_mode(here / name))
                else:
                    shutil.copyfile(Path(place, name), here / name)
        # The folder appears only when it is complete; a rename never replaces a folder that is not empty, or a file.
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _usual_mode(path: Path) -> int:
    """The permissions of a new file next to a path: those of the umask, or of the folder's own rules."""
    probe = _scratch(path)
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        return stat.S_IMODE(probe.stat().st_mode)
    finally:
        probe.unlink(missing_ok=True)


def _scratch(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}")


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise RunError(f"{path.name} is a link, and links are not delivered.", "The files are in the run folder.")


def _linked(source: Path, target: Path) -> bool:
    """Whether a file could be hard-linked; that fails across file systems, and on file systems without hard links.

    Raises:
        FileExistsError: the name exists already.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True

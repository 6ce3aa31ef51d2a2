"""An accepted LoRA under the name the user asked for, where the user wants it. Nothing is ever overwritten."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer_core.errors import RunError

SUFFIX = ".safetensors"


def deliver(final: Path, checkpoints: Sequence[tuple[Path, int]], folder: Path, stem: str) -> Iterator[Path]:
    """Writes files to `folder`, one after the other: the LoRA, then its checkpoints as `<stem>-step00000500.safetensors`.

    Where a name is taken, all of them get the same number. What was written before an error stays.

    Raises:
        RunError: the folder cannot be written.
    """
    wanted = {"": final, **{f"-step{step:08d}": path for path, step in checkpoints}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = _free_stem(folder, stem, wanted)
        for ending, source in wanted.items():
            yield _copy(source, folder / f"{free}{ending}{SUFFIX}")
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written: {error.strerror or error}.", "The files are in the run folder."
        ) from error


def copy_to(source: Path, folder: Path) -> Path:
    """A copy of a delivered file in another folder, under the same name or a numbered one.

    Raises:
        RunError: the folder cannot be written.
    """
    return next(deliver(source, (), folder, source.name.removesuffix(SUFFIX)))


def _free_stem(folder: Path, stem: str, endings: Sequence[str] | dict[str, Path]) -> str:
    number = 1
    while True:
        free = stem if number == 1 else f"{stem}-{number}"
        if not any(os.path.lexists(folder / f"{free}{ending}{SUFFIX}") for ending in endings):
            return free
        number += 1


def _copy(source: Path, target: Path) -> Path:
    """Copies beside the target first, then takes the name: a reader never meets half a file."""
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        shutil.copyfile(source, scratch)
        # Taking the name fails if somebody else was faster; a plain rename would overwrite theirs.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    return target

"""Seals, by which this Easel recognises what it wrote itself into folders that may come from somebody else.

The key is `states.key` in Easel's home folder, and in no job folder. It is made when something is sealed for the first time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import EaselError
from trainer_core.files import open_own

FILE = "states.key"
LAUNCHED = "launched"
"""The entry in the record of a supervisor that only judges what a job made on a machine which is gone: the seal of its spec."""
KEY_BYTES = 32
_LARGEST_BYTES = 64 << 20


class SealError(EaselError):
    """The key of this Easel is missing, damaged, or cannot be read."""


def of(content: bytes) -> str:
    """The seal of a content: a code that only this Easel can calculate. Makes the key if there is none.

    Raises:
        SealError: the key is damaged, or cannot be read or written.
    """
    path = places.home() / FILE
    if not os.path.lexists(path):
        _make(path)
    return _seal(content)


def fits(content: bytes, sealed: object) -> bool:
    """Whether a seal was made by this Easel for this content.

    Raises:
        SealError: the key is missing or damaged, or cannot be read.
    """
    return isinstance(sealed, str) and hmac.compare_digest(_seal(content).encode(), sealed.encode("utf-8", "replace"))


def of_spec(folder: Path) -> str:
    """The seal of the `spec.json` in a job folder; "" if it cannot be sealed: then its commands start only once."""
    try:
        return of(_spec(folder))
    except (EaselError, OSError):
        return ""


def fits_spec(folder: Path, record: Mapping[str, Any] | None, entry: str = "seal") -> bool:
    """Whether this Easel has started the job in a folder with exactly this `spec.json`; `record` is that of its supervisor.

    The seal is an `entry` of the record.
    """
    try:
        return fits(_spec(folder), (record or {}).get(entry))
    except (EaselError, OSError):
        return False


def was_launched(folder: Path, record: Mapping[str, Any] | None) -> bool:
    """Whether this Easel has started the job in a folder, on this machine or on one that is gone; `record` as for `fits_spec`."""
    return fits_spec(folder, record) or fits_spec(folder, record, LAUNCHED)


def key_name() -> str:
    """A name of the key that tells nothing about it: with another key it is another one.

    Raises:
        SealError: the key is missing or damaged, or cannot be read.
    """
    return hashlib.sha256(b"name of the key\0" + _key()).hexdigest()[:16]


def _spec(folder: Path) -> bytes:
    with open_own(folder / "spec.json") as file:
        return b"spec.json\0" + file.read(_LARGEST_BYTES)


def _seal(content: bytes) -> str:
    return hmac.new(_key(), content, hashlib.sha256).hexdigest()


def _key() -> bytes:
    path = places.home() / FILE
    advice = (
        "Without it Easel cannot recognise the states that it saved itself. Restore the file from a copy if you have one. "
        "Otherwise delete it: Easel makes a new one, and older states need your trust."
    )
    try:
        found = path.read_bytes()
    except FileNotFoundError as error:
        raise SealError(f"The key of this Easel, {path}, is missing.", advice) from error
    except OSError as error:
        raise SealError(f"The key of this Easel, {path}, cannot be read: {error.strerror or error}.", advice) from error
    if len(found) != KEY_BYTES:
        raise SealError(
            f"The key of this Easel, {path}, is damaged: it has {len(found)} bytes, not {KEY_BYTES}.", advice
        )
    return found


def _make(path: Path) -> None:
    """Writes a new key, complete and only for its owner; does nothing if another process was faster."""
    scratch = path.with_name(f".easel-{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # A link, because a rename would replace the key of a process that was faster.
        os.link(scratch, path)
    except FileExistsError:
        return
    except OSError as error:
        raise SealError(f"The key of this Easel, {path}, cannot be written: {error.strerror or error}.") from error
    finally:
        scratch.unlink(missing_ok=True)

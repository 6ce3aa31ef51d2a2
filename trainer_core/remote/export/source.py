"""Where Easel comes from on another machine: a copy of this one as a single file, a git address, or a folder that is there."""

from __future__ import annotations

import functools
import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer_core.errors import RemoteError, wrong_use
from trainer_core.places import CHECKOUT, in_checkout

ARCHIVE = "easel.tar.xz"
PARTS = ("trainer_core", "trainer_ui", "backends", "profiles", "themes", "requirements", "docs/guide")
SINGLE = ("installer.py", "pyproject.toml", "LICENSE", "README.md")
"""What a checkout needs to be installed and to train."""
_GIT = re.compile(r"(?:https|ssh)://[^\s@:/]+[^\s@]*|(?:ssh://)?git@[^\s@]+")


@dataclass(frozen=True)
class Source:
    """Easel on another machine: `folder` is its place there, as text for a shell; `fetch` are the commands that bring it there.

    `archive` is the content of the file `ARCHIVE`, b"" if none is sent. With no `fetch` it is there already.
    """

    folder: str
    fetch: tuple[str, ...] = ()
    archive: bytes = b""


def source(wanted: str) -> Source:
    """The source that the user asks for; "" is a copy of this Easel.

    Raises:
        RemoteError: it is neither a folder nor an address, or this Easel is no checkout that can be copied.
    """
    import shlex

    if wanted.startswith("/"):
        return Source(shlex.quote(wanted.rstrip("/") or "/"))
    if wanted.startswith("~/"):
        return Source('"$HOME"/' + shlex.quote(wanted[2:].rstrip("/")))
    if wanted:
        if not _GIT.fullmatch(wanted) or wanted.startswith("-"):
            message = f"{wanted!r:.100} is neither a folder of the machine nor an address for git."
            raise wrong_use(RemoteError(message, "Write /folder, ~/folder or https://... without a user or password."))
        folder = _folder(hashlib.sha256(wanted.encode()).hexdigest())
        return Source(folder, (f'git clone -q -- {shlex.quote(wanted)} "$easel.new"',))
    if not in_checkout():
        message = "This Easel was installed from a package, and cannot be copied to another machine."
        raise RemoteError(message, "Say with --easel where it is there, or which git address has it.")
    content = archive()
    unpacked = f'python3 -m tarfile -e "$files/{ARCHIVE}" "$easel.new"'
    return Source(_folder(hashlib.sha256(content).hexdigest()), (unpacked,), content)


def _folder(digest: str) -> str:
    return f'"$HOME"/.easel-export/{digest[:12]}'


@functools.cache
def archive() -> bytes:
    """This Easel without runs, models, engines, tests and images, as a tar file that is always the same for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", preset=6) as made:
        for path in _sources():
            info = made.gettarinfo(path, str(path.relative_to(CHECKOUT)))
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            info.mode = 0o755 if info.mode & 0o100 else 0o644
            with path.open("rb") as file:
                made.addfile(info, file)
    return buffer.getvalue()


def _sources() -> Iterator[Path]:
    yield from (CHECKOUT / name for name in SINGLE)
    for part in PARTS:
        for path in sorted((CHECKOUT / part).rglob("*")):
            inside = path.relative_to(CHECKOUT).parts
            # The pinned packages of the tests alone have 200 kB, and dstack takes 2 MB.
            is_for_tests = path.name == "dev.txt" and part == "requirements"
            is_made = path.suffix == ".pyc" or any(name.startswith(".") or name == "__pycache__" for name in inside)
            if path.is_file() and not path.is_symlink() and not is_made and not is_for_tests:
                yield path

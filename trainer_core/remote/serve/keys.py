"""The token of callers and the secret for webhooks: made once, in files that only the user can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from trainer_core import places
from trainer_core.errors import RemoteError
from trainer_core.files import open_own
from trainer_core.remote.credentials import Secret, Settings
from trainer_core.text import printable

TOKEN_NAME = "EASEL_SERVE_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_FILE, WEBHOOK_FILE = "token", "webhook-secret"
SHORTEST = 20
"""The shortest token that is accepted, in characters."""


def folder() -> Path:
    """The folder of what the server keeps."""
    return places.home() / "serve"


def token(settings: Settings) -> Secret:
    """The token that callers send: the one that is set, else the one in the file, which is made if there is none.

    Raises:
        RemoteError: it is too short, or the file cannot be used.
    """
    given = settings.get(TOKEN_NAME)
    if given is None:
        return _kept(TOKEN_FILE, TOKEN_NAME)
    if len(given.reveal()) < SHORTEST:
        message = f"The token from {given.source} is too short: it has fewer than {SHORTEST} characters."
        raise RemoteError(message, "Make one with: openssl rand -hex 32")
    return given


def webhook_secret() -> Secret:
    """The secret in the addresses of webhooks. It stays the same, so that the address of a long training stays valid.

    Raises:
        RemoteError: its file cannot be used.
    """
    return _kept(WEBHOOK_FILE, "the secret for webhooks")


def _kept(file: str, name: str) -> Secret:
    path = folder() / file
    shown = printable(str(path), 300)
    try:
        folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(path)
        with open_own(path) as opened:
            mode = os.fstat(opened.fileno()).st_mode
            text = opened.read(1000).decode("ascii", "replace").strip()
    except OSError as error:
        message = f"{shown} cannot be used: {error.strerror or error}."
        raise RemoteError(message, "Check the permissions of the folder.", "disk") from error
    if mode & 0o077:
        message = f"Others on this machine can read {shown}, so it is not used."
        raise RemoteError(message, "Delete the file; Easel makes a new one.")
    if len(text) < SHORTEST:
        raise RemoteError(f"{shown} is damaged.", "Delete the file; Easel makes a new one.", "content")
    return Secret(text, name, shown)


def _make(path: Path) -> None:
    """Creates a file with a new value, complete from the first moment; one that exists stays as it is."""
    if path.exists():
        return
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Not `replace`: of two servers that start at the same time, the first one's value counts for both.
        os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink(missing_ok=True)

"""The key of an endpoint: from an environment variable that the user names, a secret of the notebook service, or this session.

A key is given to one host only. It is in no settings, arguments, logs or messages.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator

from trainer_core.errors import DownloadError, wrong_use
from trainer_core.models import tokens
from trainer_core.models.tokens import Token

VARIABLE = "EASEL_CAPTION_KEY"
"""The variable that is read unless the user names another one."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)
_LOCK = threading.Lock()
_LAUNCHING = threading.Lock()
_given: dict[str, Token] = {}


def checked(variable: str) -> str:
    """The name of a variable.

    Raises:
        DownloadError: it cannot be one; perhaps it is the key itself, so it is not in the message.
    """
    if not _NAME.fullmatch(variable) or tokens.looks_secret(variable):
        raise wrong_use(
            DownloadError(
                "This is not the name of an environment variable.",
                f"Set the key in {VARIABLE}, and leave the option out.",
            )
        )
    return variable


def remember(host: str, text: str) -> Token:
    """Keeps the key for a host in the memory of this process.

    Raises:
        DownloadError: the text cannot be a key.
    """
    with _LOCK:
        _given[host] = Token(text, host, "this session")
        return _given[host]


def forget(host: str) -> None:
    """Forgets the key that `remember` kept for a host."""
    with _LOCK:
        _given.pop(host, None)


def find(host: str, variable: str = VARIABLE) -> Token | None:
    """The key for a host; None where there is none.

    Raises:
        DownloadError: what is set cannot be a key.
    """
    if host in _given:
        return _given[host]
    return tokens.secret(checked(variable), host)


@contextlib.contextmanager
def in_environment(key: Token | None, variable: str) -> Iterator[None]:
    """Puts the key where a job's program inherits it, for as long as its supervisor is being started."""
    if key is None:
        yield
        return
    with _LAUNCHING:
        before = os.environ.get(variable)
        os.environ[variable] = key.header()["Authorization"].removeprefix("Bearer ")
        try:
            yield
        finally:
            os.environ.pop(variable)
            if before is not None:
                os.environ[variable] = before

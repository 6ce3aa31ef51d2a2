"""Finds the access tokens for download sites. A token is sent in a request header and never shown.

Easel looks for a token in this order: one given in this process (`remember`), the environment, the secrets of Kaggle or Colab,
the login file of huggingface_hub, the user's own file `tokens.env` in Easel's home. Easel never writes a token to a file.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from trainer_core import places
from trainer_core.errors import DownloadError
from trainer_core.files import open_regular
from trainer_core.providers import secrets
from trainer_core.text import TOKEN


@dataclass(frozen=True)
class Site:
    """A site that uses tokens: its title, the names under which a token is stored, and the page to create one."""

    title: str
    names: tuple[str, ...]
    page: str


# Source: huggingface_hub/utils/_auth.py for the first two names; Civitai documents none, so these are the names that common tools read.
SITES = {
    "huggingface": Site(
        "Hugging Face", ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"), "https://huggingface.co/settings/tokens"
    ),
    "civitai": Site(
        "Civitai", ("CIVITAI_TOKEN", "CIVITAI_API_TOKEN", "CIVITAI_API_KEY"), "https://civitai.com/user/account"
    ),
}

VARIABLE = "the environment variable "
LOGIN = "the login of huggingface_hub"
"""How the sources of tokens are called that other programs find, too."""
_LOCK = threading.Lock()
_LENDING = threading.RLock()
_given: dict[str, Token] = {}
OWN_FILE = "tokens.env"
"""The file in Easel's home in which a user can keep tokens, as lines NAME=VALUE, as in a shell. Easel reads it, and never writes it."""
LONGEST_BYTES = 100_000
_LINE = re.compile(
    r"\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<quote>[\"']?)(?P<value>[^\"']*?)(?P=quote)\s*(?:(?<=\s)#.*)?"
)
"""A line as shells and files of variables have it, with a comment behind it or not."""


class Hidden:
    """A value whose text never appears in output, and that is kept in memory only."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "a hidden value"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, wanted: str) -> str:
        return format(repr(self), wanted)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("A token is kept in memory only.")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self


class Token(Hidden):
    """A token whose text never appears in output. Only `header` returns it."""

    __slots__ = ("site", "source")

    def __init__(self, text: str, site: str, source: str) -> None:
        """A token of `site` ("huggingface", "civitai", or a host), found in `source` (a description for the user).

        Raises:
            DownloadError: the text cannot be a token; the text is not in the message.
        """
        text = text.strip()
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            message = f"The token for {title(site)} from {source} is not valid: it is empty, or contains spaces or unusual characters."
            raise DownloadError(message, "Copy it again from the site.", "token")
        super().__init__(text)
        self.site = site
        self.source = source

    def header(self) -> dict[str, str]:
        """The request header with the token."""
        return {"Authorization": f"Bearer {self._text}"}

    def __repr__(self) -> str:
        return f"a token for {title(self.site)}"


def title(site: str) -> str:
    """The name of a site as it is shown to users."""
    return SITES[site].title if site in SITES else site


def remember(site: str, text: str) -> Token:
    """Keeps a token in the memory of this process. It takes precedence over all other tokens of its site.

    Raises:
        DownloadError: the text cannot be a token.
    """
    if not text.strip():
        raise DownloadError(f"No token for {title(site)} was given.", "Paste it from the site.", "token")
    with _LOCK:
        _given[site] = Token(text, site, "this session")
        return _given[site]


def forget(site: str) -> None:
    """Forgets the token that `remember` kept for a site."""
    with _LOCK:
        _given.pop(site, None)


def find(site: str) -> Token | None:
    """The token for "huggingface" or "civitai"; None where none is set.

    Raises:
        DownloadError: the value that is set cannot be a token.
    """
    if site in _given:
        return _given[site]
    known = SITES[site]
    for name in known.names:
        if text := os.environ.get(name, "").strip():
            return Token(text, site, f"{VARIABLE}{name}")
    for name in known.names:
        if found := notebook_secret(name):
            return Token(found[0], site, found[1])
    if site == "huggingface" and (text := _login_file()):
        return Token(text, site, LOGIN)
    own = _own_file()
    return next((Token(own[name], site, f"{name} in {_own_path()}") for name in known.names if own.get(name)), None)


@contextlib.contextmanager
def lent(site: str) -> Iterator[None]:
    """While it is open, programs that are started inherit the token of a site that only this process can find.

    That is a token of this session, a secret of the notebook, or one of the user's own file. A value that cannot be a token is
    not lent: what asks for a token says so.
    """
    name = SITES[site].names[0]
    try:
        token = find(site)
    except DownloadError:
        token = None
    if token is None or token.source == LOGIN or token.source.startswith(VARIABLE):
        yield
        return
    with _LENDING:
        before = os.environ.get(name)
        os.environ[name] = token.header()["Authorization"].removeprefix("Bearer ")
        try:
            yield
        finally:
            os.environ.pop(name, None)
            if before is not None:
                os.environ[name] = before


def secret(name: str, site: str) -> Token | None:
    """The token for another site that is set as this environment variable, Colab secret or Kaggle secret; None where there is none.

    Raises:
        DownloadError: the value that is set cannot be a token.
    """
    if text := os.environ.get(name, "").strip():
        return Token(text, site, f"{VARIABLE}{name}")
    if found := notebook_secret(name):
        return Token(found[0], site, found[1])
    return None


def notebook_secret(name: str) -> tuple[str, str] | None:
    """The text and the source of a secret of this Colab or Kaggle notebook; None where there is none."""
    return secrets.find(name)


def looks_secret(text: str) -> bool:
    """Whether a text has the form of a token, not of a name."""
    return TOKEN.search(text) is not None


def where_to_set(site: str) -> str:
    """A sentence that tells the user where to create a token and where to set it."""
    known = SITES[site]
    return (
        f"Create a token at {known.page} and enter it in the notebook's token field, or set it as the environment variable, Colab "
        f"secret or Kaggle secret {known.names[0]}."
    )


def _login_file() -> str:
    try:
        from huggingface_hub import constants
    except ValueError:
        # It reads the variable when it is imported.
        raise DownloadError(
            "HF_ENDPOINT is not the address of a server, so the login of huggingface_hub cannot be read.",
            "Set it to an address such as https://huggingface.co, or unset it.",
            "token",
        ) from None
    try:
        return Path(constants.HF_TOKEN_PATH).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _own_path() -> Path:
    return places.home() / OWN_FILE


def _own_file() -> dict[str, str]:
    """The values of the user's own file; none if there is no such file.

    Raises:
        DownloadError: others may read the file, it is of another user, or it is not such a file.
    """
    path = _own_path()
    try:
        with open_regular(path) as file:
            about = os.fstat(file.fileno())
            if about.st_uid != os.getuid():
                raise DownloadError(
                    f"{path} belongs to another user of this machine, so its tokens are not used.",
                    "Remove it, and write one of your own.",
                    "token",
                )
            if stat.S_IMODE(about.st_mode) & 0o077:
                raise DownloadError(
                    f"{path} contains tokens, and other users of this machine may read or change it.",
                    f"Make it yours alone: chmod 600 {path}",
                    "token",
                )
            text = file.read(LONGEST_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        # Not `from`: the error may contain the bytes.
        raise DownloadError(f"{path} cannot be read as text.", "Repair it, or remove it.", "token") from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if (read := _LINE.fullmatch(line)) is None:
            # Not the line itself: it may contain a token.
            raise DownloadError(
                f"Line {number} of {path} cannot be read.",
                "Write each token as a line NAME=VALUE or export NAME=VALUE; a value in quotes has one at both ends.",
                "token",
            )
        found[read["name"]] = read["value"]
    return found

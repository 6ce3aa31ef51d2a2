"""Finds the access tokens for download sites. A token is sent in a request header and never shown.

Easel looks for a token in this order: one given in this process (`remember`), the environment, the login file of
huggingface_hub, the secrets of Colab, the secrets of Kaggle. Easel never writes a token to a file.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from trainer_core.errors import DownloadError
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

_LOCK = threading.Lock()
_given: dict[str, Token] = {}
# The answers of a notebook's secrets, and their time. Colab asks the user each time, so the answer is kept for a while; the
# user may add a secret in the meantime.
_answers: dict[str, tuple[float, str | None]] = {}
_ASK_AGAIN_S = 60


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
            return Token(text, site, f"the environment variable {name}")
    if site == "huggingface" and (text := _login_file()):
        return Token(text, site, "the login of huggingface_hub")
    for name in known.names:
        if found := notebook_secret(name):
            return Token(found[0], site, found[1])
    return None


def secret(name: str, site: str) -> Token | None:
    """The token for another site that is set as this environment variable, Colab secret or Kaggle secret; None where there is none.

    Raises:
        DownloadError: the value that is set cannot be a token.
    """
    if text := os.environ.get(name, "").strip():
        return Token(text, site, f"the environment variable {name}")
    if found := notebook_secret(name):
        return Token(found[0], site, found[1])
    return None


def notebook_secret(name: str) -> tuple[str, str] | None:
    """The text and the source of a secret of this Colab or Kaggle notebook; None where there is none."""
    for place, ask in (("Colab", _colab), ("Kaggle", _kaggle)):
        if text := _once(f"{place} {name}", ask, name):
            return text, f"the {place} secret {name}"
    return None


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
    from huggingface_hub import constants

    try:
        return Path(constants.HF_TOKEN_PATH).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _once(key: str, ask: Callable[[str], str | None], name: str) -> str | None:
    with _LOCK:
        asked_s, text = _answers.get(key, (float("-inf"), None))
        if text is None and time.monotonic() - asked_s > _ASK_AGAIN_S:
            text = ask(name)
            _answers[key] = time.monotonic(), text
        return text


def _colab(name: str) -> str | None:
    """A secret of this Colab notebook; None where there is none. Only the notebook's kernel has the module loaded.

    Source: google.colab.userdata and google.colab.errors in googlecolab/colabtools.
    """
    if "google.colab" not in sys.modules:
        return None
    from google.colab import errors, userdata  # pyright: ignore[reportMissingImports]

    try:
        return userdata.get(name)
    except (errors.Error, OSError):
        # There is no such secret, or this notebook has no access to it.
        return None


def _kaggle(name: str) -> str | None:
    """A secret of this Kaggle notebook; None where there is none.

    Source: kaggle_secrets.py and kaggle_web_client.py in Kaggle/docker-python.
    """
    if importlib.util.find_spec("kaggle_secrets") is None:
        return None
    import kaggle_secrets  # pyright: ignore[reportMissingImports]

    names = ("BackendError", "CredentialError", "ValidationError", "NotFoundError")
    refusals = tuple(getattr(kaggle_secrets, kind) for kind in names if hasattr(kaggle_secrets, kind))
    try:
        return kaggle_secrets.UserSecretsClient().get_secret(name)
    except (*refusals, OSError):
        # There is no such secret, it is not attached to this notebook, or the notebook has no network.
        return None

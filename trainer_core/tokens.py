"""Tokens of the sites that models come from: found where people keep them, sent in a header, shown nowhere.

A token is looked for, in this order: one given in this process (`remember`), the environment, the login file of
huggingface_hub, the secrets of Colab, the secrets of Kaggle. Easel writes it to no file.
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
from typing import Any, NoReturn

from trainer_core.errors import DownloadError


@dataclass(frozen=True)
class Site:
    """A site that knows tokens: its title, the names its token goes by, and the page where a token is made."""

    title: str
    names: tuple[str, ...]
    page: str


# Source: huggingface_hub/utils/_auth.py for the first two; Civitai documents no name, so those that its users' tools read.
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
# What a notebook's secrets answered, and when: Colab shows a question each time, and a person may add a secret meanwhile.
_answers: dict[str, tuple[float, str | None]] = {}
_ASK_AGAIN_S = 60


class Token:
    """A token that shows no one its text: `header` alone yields it."""

    __slots__ = ("_text", "site", "source")

    def __init__(self, text: str, site: str, source: str) -> None:
        """A token of `site` ("huggingface", "civitai", or a host), found in `source` (words for a person).

        Raises:
            DownloadError: the text cannot be a token; the text is not in the message.
        """
        text = text.strip()
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            message = (
                f"The token for {title(site)} from {source} is no token: it is empty or holds spaces or odd letters."
            )
            raise DownloadError(message, "Copy it again from the site.", "token")
        self._text = text
        self.site = site
        self.source = source

    def header(self) -> dict[str, str]:
        """The header that carries the token."""
        return {"Authorization": f"Bearer {self._text}"}

    def __repr__(self) -> str:
        return f"a token for {title(self.site)}"

    __str__ = __repr__

    def __format__(self, wanted: str) -> str:
        return format(repr(self), wanted)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("A token is kept in memory only.")

    def __copy__(self) -> Token:
        return self

    def __deepcopy__(self, memo: Any) -> Token:
        return self


def title(site: str) -> str:
    """The name of a site as people know it."""
    return SITES[site].title if site in SITES else site


def remember(site: str, text: str) -> Token:
    """Keeps a token in the memory of this process, before all others of its site.

    Raises:
        DownloadError: the text cannot be a token.
    """
    if not text.strip():
        raise DownloadError(f"No token for {title(site)} was given.", "Paste it from the site.", "token")
    with _LOCK:
        _given[site] = Token(text, site, "this session")
        return _given[site]


def forget(site: str) -> None:
    """Drops what `remember` kept for a site."""
    with _LOCK:
        _given.pop(site, None)


def find(site: str) -> Token | None:
    """The token for "huggingface" or "civitai", or None where nobody set one.

    Raises:
        DownloadError: what was set cannot be a token.
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
        for place, ask in (("Colab", _colab), ("Kaggle", _kaggle)):
            if text := _once(f"{place} {name}", ask, name):
                return Token(text, site, f"the {place} secret {name}")
    return None


def where_to_set(site: str) -> str:
    """A sentence that says where a token is made and where Easel looks for it."""
    known = SITES[site]
    return (
        f"Make a token at {known.page} and give it in the notebook's token field, or set it as the environment variable, Colab secret "
        f"or Kaggle secret {known.names[0]}."
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
    """A secret of this Colab notebook. Only its kernel can ask, and that has the module loaded.

    Source: google.colab.userdata and google.colab.errors in googlecolab/colabtools.
    """
    if "google.colab" not in sys.modules:
        return None
    from google.colab import errors, userdata  # pyright: ignore[reportMissingImports]

    try:
        return userdata.get(name)
    except (errors.Error, OSError):
        # There is no such secret, or this notebook was not given access to it.
        return None


def _kaggle(name: str) -> str | None:
    """A secret of this Kaggle notebook.

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

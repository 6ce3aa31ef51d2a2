"""The secrets that Colab and Kaggle keep for their users.

Only the kernel of a notebook can ask for them; what it starts gets them by its environment. Colab asks the user each time, so an
answer is kept; a secret that is missing is asked for again after a minute, because the user may add it meanwhile.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Callable

from trainer_core.providers.table import PROVIDERS

_LOCK = threading.Lock()
_answers: dict[str, tuple[float, str | None]] = {}
_ASK_AGAIN_S = 60


def find(name: str) -> tuple[str, str] | None:
    """The text and the source of a secret of this notebook; None where there is none."""
    for provider in PROVIDERS:
        if provider.secrets and (text := _once(f"{provider.id} {name}", _ASK[provider.secrets], name)):
            return text, f"the {provider.title} secret {name}"
    return None


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


_ASK: dict[str, Callable[[str], str | None]] = {"kaggle_secrets": _kaggle, "google.colab": _colab}
"""How each module of secrets in the table is asked."""

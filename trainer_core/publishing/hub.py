"""What uploads to the Hub share: the token in the environment of a job, the interface, and its errors as sentences."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any, Literal

from trainer_core.errors import DownloadError
from trainer_core.models import hub_interface, tokens
from trainer_core.models.downloads.links import hugging_face_endpoint
from trainer_core.models.tokens import Token
from trainer_core.publishing import explained

Kind = Literal["model", "dataset"]
CARD = "README.md"
TOKEN = tokens.SITES[explained.SITE].names[0]
WITHOUT = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Variables of huggingface_hub: plain transfers, whose progress is known, and no bars in the log."""
MIB = 1 << 20
_LAUNCHING = threading.Lock()


def address(repo: str, kind: Kind = "model") -> str:
    """The address of a repository's page."""
    return f"{hugging_face_endpoint()}/{'datasets/' if kind == 'dataset' else ''}{repo}"


@contextlib.contextmanager
def in_environment(token: Token) -> Iterator[None]:
    """Puts the token where a job's program inherits it, for as long as its supervisor is being started."""
    with _LAUNCHING:
        before = os.environ.get(TOKEN)
        os.environ[TOKEN] = _text(token)
        try:
            yield
        finally:
            os.environ.pop(TOKEN)
            if before is not None:
                os.environ[TOKEN] = before


def _text(token: Token) -> str:
    return token.header()["Authorization"].removeprefix("Bearer ")


def opened(repo: str, *, private: bool, kind: Kind = "model") -> tuple[Any, bool]:
    """The interface to the Hub, and whether the repository has a card; a missing repository is created.

    Raises:
        DownloadError: the Hub is switched off, there is no token, or the repository is public and the upload shall be private.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    token = tokens.find(explained.SITE)
    if token is None:
        raise explained.without_token()
    api = hub_interface.opened(endpoint=hugging_face_endpoint(), token=_text(token))
    try:
        info = api.dataset_info(repo) if kind == "dataset" else api.model_info(repo)
    except RepositoryNotFoundError:
        api.create_repo(repo, private=private, repo_type=kind)
        return api, False
    if private and info.private is False:
        raise DownloadError(
            f"{repo} exists already and is public, so everybody would see the file.",
            "Choose another name, or allow that the upload is public.",
            "taken",
        )
    return api, any(each.rfilename == CARD for each in info.siblings or ())


@contextlib.contextmanager
def explaining(repo: str) -> Iterator[None]:
    """Turns the errors of huggingface_hub into sentences; their own messages may contain addresses with signatures."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except HfHubHTTPError as error:
        raise explained.of_status(error, repo) from None
    except httpx2.HTTPError:
        raise explained.of_connection() from None
    except HFValidationError:
        raise DownloadError(f"{repo} cannot be the name of a repository.", "Choose another name.") from None
    except ValueError as error:
        # huggingface_hub raises these for a card that the Hub refuses, and for a transfer that the Hub refuses.
        raise DownloadError(f"Hugging Face refused the upload: {explained.said(error)}", "Correct the card.") from None

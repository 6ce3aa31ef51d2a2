"""Checks that no key is in what is sent: RunPod keeps a request and repeats its input to the webhook."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from trainer_core.errors import RemoteError
from trainer_core.remote import credentials
from trainer_core.remote.credentials import Secret, Settings

SHORTEST_SECRET = 8
"""The length in characters from which on a text in a request is taken for a key."""


def check(data: Mapping[str, Any], values: Settings, more: Iterable[Secret | None] = ()) -> None:
    """Checks that none of the keys that Easel knows, and none of `more`, is in the data.

    Raises:
        RemoteError: one is.
    """
    text = json.dumps(data, default=str)
    names = [name for name, about in credentials.KNOWN.items() if about.is_secret]
    for value in (*more, *map(values.get, names)):
        if value is not None and len(value.reveal()) >= SHORTEST_SECRET and value.reveal() in text:
            message = f"The request contains {value}."
            raise RemoteError(message, "A worker gets its keys from its own settings.", "content")

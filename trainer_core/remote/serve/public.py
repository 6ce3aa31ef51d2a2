"""The address of the webhook of a request, for whoever sends one. The server may be another process: it leaves a note while it listens."""

from __future__ import annotations

import contextlib
import os

from trainer_core.errors import RemoteError
from trainer_core.files import open_own, write_whole
from trainer_core.jobs.folder import json_object, json_text
from trainer_core.jobs.processes import Identity
from trainer_core.remote.credentials import Settings
from trainer_core.remote.runpod import webhook
from trainer_core.remote.serve import keys

NAMES = ("GATEWAY_BASE_URL", "BASE_URL")
"""The settings with a public address, the first one first."""
FILE = "public.json"


def webhook_of(request_id: str, settings: Settings) -> str:
    """The address that RunPod should call when this request has ended; "" if calls cannot arrive at Easel's receiver.

    A receiver has a public address while `easel remote serve` has a tunnel open, or listens for the address in GATEWAY_BASE_URL or
    BASE_URL. Without one, Easel asks RunPod by itself.

    Raises:
        RemoteError: the id cannot be in an address, or the public address is none.
    """
    noted = _noted()
    if noted is None:
        return ""
    base = noted or settings.text(*NAMES)
    return webhook.address(base, keys.webhook_secret(), request_id) if base else ""


def note(url: str) -> None:
    """Notes that the receiver of this process listens at a public address; "" is the one that the user has set.

    Raises:
        RemoteError: the note cannot be written.
    """
    me = Identity.of(os.getpid())
    assert me is not None
    try:
        write_whole(keys.folder() / FILE, json_text({"version": 1, "url": url, "process": me.as_dict()}), personal=True)
    except OSError as error:
        message = f"The public address cannot be noted: {error.strerror or error}."
        raise RemoteError(message, "Check the permissions of Easel's folder.", "disk") from error


def forget() -> None:
    """Takes the note of this process away; that of another server stays."""
    found = _read()
    if found is not None and found[1].pid == os.getpid():
        with contextlib.suppress(OSError):
            (keys.folder() / FILE).unlink()


def _noted() -> str | None:
    """The address in the note of a server that still runs; None without one."""
    found = _read()
    return found[0] if found is not None and found[1].alive else None


def _read() -> tuple[str, Identity] | None:
    try:
        with open_own(keys.folder() / FILE) as file:
            data = json_object(file.read(1 << 16)) or {}
    except OSError:
        return None
    url, process = (
        data.get("url"),
        Identity.from_dict(data.get("process") if isinstance(data.get("process"), dict) else None),
    )
    return (url, process) if isinstance(url, str) and process is not None else None

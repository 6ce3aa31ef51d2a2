"""Checks the address of a service before something is sent to it."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from trainer_core.errors import RemoteError


def checked(url: str, name: str, hint: str = "", *, parameters: bool = False) -> str:
    """A web address without the slash at its end; `name` says what it is, at the start of a sentence.

    It may have `parameters` after a "?" only if they are allowed.

    Raises:
        RemoteError: it is no web address, or contains a password or parameters. It is not repeated in the message.
    """
    text = url.strip()
    parts = _split(text)
    if parts is None or not text.isascii() or not text.isprintable() or " " in text:
        raise RemoteError(f"{name} is not a web address.", hint, "address")
    if parts.username is not None or parts.fragment or (parts.query and not parameters):
        raise RemoteError(f"{name} contains a password or parameters.", hint, "address")
    return text.rstrip("/")


def is_this_machine(url: str) -> bool:
    """Whether an address leads to this machine, so that nothing leaves it."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def _split(text: str) -> SplitResult | None:
    """The parts of a web address; None if it is none."""
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_address else None

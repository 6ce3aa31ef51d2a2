"""Whether the Hugging Face Hub can be reached: looked up in a thread and kept for a while. Standard library only."""

from __future__ import annotations

import os
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING

from trainer_core.hub_switch import is_off

if TYPE_CHECKING:
    from trainer_core.engines.hub import Reach

HUB = "https://huggingface.co"
TRIES_S = 4
KEPT_S = {"yes": 600.0, "no": 30.0}
"""How long an answer is used: a connection that is missing may be there soon."""


def endpoint() -> str:
    """The address of the Hub, or of the mirror in HF_ENDPOINT."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def is_address(text: str) -> bool:
    """Whether a text is the address of a server; huggingface_hub cannot be imported with some others in HF_ENDPOINT."""
    try:
        parts = urllib.parse.urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def answers(address: str) -> bool:
    """Whether a server answers at this address, however; takes a few seconds if none does."""
    if not is_address(address):
        return False
    # Imported when it is asked, because a notebook that opens does not need it.
    import http.client
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=TRIES_S):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        # A server whose certificate Python does not know is there: the engine may know its certificate.
        return type(error.reason).__module__ == "ssl"
    except (OSError, ValueError, http.client.HTTPException):
        # HTTPException: a password in the address, which Python takes for a port.
        return False


class _Look:
    """The last answer by address, and the threads that are looking."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.found: dict[str, tuple[bool, float]] = {}
        self.looking: dict[str, threading.Thread] = {}

    def known(self, address: str) -> tuple[Reach, threading.Thread | None]:
        """The last answer, and the thread that looks for a new one, started if the last one is too old."""
        with self.lock:
            answer = self.found.get(address)
            reach: Reach = "unknown" if answer is None else "yes" if answer[0] else "no"
            if answer is not None and time.monotonic() - answer[1] < KEPT_S[reach]:
                return reach, None
            if address not in self.looking:
                thread = threading.Thread(target=self._look, args=(address,), name="easel-hub", daemon=True)
                self.looking[address] = thread
                thread.start()
            return reach, self.looking[address]

    def _look(self, address: str) -> None:
        there = answers(address)
        with self.lock:
            self.found[address] = there, time.monotonic()
            self.looking.pop(address, None)


_look = _Look()


def reach(wait_s: float = 0.0) -> Reach:
    """Whether the Hub can be reached, as far as it is known after so many seconds; it never waits longer."""
    if is_off():
        return "off"
    address = endpoint()
    found, thread = _look.known(address)
    if thread is not None and wait_s > 0:
        thread.join(wait_s)
        found, _ = _look.known(address)
    return found

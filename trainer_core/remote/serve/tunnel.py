"""A public address for the receiver of webhooks: a tunnel that the user starts, or an address that the user has.

Webhooks are not needed: Easel asks RunPod by itself. With them it notices the end of a training at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from trainer_core.errors import RemoteError
from trainer_core.remote.credentials import Secret, Settings, where_to_set
from trainer_core.remote.runpod import web_address
from trainer_core.remote.serve import public

TOKEN_NAME = "NGROK_AUTHTOKEN"  # noqa: S105 - the name of a variable
FAILED, TIMEOUT = "Failed to start ngrok", "Ngrok startup timeout"
"""The errors of the document "LoRA Training System"."""
LONGEST_START_S = 20.0


class TunnelError(RemoteError):
    """A tunnel that was not opened, with what to do."""


class Open(Protocol):
    """An open tunnel."""

    @property
    def url(self) -> str:
        """Its public address."""
        ...

    def close(self) -> None:
        """Closes it."""
        ...


class Opener(Protocol):
    """Opens a tunnel to a port of this machine."""

    def __call__(self, port: int, token: Secret, longest_s: float) -> Open:
        """The open tunnel.

        Raises:
            TunnelError: it could not be opened, or not in time.
        """
        ...


@dataclass(frozen=True)
class TunnelState:
    """Whether webhooks can arrive. "given" is an address that the user has set, and that leads to the receiver without a tunnel."""

    state: Literal["off", "starting", "running", "failed", "given"]
    url: str
    sentence: str

    @property
    def is_running(self) -> bool:
        """Whether calls can arrive, as far as Easel can know."""
        return self.state in {"running", "given"}


class Tunnel:
    """The public address of a receiver, which listens when `listens` is called and returns its port."""

    def __init__(self, settings: Settings, listens: Callable[[], int], opener: Opener) -> None:
        self._settings = settings
        self._listens = listens
        self._opener = opener
        self._lock = threading.Lock()
        self._open: Open | None = None
        self._is_starting = False
        self._failure = ""

    def given(self) -> str:
        """The public address that the user has set; "" without one.

        Raises:
            RemoteError: it is no web address.
        """
        base = self._settings.text(*public.NAMES)
        return web_address.checked(base, public.NAMES[0]) if base else ""

    def url(self) -> str:
        """The public address of the receiver; "" without one.

        Raises:
            RemoteError: as `given`.
        """
        is_open = self._open
        return is_open.url if is_open is not None else self.given()

    def state(self) -> TunnelState:
        """How it is now."""
        is_open = self._open
        if is_open is not None:
            return TunnelState("running", is_open.url, "The tunnel is open. It leads to the receiver of webhooks only.")
        if self._is_starting:
            return TunnelState("starting", "", "The tunnel is being opened.")
        try:
            given = self.given()
        except RemoteError as error:
            return TunnelState("failed", "", str(error))
        if given:
            return TunnelState("given", given, f"{' or '.join(public.NAMES)} is set, so no tunnel is needed.")
        if self._failure:
            return TunnelState("failed", "", self._failure)
        return TunnelState("off", "", "There is no tunnel. Easel asks RunPod for the state of each training by itself.")

    def start(self, longest_s: float = LONGEST_START_S) -> TunnelState:
        """Opens the tunnel, unless it is open or the user has set a public address.

        Raises:
            TunnelError: it could not be opened.
            RemoteError: the address that is set is none.
        """
        with self._lock:
            if self._open is None and not self.given():
                self._is_starting = True
                try:
                    token = self._token()
                    self._open = self._opener(self._listens(), token, longest_s)
                    self._failure = ""
                    public.note(self._open.url)
                except RemoteError as error:
                    self._failure = str(error)
                    raise
                finally:
                    self._is_starting = False
        return self.state()

    def stop(self) -> TunnelState:
        """Closes the tunnel; without one, nothing happens."""
        with self._lock:
            if self._open is not None:
                public.forget()
                self._open.close()
                self._open = None
            self._failure = ""
        return self.state()

    def _token(self) -> Secret:
        token = self._settings.get(TOKEN_NAME)
        if token is None:
            message = f"{FAILED}: no authtoken is set."
            hint = f"Copy yours from https://dashboard.ngrok.com/get-started/your-authtoken. {where_to_set(TOKEN_NAME)}"
            raise TunnelError(message, hint, "setting")
        return token

"""Starts and ends the server: one listener on this machine for the API, and one more for the receiver alone, which a tunnel leads to."""

from __future__ import annotations

import errno
import http.client
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from trainer_core import places
from trainer_core.errors import RemoteError
from trainer_core.remote import credentials
from trainer_core.remote.credentials import Secret, Settings
from trainer_core.remote.serve import crowding, keys, public
from trainer_core.remote.serve.api import MOST_AT_ONCE, Api
from trainer_core.remote.serve.asked import WorksWith
from trainer_core.remote.serve.crowding import AtOnce, Connection
from trainer_core.remote.serve.following import Following
from trainer_core.remote.serve.ngrok_tunnel import NgrokTunnel
from trainer_core.remote.serve.receiver import Receiver
from trainer_core.remote.serve.tunnel import Opener, Tunnel
from trainer_core.remote.styles import Styles

HOST = "127.0.0.1"
PORT = 5173
"""The port of the document "LoRA Training System"."""
NAME = "easel"
_END_S = 8.0


def no_styles() -> Styles:
    """Refuses to open the styles, for a server without them.

    Raises:
        RemoteError: always.
    """
    raise RemoteError("This server has no folder of styles.", "Start it again with --at and the folder or the bucket.")


@dataclass(frozen=True)
class Options:
    """What a server is started with. Ports of 0 are any free ones; `port` None is the setting PORT, or 5173.

    `styles` opens the place of the styles, for each request again. `origins` are the pages that a browser may call from. `say` gets
    a sentence for each run that a webhook has hastened.
    """

    port: int | None = None
    receiver_port: int = 0
    settings: Settings | None = None
    styles: Callable[[], Styles] = no_styles
    origins: Sequence[str] = ()
    say: Callable[[str], None] = lambda _: None
    opener: Opener = NgrokTunnel


class Server:
    """A server that runs. `address` is where; `token` is what callers send."""

    def __init__(self, options: Options) -> None:
        """A server that has started.

        Raises:
            RemoteError: it cannot start, such as when the port is taken.
        """
        settings = options.settings or credentials.settings()
        port = _port(settings) if options.port is None else options.port
        self.token: Secret = keys.token(settings)
        self._receiver_port = options.receiver_port
        secret = keys.webhook_secret()
        self._following = Following(settings, options.styles, options.say)
        self._calls = Receiver(secret, places.runs(), options.say, self._following.ask_now)
        self._outside: Listener | None = None
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        self.tunnel = Tunnel(settings, self._listen_outside, options.opener)
        works_with = WorksWith(
            settings, options.styles, self.tunnel, lambda each: public.webhook_of(each, settings), self._following
        )
        self._listener: Listener | None = None
        with ExitStack() as undone:
            undone.callback(self.close)
            opened = bound(port)
            self.port: int = opened.getsockname()[1]
            self._listener = Listener(opened, Api(works_with, self.token, self._calls, self.port, options.origins))
            if self._receiver_port:
                self._listen_outside()
            if self.tunnel.given():
                public.note("")
            undone.pop_all()

    @property
    def address(self) -> str:
        """Where the API is."""
        return f"http://{HOST}:{self.port}"

    @property
    def receiver_address(self) -> str:
        """Where the receiver alone is, for a gateway or a tunnel; "" while it does not listen there."""
        outside = self._outside
        return f"http://{HOST}:{outside.port}" if outside is not None else ""

    def wait(self) -> None:
        """Returns when the server was closed."""
        self._is_closed.wait()

    def close(self) -> None:
        """Ends it: no new requests, those that are being answered are finished, the tunnel is closed."""
        self.tunnel.stop()
        public.forget()
        with self._lock:
            for listener in (self._listener, self._outside):
                if listener is not None:
                    listener.close()
            self._outside = None
        if not self._is_closed.is_set():
            self._is_closed.set()
            self._calls.close()
            self._following.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen_outside(self) -> int:
        """The port of the listener that has nothing but the receiver."""
        with self._lock:
            if self._outside is None:
                self._outside = Listener(bound(self._receiver_port), AtOnce(self._calls, MOST_AT_ONCE))
            return self._outside.port


class _Uvicorn(uvicorn.Server):
    """A server that accepts few connections in a turn of its loop, while the system keeps many: asyncio has one number for both."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to accept."""
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(crowding.MOST_QUEUED)


class Listener:
    """An application at one socket, served by a thread."""

    def __init__(self, opened: socket.socket, app: ASGIApp) -> None:
        self.port: int = opened.getsockname()[1]
        self._socket = opened
        Connection.most_open = crowding.most_open()
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=Connection,
                ws="none",
                lifespan="off",
                # The addresses of webhooks have a code in them, so requests are not logged.
                access_log=False,
                log_config=None,
                server_header=False,
                headers=[("Server", NAME)],
                proxy_headers=False,
                backlog=crowding.ACCEPTED_AT_ONCE,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=3,
            )
        )
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"serve {self.port}", daemon=True)
        self._thread.start()
        # The socket listens already, so that a caller who comes too early waits.

    def close(self) -> None:
        """Ends it."""
        self._server.should_exit = True
        self._thread.join(_END_S)
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def started(options: Options) -> Server:
    """A server that runs in threads of this process.

    Raises:
        RemoteError: it cannot start.
    """
    return Server(options)


def bound(port: int) -> socket.socket:
    """A socket that listens at a port of this machine.

    Raises:
        RemoteError: the port is taken, or may not be used.
    """
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Without it, a port cannot be used again for a minute after the last server ended.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((HOST, port))
        opened.listen(crowding.MOST_QUEUED)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise _taken(port) from None
        message = f"Port {port} cannot be used: {error.strerror or error}."
        raise RemoteError(message, "Choose another one with --port.") from error
    return opened


def _taken(port: int) -> RemoteError:
    if _is_easel(port):
        message = f"Another `easel remote serve` listens at port {port} already."
        return RemoteError(message, "Use that one, end it with Ctrl+C, or choose another port with --port.", "taken")
    message = f"Port {port} is used by another program."
    return RemoteError(message, "Choose another one with --port.", "taken")


def _is_easel(port: int) -> bool:
    """Whether what listens at a port calls itself as this server does."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().getheader("Server") == NAME
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _port(settings: Settings) -> int:
    """The port that is set, else that of the document.

    Raises:
        RemoteError: what is set is no port.
    """
    text = settings.text("PORT")
    if not text:
        return PORT
    if not text.isdecimal() or not 0 < int(text[:6]) < 65536:
        raise RemoteError(f"PORT from {settings.source('PORT')} is no port: it must be a number from 1 to 65535.")
    return int(text)

"""Keeps callers that send nothing, or very much, from keeping others out.

* A connection whose headers do not arrive in time is closed, also after an answer, and however many single bytes it sends meanwhile.
* Of too many connections without a request, the one that has waited longest is closed. A caller who sends a request at once is not it:
  so few connections are accepted in one turn of the loop that each is read before that many newer ones have come.
* There are never more connections than file descriptors for them; the limit of these is raised as far as this process may.
* Requests that are being answered are counted for each kind of caller: those without a token cannot use up the places of those with one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, cast

from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from trainer_core.remote.serve.answers import failure

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

HEADERS_S = 10.0
"""How long the headers of a request may take to arrive, in seconds."""
MOST_WAITING = 64
"""The most connections that are open without a request."""
MOST_OPEN = 256
"""The most connections of one listener: those without a request, and those that are being answered."""
ACCEPTED_AT_ONCE = 16
"""How many connections are accepted in one turn of the loop. Two turns later the first of them is read: asyncio/selector_events.py."""
MOST_QUEUED = 2048
"""How many connections the system keeps until they are accepted. If it kept fewer, a caller in a burst would wait a second or more."""
_FILES_WANTED = 4096
_FILES_FOR_OTHERS = 96
"""What Easel itself has open: the loop, files of runs, connections to a bucket."""
_LISTENERS = 2


def most_open() -> int:
    """How many connections one listener may have open, after the limit of open files was raised as far as this process may."""
    if sys.platform == "win32":
        return MOST_OPEN
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(_FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # What is refused stays as it was.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY:
        return MOST_OPEN
    # Some are accepted, or closed, before the loop has counted them.
    return max(1, min(MOST_OPEN, (soft - _FILES_FOR_OTHERS) // _LISTENERS - 4 * ACCEPTED_AT_ONCE))


class Connection(H11Protocol):
    """A connection of uvicorn with a limit for the headers of each request.

    uvicorn 0.54 limits only the time between an answer and the first byte of the next request. Its own limit of connections would
    count those that send nothing, and refuse everybody else.
    """

    most_open = MOST_OPEN
    is_aborted = False
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Begins to wait for headers."""
        super().connection_made(transport)
        self._wait()
        # They are of this class, because a listener has one class of connections. One that was aborted stays among them for a turn.
        still_open = [each for each in cast("set[Connection]", self.connections) if not each.is_aborted]
        waiting = [each for each in still_open if each.waits_until is not None]
        if len(waiting) > MOST_WAITING or len(still_open) > self.most_open:
            min(waiting, key=lambda each: each.waits_until or 0.0).abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        self._go_on()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Waits no more when a request has begun."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._go_on()

    def on_response_complete(self) -> None:
        """Waits for the next request, or for its end if that was answered before its body had arrived."""
        self._wait()
        super().on_response_complete()

    @property
    def waits_until(self) -> float | None:
        """When it is closed unless a request begins, by the clock of the loop; None while a request is answered."""
        return self._timer.when() if self._timer is not None else None

    def abort(self) -> None:
        """Closes it at once."""
        self.is_aborted = True
        self._go_on()
        self.transport.abort()

    def _wait(self) -> None:
        self._go_on()
        self._timer = self.loop.call_later(HEADERS_S, self.abort)

    def _go_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class AtOnce:
    """An application that answers at most so many requests at once, and others with 503. For one loop."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._free = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it."""
        if self._free <= 0:
            answer = failure(503, "Too many requests are being answered.", "Send it again later.")
            headers = {"Connection": "close", "Retry-After": "5"}
            await Response(answer.data(), answer.status, headers, "application/json")(scope, receive, send)
            return
        self._free -= 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._free += 1

"""Keeps callers that send nothing, or very much, from keeping others out.

* A connection whose headers do not arrive in time is closed, also after an answer, and however many single bytes it sends meanwhile.
* Of too many connections without a request, the one that has waited longest is closed. A caller who sends a request at once is not it.
* Requests that are being answered are counted for each kind of caller: those without a token cannot use up the places of those with one.
"""

from __future__ import annotations

import asyncio
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


class Connection(H11Protocol):
    """A connection of uvicorn with a limit for the headers of each request.

    uvicorn 0.54 limits only the time between an answer and the first byte of the next request. Its own limit of connections would
    count those that send nothing, and refuse everybody else.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Begins to wait for headers."""
        super().connection_made(transport)
        self._wait()
        # They are of this class, because a listener has one class of connections.
        waiting = [each for each in cast("set[Connection]", self.connections) if each.waits_until is not None]
        if len(waiting) > MOST_WAITING:
            min(waiting, key=lambda each: each.waits_until or 0.0).transport.abort()

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

    def _wait(self) -> None:
        self._go_on()
        self._timer = self.loop.call_later(HEADERS_S, self.transport.abort)

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

"""The application: the door, the receiver, and the routes of the table."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from trainer_core.errors import EaselError
from trainer_core.remote import strict_json
from trainer_core.remote.credentials import Secret
from trainer_core.remote.serve import door, openapi, receiver
from trainer_core.remote.serve.answers import Answer, Refused, failure, of_error
from trainer_core.remote.serve.asked import Asked, WorksWith
from trainer_core.remote.serve.crowding import AtOnce
from trainer_core.remote.serve.receiver import Receiver
from trainer_core.remote.serve.table import OPERATIONS, Operation

DESCRIPTION = "/openapi.json"
MOST_AT_ONCE = 64
"""How many requests with the token are answered at once, and as many calls of the receiver."""


class Api:
    """The ASGI application of the server: the receiver's paths are open, all others need the token."""

    def __init__(
        self, works_with: WorksWith, token: Secret, calls: Receiver, port: int, origins: Sequence[str] = ()
    ) -> None:
        """The application at a port of this machine. `origins` are pages that a browser may call it from."""
        self._token = token
        self._calls = AtOnce(calls, MOST_AT_ONCE)
        self._port = port
        routes = [_route(each, works_with) for each in OPERATIONS]
        routes.append(Route(DESCRIPTION, _described, methods=["GET"]))
        inside: ASGIApp = Starlette(
            routes=routes,
            middleware=[Middleware(_Token, token=token), Middleware(AtOnce, most=MOST_AT_ONCE)],
            exception_handlers={Refused: _refused, HTTPException: _unknown, Exception: _broken},
        )
        # Outside of the token: a browser asks without it whether it may send it.
        self._inside = (
            CORSMiddleware(
                inside,
                allow_origins=list(origins),
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match"],
                expose_headers=["ETag"],
            )
            if origins
            else inside
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            return
        if receiver.is_for(scope["path"]):
            await self._calls(scope, receive, send)
            return
        try:
            door.check_host(Request(scope), self._port)
        except Refused as refused:
            await sent(refused.answer)(scope, receive, send)
            return
        await self._inside(scope, receive, send)


class _Token:
    """Lets nobody in without the token."""

    def __init__(self, app: ASGIApp, token: Secret) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            door.check_token(Request(scope), self._token)
        except Refused as refused:
            await sent(refused.answer)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def sent(answer: Answer) -> Response:
    """An answer as a response."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **answer.headers}
    return Response(answer.data(), answer.status, headers, None if answer.body is None else "application/json")


def _route(operation: Operation, works_with: WorksWith) -> Route:
    async def answer(request: Request) -> Response:
        raw = await door.body_of(request, operation.most_bytes)
        body = None if operation.body is None else _body(operation, request, raw)
        asked = Asked(works_with, request.path_params, request.headers, body)
        try:
            # Files, buckets and RunPod are waited for, so not in the loop that answers webhooks.
            return sent(await run_in_threadpool(operation.act, asked))
        except EaselError as error:
            return sent(of_error(error))

    return Route(operation.path, answer, methods=[operation.method], name=operation.id)


def _body(operation: Operation, request: Request, raw: bytes) -> Any:
    """The body of a request as what the operation takes.

    Raises:
        Refused: it is not JSON, or does not fit.
    """
    assert operation.body is not None
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != "application/json":
        raise Refused(415, "The body must be JSON.", "Send the header Content-Type: application/json.")
    try:
        data = strict_json.loads(raw)
    except ValueError as error:
        raise Refused(400, f"The body is not JSON: {error}.", f"{DESCRIPTION} describes it.") from None
    try:
        return operation.body.model_validate(data)
    except ValidationError as error:
        raise Refused(400, _wrong(error), f"{DESCRIPTION} describes it.") from None


def _wrong(error: ValidationError) -> str:
    """The first things that are wrong in a body, each with its place. What was sent is not repeated."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    said = []
    for each in found[:3]:
        place = ".".join(map(str, each["loc"]))
        text = each["msg"].removeprefix("Value error, ").rstrip(".")
        said.append(f"{place}: {text}." if place else f"{text}.")
    more = f" There are {len(found) - 3} more." if len(found) > 3 else ""
    return f"The body does not fit. {' '.join(said)}{more}"


async def _described(_: Request) -> Response:
    return JSONResponse(openapi.description())


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return sent(error.answer)


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = {404: "There is nothing at this path.", 405: f"{request.method} is not possible at this path."}
    text = said.get(error.status_code, f"{HTTPStatus(error.status_code).phrase}.")
    return sent(failure(error.status_code, text, f"{DESCRIPTION} describes all paths.", error.headers))


async def _broken(_: Request, __: Exception) -> Response:
    # Starlette raises it again, so that the server writes where it happened to its log.
    return sent(failure(500, "Easel has made a mistake.", "The output of `easel remote serve` says where."))

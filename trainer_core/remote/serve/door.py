"""Who may come in. The server listens on this machine only, but pages in a browser can reach it, too.

* Host: only a name of this machine. A page whose own name leads to 127.0.0.1 ("DNS rebinding") has another one.
* Token: in the header `Authorization: Bearer`, which pages of others cannot send without a permission (CORS) that is not given.
* Bodies: of a limited size, and complete within a limited time.
"""

from __future__ import annotations

import asyncio
import hmac

from starlette.requests import ClientDisconnect, Request

from trainer_core.remote.credentials import Secret
from trainer_core.remote.serve.answers import Refused

NAMES = ("127.0.0.1", "localhost", "[::1]")
BODY_S = 20.0
"""How long a body may take to arrive, in seconds."""
DROPPED_BYTES = 16 << 20
"""How much more than allowed is still read, and dropped: many programs read no answer before they have sent everything."""


def check_host(request: Request, port: int) -> None:
    """Checks that the caller asked for this machine by one of its own names.

    Raises:
        Refused: it did not.
    """
    host = request.headers.get("host", "").lower()
    allowed = {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == 80 else set())
    if host not in allowed:
        error = "The request names another host than this machine, so it is refused."
        raise Refused(403, error, f"Use the address http://127.0.0.1:{port}.")


def check_token(request: Request, token: Secret) -> None:
    """Checks the token, in a time that does not depend on how much of it is right.

    Raises:
        Refused: it is missing or another one.
    """
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    is_right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.reveal().encode())
    if kind.lower() != "bearer" or not is_right:
        error = "The token is missing or wrong."
        advice = (
            "Send it in the header Authorization, after the word Bearer. `easel remote serve` says where the token is."
        )
        raise Refused(401, error, advice, {"WWW-Authenticate": "Bearer"})


async def body_of(request: Request, most_bytes: int, *, keeps: bool = True) -> bytes:
    """The body of a request; b"" if it is only to arrive completely, and not `keeps`.

    Raises:
        Refused: it is larger, or does not arrive completely.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > most_bytes + DROPPED_BYTES):
        raise _too_large(most_bytes)
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > most_bytes + DROPPED_BYTES:
                    raise _too_large(most_bytes)
                if keeps and size <= most_bytes:
                    parts.append(part)
    except TimeoutError:
        raise Refused(408, f"The body did not arrive within {BODY_S:.0f} seconds.", "Send it again.") from None
    except ClientDisconnect:
        raise Refused(400, "The connection was closed before the body was complete.", "Send it again.") from None
    if size > most_bytes:
        raise _too_large(most_bytes)
    return b"".join(parts)


def _too_large(most_bytes: int) -> Refused:
    return Refused(413, f"The body is larger than {most_bytes} bytes.", "Send less at once.", {"Connection": "close"})

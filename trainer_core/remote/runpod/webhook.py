"""The address that RunPod calls when a job has ended. A call says only that it is time to ask: its body is never believed.

RunPod does not sign its calls, and the address is in the record of the job and in the worker's container. So the code in it keeps
others out, but what became of the job is asked with the key.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from trainer_core.errors import RemoteError
from trainer_core.remote.credentials import Secret
from trainer_core.remote.runpod import web_address

PATH = "/easel/remote-training"
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SHORTEST_SECRET = 16
_DOMAIN = b"easel webhook\n"


def path(secret: Secret, request_id: str) -> str:
    """The path of the webhook of a request: /easel/remote-training/<request id>/<code>.

    The code is the HMAC-SHA256 of the request id with a secret of the receiver.

    Raises:
        RemoteError: the request id cannot be in a path, or the secret is too short.
    """
    if not _is_request_id(request_id):
        raise RemoteError("The id of a request may have only letters, digits and - _ .")
    return f"{PATH}/{request_id}/{_code(secret, request_id)}"


def address(base_url: str, secret: Secret, request_id: str) -> str:
    """The whole address of the webhook of a request, at the public address of the receiver.

    Raises:
        RemoteError: as `path`, or the public address is none.
    """
    return f"{checked_base(base_url)}{path(secret, request_id)}"


def request_of(secret: Secret, called: str) -> str | None:
    """The id of the request whose webhook was called at this path; None if the code in it is not right."""
    rest = called.partition("?")[0].removeprefix(f"{PATH}/")
    request_id, slash, code = rest.partition("/")
    if rest == called or not slash or not _is_request_id(request_id) or not code.isascii():
        return None
    return request_id if hmac.compare_digest(code, _code(secret, request_id)) else None


def checked_base(base_url: str) -> str:
    """The public address of a receiver without a slash at its end.

    Raises:
        RemoteError: it is no web address, or contains a password.
    """
    return web_address.checked(base_url, "The public address for webhooks", "Such as https://api.yourdomain.com")


def _is_request_id(text: str) -> bool:
    return _REQUEST_ID.fullmatch(text) is not None and ".." not in text


def _code(secret: Secret, request_id: str) -> str:
    key = secret.reveal().encode()
    if len(key) < _SHORTEST_SECRET:
        message = f"The secret for webhooks is too short: it has fewer than {_SHORTEST_SECRET} characters."
        raise RemoteError(message, "Make one with: openssl rand -hex 32")
    return hmac.new(key, _DOMAIN + request_id.encode(), hashlib.sha256).hexdigest()

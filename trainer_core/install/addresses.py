"""Addresses of registries and repositories, as they may be shown and stored: without what opens them. Standard library only, Python 3.8 syntax."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

# Up to the last @ before the path: a password may contain one.
_USER = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]{0,20}://)(?P<user>[^/\s?#:@]*)[^/\s?#]{0,400}@")
_QUERY = re.compile(r"(?P<address>[A-Za-z][\w+.-]{0,20}://[^\s?#]{1,2000})\?[^\s#\"'<>()]+")


def without_secrets(text: str) -> str:
    """The text, with each address in it without user, password and query.

    Which parameter of a query is a token is a matter of the server, and none is needed to know which address it was.
    """
    return _QUERY.sub(r"\g<address>", _USER.sub(_plain, text)) if "://" in text else text


def opened(address: str) -> tuple[str, str]:
    """The address as a program may be given it in its arguments, and the header of HTTP that opens it ("" without a password).

    ssh takes no password from an address.
    """
    found = _USER.match(address)
    if found is None:
        return address, ""
    plain = _USER.sub(_plain, address)
    if found["scheme"].lower() not in ("http://", "https://"):
        return plain, ""
    user, _, password = address[found.end("scheme") : found.end() - 1].partition(":")
    both = f"{unquote(user)}:{unquote(password)}".encode()
    return plain, "Authorization: Basic " + base64.b64encode(both).decode("ascii")


def _plain(found: re.Match[str]) -> str:
    # The user of ssh is an account, not a token, and the address is of no use without it.
    is_account = found["scheme"].lower().endswith("ssh://") and found["user"]
    return found["scheme"] + (found["user"] + "@" if is_account else "")

"""The messages between an ssh host and the program that answers on the machine: a JSON object, and bytes after it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

PROTOCOL = 1
"""Changes with every change of the messages: both sides must have the same."""
GREETING = b"easel-host "
"""How the line begins that the answering program writes first, with the protocol and the version of Easel after it."""
LARGEST_BYTES = 128 << 20
"""A larger file is no file of a job."""
_LARGEST_OBJECT_BYTES = 1 << 20
_HEAD = struct.Struct(">IQ")


class FrameError(Exception):
    """Bytes that are no message."""


def pack(about: Mapping[str, Any], body: bytes = b"") -> bytes:
    """The bytes of one message."""
    text = json.dumps(about).encode()
    return _HEAD.pack(len(text), len(body)) + text + body


def unpack(take: Callable[[int], bytes], largest_bytes: int = LARGEST_BYTES) -> tuple[dict[str, Any], bytes]:
    """The next message; `take(count)` returns exactly so many bytes, or raises.

    Raises:
        FrameError: it is no message, or its bytes are more than `largest_bytes`.
    """
    length, size = _HEAD.unpack(take(_HEAD.size))
    if length > _LARGEST_OBJECT_BYTES or size > largest_bytes:
        raise FrameError(f"A message of {length} and {size} bytes is too long.")
    try:
        about = json.loads(take(length))
    except (ValueError, RecursionError) as error:
        raise FrameError("A message is not JSON.") from error
    if not isinstance(about, dict):
        raise FrameError("A message is not a JSON object.")
    return about, take(size)

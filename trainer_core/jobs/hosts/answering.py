"""The program that an ssh host starts on the machine: `python -m trainer_core.jobs.hosts.answering`.

It does what the messages on its input ask for, with `LocalHost`, and ends with its input. Who can start it can log in anyway.
A relative path starts in the home folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from trainer_core import __version__
from trainer_core.errors import JobError
from trainer_core.jobs.folder import DiskError
from trainer_core.jobs.hosts.frames import GREETING, PROTOCOL, FrameError, pack, unpack
from trainer_core.jobs.hosts.host import READ_LIMIT_BYTES
from trainer_core.jobs.hosts.local import LOCAL

Answer = tuple[dict[str, Any], bytes]


def main() -> int:
    """Answers the messages of an ssh host until the input ends; returns 0, or 1 after bytes that are no message."""
    return serve(_answer)


def serve(answer: Callable[[Mapping[str, Any], bytes], Answer]) -> int:
    """Answers messages with a function until the input ends; returns 0, or 1 after bytes that are no message.

    What the function raises becomes an answer: a JobError, an OSError, or a KeyError, TypeError or ValueError for a request that
    cannot be understood.
    """
    # What anything prints goes to stderr: it would be read as an answer.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    try:
        _write(answers, GREETING + f"{PROTOCOL} {__version__}\n".encode())
        while True:
            about, body = unpack(_take)
            _write(answers, pack(*_guarded(answer, about, body)))
    except (EOFError, BrokenPipeError):
        return 0
    except FrameError as error:
        print(error, file=sys.stderr)
        return 1


def _take(count: int) -> bytes:
    found = sys.stdin.buffer.read(count)
    if len(found) < count:
        # A file whose bytes did not all arrive is not written.
        raise EOFError
    return found


def _write(to: BinaryIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[to.write(rest) :]


def _answer(about: Mapping[str, Any], body: bytes) -> Answer:
    return _ACTIONS[about["do"]](_path(str(about.get("path", ""))), about, body)


def _guarded(answer: Callable[[Mapping[str, Any], bytes], Answer], about: Mapping[str, Any], body: bytes) -> Answer:
    try:
        return answer(about, body)
    except JobError as error:
        is_full = isinstance(error, DiskError)
        return {"failed": "job", "message": error.message, "hint": error.hint, "is_full": is_full}, b""
    except OSError as error:
        return {"failed": "os", "errno": error.errno, "text": error.strerror or str(error)}, b""
    except (KeyError, TypeError, ValueError) as error:
        return {"failed": "request", "text": f"{type(error).__name__}: {error}"}, b""


def _path(text: str) -> Path:
    return Path.home() / text


def _put(path: Path, _about: Mapping[str, Any], body: bytes) -> Answer:
    LOCAL.put({path: body})
    return {}, b""


def _folder(path: Path, _about: Mapping[str, Any], _body: bytes) -> Answer:
    """Makes the folder of a job, which only its owner can read, as `JobFolder.create` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    return {}, b""


def _read(path: Path, about: Mapping[str, Any], _body: bytes) -> Answer:
    found, offset = LOCAL.read(path, int(about["offset"]), min(int(about["limit"]), READ_LIMIT_BYTES))
    return {"offset": offset}, found


def _start(path: Path, _about: Mapping[str, Any], _body: bytes) -> Answer:
    LOCAL.start(path)
    return {}, b""


def _adopt(path: Path, about: Mapping[str, Any], _body: bytes) -> Answer:
    LOCAL.adopt(path, force=bool(about["force"]))
    return {}, b""


def _whereabouts(path: Path, _about: Mapping[str, Any], _body: bytes) -> Answer:
    return {"where": LOCAL.whereabouts(path)}, b""


def _signal(path: Path, about: Mapping[str, Any], _body: bytes) -> Answer:
    LOCAL.signal(path, about["which"], int(about["number"]))
    return {}, b""


def _alive(path: Path, about: Mapping[str, Any], _body: bytes) -> Answer:
    return {"alive": LOCAL.alive(path, about["which"])}, b""


def _ping(_path: Path, _about: Mapping[str, Any], _body: bytes) -> Answer:
    return {}, b""


_ACTIONS: Mapping[str, Callable[[Path, Mapping[str, Any], bytes], Answer]] = {
    "put": _put,
    "folder": _folder,
    "read": _read,
    "start": _start,
    "adopt": _adopt,
    "whereabouts": _whereabouts,
    "signal": _signal,
    "alive": _alive,
    "ping": _ping,
}

if __name__ == "__main__":
    sys.exit(main())

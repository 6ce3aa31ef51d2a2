"""Runs a program with a limit of time and of output. Standard library only."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MOST_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16


@dataclass(frozen=True)
class Done:
    """How a program ended. `ended` says why it was stopped: "time" or "output"; "" if it ended by itself."""

    returncode: int
    stdout: str
    stderr: str
    ended: Literal["", "time", "output"]


def run(
    command: Sequence[str],
    limit_s: float,
    *,
    most_bytes: int = MOST_BYTES,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Done:
    """Runs a program to its end, or stops it with all that it has started, after so many seconds or bytes of output.

    Its standard input is empty, and stays open as long as this process lives: a program that should not live longer can watch it.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    ended: Literal["", "time", "output"] = "time"
    texts = (bytearray(), bytearray())
    try:
        until = time.monotonic() + limit_s
        ended = _read(process, texts, until, most_bytes)
        if not ended:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                ended = "time"
    finally:
        # Also at Ctrl+C, which a program in another session does not get. Its number is not given away before it was waited for.
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    stdout, stderr = (bytes(text).decode("utf-8", "replace") for text in texts)
    return Done(code, stdout, stderr, ended)


def _read(
    process: subprocess.Popen[bytes], texts: tuple[bytearray, bytearray], until: float, most_bytes: int
) -> Literal["", "time", "output"]:
    """Reads what a program writes to both of its outputs until it closes them; says which limit it reached, if any."""
    with selectors.DefaultSelector() as open_pipes:
        for pipe, text in zip((process.stdout, process.stderr), texts, strict=True):
            assert pipe is not None
            open_pipes.register(pipe, selectors.EVENT_READ, text)
        while open_pipes.get_map():
            remaining = until - time.monotonic()
            if remaining <= 0:
                return "time"
            for key, _ in open_pipes.select(remaining):
                piece = os.read(key.fd, _PIECE_BYTES)
                if not piece:
                    open_pipes.unregister(key.fileobj)
                key.data.extend(piece)
                if len(key.data) > most_bytes:
                    return "output"
    return ""

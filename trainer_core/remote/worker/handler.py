"""The handler of RunPod's library: one request as a coroutine, so that a cancel and a time limit reach it while it trains.

A handler that is no coroutine would block the library's loop, which then hears of neither. Source: runpod-python 1.12.0,
serverless/modules/rp_scale.py (stop_job) and rp_job.py (run_job).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from trainer_core.remote.worker.answers import Answer
from trainer_core.remote.worker.working import Working

Tell = Callable[[Mapping[str, Any], dict[str, Any]], None]
"""The library's `progress_update`, which takes a job and an object."""


class Handler:
    """Does one request after the other."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._one_at_a_time = asyncio.Lock()
        self._working: Working | None = None
        self._is_heard = False

    async def __call__(self, job: Mapping[str, Any]) -> Answer:
        """The answer to a job. A job that is cancelled ends its processes and uploads what it has before this raises."""
        self._hear_signals()
        async with self._one_at_a_time:
            working = self._working = Working(
                job.get("input"), str(job.get("id", "")), lambda progress: self._tell(job, progress)
            )
            done = asyncio.ensure_future(asyncio.to_thread(working.work))
            try:
                return await asyncio.shield(done)
            except asyncio.CancelledError:
                working.cancel()
                await self._ended(done)
                raise
            finally:
                self._working = None

    async def _ended(self, done: asyncio.Future[Answer]) -> None:
        """Waits for the end of a request, whoever cancels this meanwhile."""
        while not done.done():
            try:
                await asyncio.shield(done)
            except asyncio.CancelledError:
                continue

    def _hear_signals(self) -> None:
        """Uploads what is there when the container is asked to end; the library alone would wait for the end of the training."""
        if self._is_heard:
            return
        self._is_heard = True
        before = signal.getsignal(signal.SIGTERM)

        def ended(number: int, frame: FrameType | None) -> None:
            if self._working is not None:
                self._working.cancel("shut down")
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGTERM, ended)

"""Recognises an engine that has finished its work but does not end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from trainer_core.jobs.outcome import Diagnosis
from trainer_core.training import artefacts
from trainer_core.training.basis import Basis
from trainer_core.training.checking import tested
from trainer_core.training.forked import Forked

EXIT_S = 60.0
"""An engine that is done and silent for this many seconds is ended."""
SAMPLES_S = 600.0
"""The same while it generates samples, which may take minutes for each image."""

DOES_NOT_END = Diagnosis(
    "does-not-end", "The engine finished its work, but did not end, so Easel ended it.", "", "Nothing needs to be done."
)


class ExitWatch:
    """Decides whether an engine has hung after its work: its result is complete and accepted, and nothing more comes."""

    def __init__(self, basis: Basis, ready: Callable[[], bool]) -> None:
        self._basis, self._ready = basis, ready
        self._seen: tuple[Path, tuple[int, int]] | None = None
        self._since = 0.0
        self._test: Forked | None = None

    def hangs(self, now: float, heard: float, sampling: bool) -> bool:
        """Whether the engine is to be ended.

        `heard` is when something last came from it, on the same clock as `now`, in seconds. Call it only when the last step
        was reached or the engine has said that it saved the result. Never waits.
        """
        final = artefacts.final_file(self._basis.run.output, self._basis.spec.artefacts)
        seen = (final, size) if final is not None and (size := artefacts.size_of(final)) is not None else None
        if seen is None or seen != self._seen:
            self.close()
            self._seen, self._since = seen, now
            return False
        if now - max(heard, self._since) < (SAMPLES_S if sampling else EXIT_S) or not self._ready():
            return False
        if self._test is None:
            path = seen[0]
            # Without a free process it is tested later.
            with contextlib.suppress(OSError):
                self._test = Forked(lambda: tested(path, self._basis.plan))
        verdict = self._test.result if self._test and self._test.ended() else None
        return bool(verdict and verdict["ok"])

    def close(self) -> None:
        """Ends the test of the result, if one runs."""
        if self._test is not None:
            self._test.end()
            self._test = None

"""Tests a run's checkpoints: whether each opens, is complete and finite, and has learnt something.

A checkpoint is tested by the same rules as the result of the run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer_core.events import Checked, Checkpoint
from trainer_core.training.artefacts import size_of
from trainer_core.training.forked import Forked

POLL_S = 0.05
TRIES = 2
"""How often a test is tried that ends without a result: another program may have killed it."""
NOT_TESTED = "It was not tested."


class CheckpointTests:
    """Tests the checkpoints of a run one at a time, each in a process of its own.

    `test` returns the verdict on a file or folder as `tested` does; `ready` says whether everything that it needs is loaded.
    """

    def __init__(
        self, run: Path, test: Callable[[Path], Mapping[str, Any]], ready: Callable[[], bool] = lambda: True
    ) -> None:
        self._run, self._test, self._ready = run, test, ready
        self._sizes: dict[str, tuple[object, ...] | None] = {}
        self._waiting: list[Checkpoint] = []
        self._tries: dict[str, int] = {}
        self._current: tuple[Checkpoint, Forked] | None = None
        self.checked: dict[str, Checked] = {}
        """The verdicts so far, by path."""

    def add(self, *saved: Checkpoint) -> None:
        """Adds checkpoints that are complete; those that were added or tested before are left out."""
        for one in saved:
            if one.path not in self.checked and one.path not in self._tries:
                self._tries[one.path] = 0
                self._waiting.append(one)

    def know(self, checked: Checked) -> None:
        """Takes over a verdict from before."""
        self.checked[checked.path] = checked
        self._sizes[checked.path] = _mark(self._run / checked.path)
        self._waiting = [one for one in self._waiting if one.path != checked.path]

    def doubt(self, *, all_of_them: bool) -> None:
        """Adds again what is not the file that was tested: the refused ones, or `all_of_them`.

        An engine that pauses while it writes makes a checkpoint look complete too early; a trainer may send another one.
        """
        for one in list(self.checked.values()):
            size = _mark(self._run / one.path)
            # A file that is out of reach, as in a folder that was moved, has not changed.
            if size is not None and (all_of_them or not one.ok) and self._sizes.get(one.path) != size:
                del self.checked[one.path]
                self._tries[one.path] = 0
                self._waiting.append(Checkpoint(one.path, one.step))

    def look(self) -> list[Checked]:
        """The verdict of the test that has ended, if any; starts the next test. Never waits."""
        found = self._finished()
        if self._current is None and self._waiting and self._ready():
            one = self._waiting.pop(0)
            path = self._run / one.path
            self._tries[one.path] += 1
            self._sizes[one.path] = _mark(path)
            # Without a free process it is tested later.
            with contextlib.suppress(OSError):
                self._current = one, Forked(lambda: dict(self._test(path)))
        return found

    def finish(self, limit_s: float, cut_short: Callable[[], bool]) -> Iterator[Checked]:
        """The verdicts of the remaining tests, the newest checkpoint first.

        It ends after `limit_s` seconds, or as soon as `cut_short()` is true; then some checkpoints are not tested.
        """
        deadline = time.monotonic() + limit_s
        self.doubt(all_of_them=True)
        self._waiting.sort(key=lambda one: one.step, reverse=True)
        while (self._waiting or self._current) and time.monotonic() < deadline and not cut_short():
            yield from self.look()
            time.sleep(POLL_S)
        self.close()

    def close(self) -> None:
        """Ends the current test."""
        if self._current is not None:
            self._current[1].end()
            self._current = None

    def _finished(self) -> list[Checked]:
        if self._current is None or not self._current[1].ended():
            return []
        one, child = self._current
        self._current = None
        verdict = child.result
        if verdict is None or (not verdict["ok"] and size_of(self._run / one.path) is None):
            # Nothing is known of a file that is out of reach.
            if self._tries[one.path] < TRIES:
                self._waiting.append(one)
            return []
        self.checked[one.path] = found = Checked(
            one.path, one.step, verdict["ok"], tuple(verdict["reasons"]), verdict["moved"]
        )
        return [found]


def _mark(path: Path) -> tuple[object, ...] | None:
    """What changes when a file or folder is replaced or written again; None if it is out of reach."""
    try:
        size, about = size_of(path), path.stat()
    except OSError:
        return None
    return None if size is None else (*size, about.st_mtime_ns, about.st_ino)


def tested(path: Path, plan: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on a checkpoint, as JSON data: "ok", "reasons" and "moved"."""
    from trainer_core.training import acceptance

    found = acceptance.accept(path, plan)
    return {"ok": found.ok, "reasons": list(found.reasons), "moved": found.moved}

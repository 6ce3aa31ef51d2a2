"""Records the states of a running training, and removes all but the newest. A checkpoint is never removed.

A state can be many GB, so its files are hashed in short turns between the other work of the supervisor.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from trainer_core.engines.seam import StatePattern
from trainer_core.jobs.seal import SealError
from trainer_core.training import states
from trainer_core.training.folder import RunFolder
from trainer_core.training.states import Record, SavedState

TURN_S = 0.25
FULL = (errno.ENOSPC, errno.EDQUOT)


class StateWatch:
    """Looks for new states of a run. One is complete if all its files are whole and its size is the same in two looks.

    `is_good` says of a step whether the training was sound then; the newest such state is kept until a newer one is. A run that
    is not `is_ours` gets no records: a record makes a state trusted, and a state of somebody else could contain any code. It
    also keeps the states that it comes with: what a copied folder says of its states is not for Easel to carry out.
    """

    def __init__(
        self,
        folder: RunFolder,
        pattern: StatePattern | None,
        is_good: Callable[[int], bool] = lambda _step: True,
        *,
        is_ours: bool = True,
    ) -> None:
        self._folder, self._pattern, self._is_good, self._is_ours = folder, pattern, is_good, is_ours
        self._known = states.records(folder)
        self._written = dict(self._known)
        self._stay = set() if is_ours or pattern is None else set(folder.output.glob(pattern.glob))
        self._sizes: dict[Path, int] = {}
        self._work: Iterator[None] = iter(())

    def look(self, step: int, at_end: bool = False) -> None:
        """Works on new states, for a short time; at the end until all are recorded. `step` is the last finished step."""
        if self._pattern is None:
            return
        deadline = time.monotonic() + TURN_S
        with _going_on():
            for _ in self._work:
                if not at_end and time.monotonic() > deadline:
                    return
        self._work = self._handle(self._pattern, step, at_end)
        with _going_on():
            for _ in self._work if at_end else ():
                pass

    def _handle(self, pattern: StatePattern, step: int, at_end: bool) -> Iterator[None]:
        for state in reversed(states.saved(self._folder, pattern, step)):
            if state.path.name not in self._known and state.path not in self._stay and not state.problem:
                # One state that cannot be read must not keep the others from being recorded.
                with _going_on():
                    yield from self._take(state, pattern, at_end)
        # Only after this has a state a record that a later process finds: until then the one before is not removed.
        try:
            self._write()
        except OSError as error:
            if error.errno not in FULL:
                raise
            # The state before is what takes the space that the record needs.
        every = (state for state in states.saved(self._folder, pattern, step) if state.path not in self._stay)
        own = [state for state in every if state.path.name in self._known]
        for state in outdated(own, pattern.keep, self._is_good):
            remove(state, pattern)
            del self._known[state.path.name]
            self._write()

    def _take(self, state: SavedState, pattern: StatePattern, at_end: bool) -> Iterator[None]:
        before, self._sizes[state.path] = self._sizes.get(state.path), state.size_bytes
        if not at_end and before != self._sizes[state.path]:
            return
        files: dict[str, str] = {}
        # A state that is not kept need not be recognised later.
        for file in states.files_of(state.path) if pattern.keep and self._is_ours else ():
            name = file.relative_to(state.path).as_posix()
            for found in states.digest(file):
                files[name] = found
                yield
        self._known[state.path.name] = Record(state.path.name, state.step, files)
        self._write()

    def _write(self) -> None:
        if self._known == self._written or not self._is_ours:
            return
        # Without the key of this Easel no state has a valid record, so none is lost for one that gets none either.
        with contextlib.suppress(SealError):
            states.write_records(self._folder, self._known)
            self._written = dict(self._known)


def _going_on() -> contextlib.AbstractContextManager[None]:
    """A full disk, or a state that the engine removes meanwhile, must not end the run: the next look tries again."""
    return contextlib.suppress(OSError)


def outdated(
    complete: Sequence[SavedState], keep: int, is_good: Callable[[int], bool] = lambda _step: True
) -> list[SavedState]:
    """The states to remove, so that the newest `keep` of these complete ones stay.

    If none of those is good, the newest good one stays as well. `is_good` says it of a step.
    """
    ordered = states.newest_first(complete)
    kept, rest = ordered[:keep], ordered[keep:]
    if keep and not any(is_good(state.step) for state in kept):
        good = next((state for state in rest if is_good(state.step)), None)
        return [state for state in rest if state is not good]
    return rest


def remove(state: SavedState, pattern: StatePattern) -> None:
    """Removes a state: its folder, or only the files in it that are no part of a checkpoint.

    Raises:
        OSError: a file cannot be removed.
    """
    if not pattern.parts:
        shutil.rmtree(state.path)
        return
    for wanted in pattern.parts:
        for file in state.path.glob(wanted):
            file.unlink(missing_ok=True)

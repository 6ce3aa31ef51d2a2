"""Starts a pass of the mirror when a run has made something new. The training never waits for it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

from trainer_core.jobs import processes
from trainer_core.jobs.tail import last_lines
from trainer_core.models import hub_repository
from trainer_core.training.folder import MIRROR_LOG, RunFolder
from trainer_core.training.mirror_end import command_of, wanted
from trainer_core.training.mirror_notes import open_log

# Not the modules themselves: they load what finishes results, which a run without a mirror needs only at its end.
HUB_EVERY_S = 60.0
"""How long after a pass the next one begins at the earliest: the Hub accepts so many commits an hour. Source: its answer, "128 per hour"."""
AGAIN_S = 300.0
"""How long after a failure it is tried again, even if there is nothing new."""


class Mirroring:
    """The passes of one run, one at a time, each in a process of its own with a low priority."""

    def __init__(self, run: RunFolder, plan: Mapping[str, Any]) -> None:
        self._folder = wanted(plan)
        self._run = run
        self._process: subprocess.Popen[bytes] | None = None
        self._is_due = False
        self._again = float("inf")
        self._said = ""
        self._every_s = HUB_EVERY_S if hub_repository.is_place(self._folder) else 0.0
        self._not_before = 0.0

    def look(self, now: float, is_new: bool) -> str:
        """Starts a pass if there is something new and none runs; returns a sentence if the last one failed in a new way."""
        if not self._folder:
            return ""
        self._is_due = self._is_due or is_new or now >= self._again
        if self._process is not None and self._process.poll() is None:
            return ""
        told = self._ended(now)
        if self._is_due and now >= self._not_before:
            self._not_before = now + self._every_s
            self._is_due, self._again = False, float("inf")
            told = self._start() or told
        return told

    def _ended(self, now: float) -> str:
        """What is wrong with the pass that has ended, if that was not said before."""
        if self._process is None:
            return ""
        processes.forget(self._process.pid)
        failed, self._process = self._process.returncode != 0, None
        if not failed:
            self._said = ""
            return ""
        self._again = now + AGAIN_S
        reason = (last_lines(self._run.path / MIRROR_LOG) or ["it ended early."])[-1]
        return self._new(f"What the run has made was not copied to the mirror: {reason}")

    def _start(self) -> str:
        command = command_of(self._run, self._folder)
        try:
            with open_log(self._run) as log:
                log.truncate(0)
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            # Else whoever collects the ended children of the supervisor takes its exit code, and a failure looks like success.
            processes.set_apart(self._process.pid)
        except (OSError, ValueError) as error:
            # ValueError: the plan names a folder with a NUL in it.
            return self._new(f"The mirror could not be started: {getattr(error, 'strerror', None) or error}.")
        return ""

    def _new(self, sentence: str) -> str:
        told = "" if sentence == self._said else sentence
        self._said = sentence
        return told

"""The program of a remote run: `python -m trainer_core.remote.runs.follower`, in the folder of the run.

It has the trainer begin the run, brings here what the run writes, passes on stops and requests, and ends when the remote run has
ended and everything is here. It can be killed at any time: the next one goes on from what is in the folder.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from trainer_core.errors import EaselError, JobError
from trainer_core.jobs.folder import STOP, DiskError, JobFolder, json_text
from trainer_core.jobs.stop_request import StopRequest, When
from trainer_core.remote import hastening
from trainer_core.remote.runs.carrier import REQUESTS, Carrier, Doing, Seen, is_passing
from trainer_core.remote.runs.fate import fate, sentence
from trainer_core.remote.runs.getting import Getting
from trainer_core.remote.runs.known import Known, RunEnd, request_of
from trainer_core.remote.runs.mirror import GrownTooLargeError, Mirror
from trainer_core.remote.runs.names import Names
from trainer_core.remote.runs.silence import Silence
from trainer_core.remote.runs.target import Remote
from trainer_core.remote.runs.transfers import Transfers
from trainer_core.text import without_secrets
from trainer_core.training.folder import RunFolder

SOON_S, LATER_S = 1.0, 5.0
"""How long the follower waits between two looks, after something new and after nothing new."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""The same after a failure that passes; twice as long each time."""
REFUSED_S = 600.0
"""How long a trainer is asked again that refuses to tell of a run that it has begun, as with a key that is not valid any more."""
MISSING_TIMES = 3
"""After so many answers in turn that it has nothing of a run that it had begun, a trainer has lost it."""
MOST_UNSAID = 300
"""How often a trainer may say that a run has ended, and not how."""
PHASES = {
    "installing": "installing on the trainer",
    "bringing": "bringing data to the trainer",
    "waiting": "waiting for the trainer",
    "fetching": "fetching the results",
}


_NOTHING_THERE = (
    "It has nothing of it any more: its folder there was deleted or moved, or its Easel has another folder now."
)


class _ToldToStop(BaseException):
    """A stop was asked for while data was brought to the trainer."""


class Follower:
    """Follows one remote run to its end."""

    def __init__(self, run: Path) -> None:
        self.run, self.folder = run, RunFolder(run)
        self.remote, self.known = Remote.of(run), Known.read(run)
        self.kind = self.remote.kind
        self.carrier: Carrier | None = None
        # An earlier follower may have been killed while it sent something.
        Transfers(run).over()
        self.wake = threading.Event()
        self._bringing = False
        self._failed_at = 0.0
        self._silence, self._refusals = Silence(self.known.out_of_reach_s), Silence()
        self._told = ""
        self._wait_s = FIRST_WAIT_S
        signal.signal(signal.SIGTERM, self._asked)

    def follow(self) -> RunEnd:
        """How the work ended, after it has."""
        try:
            return self._begun() or self._to_its_end()
        except EaselError as error:
            return self._lost(error)
        finally:
            if self.carrier is not None:
                self.carrier.close()

    def _to_its_end(self) -> RunEnd:
        """Follows a run that the trainer has."""
        accepted = Names(self.folder.rendered.artefacts)
        mirror = Mirror(self.run, self._reached(), self.known, accepted)
        connect, patience_s = (lambda: self.remote.carrier(self.run)), self.kind.patience_s
        getting = Getting(self.run, connect, self.known, mirror, self.wake.set, patience_s)
        unsaid = missing = 0
        while True:
            try:
                seen = self._reached().state()
                self.known.phase = seen.phase
                missing = missing + 1 if seen.phase == "waiting" and (mirror.has_begun or not seen.is_known) else 0
                if missing >= MISSING_TIMES or (seen.phase == "lost" and not seen.is_known):
                    return self._gone(seen.sentence if seen.is_known or seen.phase == "lost" else _NOTHING_THERE)
                self._pass_on(seen)
                has_ended = seen.phase in ("ended", "lost")
                is_new = self._pull_all(mirror) if has_ended else mirror.pull()
                self._see(seen)
                is_here = getting.look(self._reached(), has_ended=has_ended)
                self._write()
                if seen.phase == "ended" and is_here and mirror.pull_result():
                    return RunEnd("ended")
                if seen.phase == "lost" and is_here:
                    return self._gone(seen.sentence)
                unsaid += has_ended and is_here
                if unsaid > MOST_UNSAID:
                    return self._gone(seen.sentence or "It does not say how the run ended.")
                self._answered()
                self._pause(SOON_S if is_new or getting.is_busy or has_ended or missing else LATER_S)
            except EaselError as error:
                self._wait(error)

    def _gone(self, why: str) -> RunEnd:
        hint = f"If it is there all the same, follow it again with: {self.remote.attaching}. Else start a new run from its plan.toml."
        return RunEnd("lost", f"{self.remote.where} has lost the run. {why}".strip(), hint)

    def _pull_all(self, mirror: Mirror) -> bool:
        """Copies the rest of the files of a run that has ended."""
        is_new = False
        while mirror.pull():
            is_new = True
        return is_new

    def _see(self, seen: Seen) -> None:
        """Notes what the run does while it tells no events."""
        if seen.phase == "waiting":
            self._doing("waiting", seen.sentence)
        elif seen.phase == "ended":
            self._doing("fetching")
        else:
            self._doing("")

    def _begun(self) -> RunEnd | None:
        """Has the trainer begin the run, unless it has; returns the end of the work if it will not begin."""
        known = self.known
        known.begun = known.begun or self.remote.attached
        self._failed_at = known.out_of_reach_since
        while not known.begun:
            if self._stop() is not None:
                self._doing("")
                self._reached_with_patience()
                return self._stopped_before()
            try:
                self._does("bringing")
                self._bringing = True
                if self.remote.resumes:
                    self._reached().resume(self.remote.resumes, self.say)
                else:
                    self._reached().begin(self.say, self._does)
                self._bringing = False
                known.begun = True
                self._doing("")
                self._answered()
                self._write()
            except _ToldToStop:
                self.say("The run was stopped while data was brought to the trainer.")
            except EaselError as error:
                self._bringing = False
                if not is_passing(error) and not isinstance(error, DiskError):
                    return RunEnd("refused", without_secrets(error.message), without_secrets(error.hint))
                self._wait(error, has_begun=False)
            finally:
                self._bringing = False
        return None

    def _stopped_before(self) -> RunEnd | None:
        """Takes the request back from a trainer that may have it; None if the run had begun and has something to fetch."""
        while True:
            try:
                self._reached().stop("now")
                self.known.asked = "now"
                if self._reached().state().phase in ("running", "ended"):
                    self.known.begun = True
                    return None
                return RunEnd("stopped")
            except EaselError as error:
                self._wait(error, has_begun=False)

    def _pass_on(self, seen: Seen) -> None:
        """Passes a stop and requests for samples on to the trainer, each until it is known to have arrived."""
        wanted = self._stop()
        if wanted is not None and self.known.asked not in (wanted, "now"):
            if seen.phase == "running" or (seen.phase == "waiting" and seen.is_known):
                self._reached().stop(wanted)
                self.say(
                    f"{self.remote.where} was asked to stop the run{' after its next checkpoint' * (wanted == 'save')}."
                )
            self.known.asked = wanted
            self._write()
        asked = request_of(self.run)
        if asked and asked != self.known.put and seen.phase == "running":
            self.known.put = asked
            try:
                self._reached().put(REQUESTS, json_text(asked).encode())
            except EaselError as error:
                if is_passing(error):
                    self.known.put = {}
                    raise
                self.known.notice(f"The engine was not asked: {error.message}")
            self._write()

    def _stop(self) -> When | None:
        """When the run is to stop, if somebody asked for that."""
        found = JobFolder(self.run)
        return StopRequest.from_dict(found.read(STOP)).after if found.stop.exists() else None

    def _reached(self) -> Carrier:
        if self.carrier is None:
            self.carrier = self.remote.carrier(self.run)
        return self.carrier

    def _reached_with_patience(self) -> None:
        """Makes the carrier, which may need a key that is not there now."""
        while self.carrier is None:
            try:
                self._reached()
            except EaselError as error:
                self._wait(error, has_begun=False)

    def _wait(self, error: EaselError, *, has_begun: bool = True) -> None:
        """Waits after a failure that passes. Says once since when the trainer does not answer.

        Raises:
            EaselError: the failure does not pass, or has lasted for longer than the trainer is waited for.
        """
        is_full = isinstance(error, DiskError)
        may_pass = is_full or is_passing(error)
        if isinstance(error, GrownTooLargeError) or not (may_pass or has_begun):
            raise error
        if not self._failed_at:
            self._failed_at = time.time()
            if not is_full:
                self.known.out_of_reach_since = self._failed_at
            self.say(str(error))
        self._tell(error)
        self._silence.failed()
        self._refusals.answered() if may_pass else self._refusals.failed()
        self.known.out_of_reach_s = self._silence.seconds
        self._write()
        patience_s = self.kind.patience_s
        if self._silence.is_longer_than(patience_s) or self._refusals.is_longer_than(min(patience_s, REFUSED_S)):
            raise error
        self._pause(max(self._wait_s, min(getattr(error, "wait_s", None) or 0.0, LONGEST_WAIT_S)))
        self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)

    def _pause(self, seconds: float) -> None:
        """Waits; ends early when something is to be passed on, or when a webhook asks to look now."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not hastening.take(self.run):
            if self.wake.wait(min(SOON_S, left)):
                break
        self.wake.clear()

    def _tell(self, error: EaselError) -> None:
        """Says since when the trainer does not answer, and what is known of the training; again only if that is another."""
        if isinstance(error, DiskError):
            self.known.notice(str(error))
            return
        if (known := fate(self.known, self._stop())) == self._told:
            return
        self._told = known
        at = time.strftime("%H:%M:%S", time.localtime(self._failed_at))
        again = f"Easel asks again, at least every minute. {error.message}"
        self.known.notice(f"{self.remote.where} does not answer since {at}; {known}. {again}")

    def _answered(self) -> None:
        if self._failed_at:
            self.known.notice(f"{self.remote.where} answers again since {time.strftime('%H:%M:%S')}.")
        self._failed_at, self._wait_s, self._told = 0.0, FIRST_WAIT_S, ""
        self._silence.answered()
        self._refusals.answered()
        self.known.out_of_reach_since = self.known.out_of_reach_s = 0.0

    def _lost(self, error: EaselError) -> RunEnd:
        """The end of a run that cannot be followed any more."""
        text = without_secrets(str(error))
        hint = f"{sentence(self.known, self._stop())} Follow it again with: {self.remote.attaching}"
        return RunEnd("lost", f"{self.remote.where} could not be asked any more. {text}", hint)

    def _does(self, what: Doing) -> None:
        self._doing(what)
        self._write()

    def _doing(self, what: str, detail: str = "") -> None:
        self.known.doing, self.known.detail = PHASES.get(what, ""), detail[:500]

    def say(self, text: str) -> None:
        """Prints a sentence into the log of the run."""
        with contextlib.suppress(OSError):
            os.write(1, f"[easel] {without_secrets(text)}\n".encode("utf-8", "replace"))

    def _write(self) -> None:
        # A full disk may have space again later; until then, less is known to a next follower.
        with contextlib.suppress(OSError):
            self.known.write(self.run)

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        self.wake.set()
        if self._bringing:
            self._bringing = False
            raise _ToldToStop


def main() -> int:
    """Follows the run in the current folder."""
    run = Path.cwd()
    if RunEnd.read(run) is not None:
        return 0
    try:
        follower = Follower(run)
    except JobError as error:
        _ended(run, RunEnd("lost", error.message, error.hint))
        return 0
    _ended(run, follower.follow())
    return 0


def _ended(run: Path, end: RunEnd) -> None:
    """Writes down how the work ended; on a full disk, as soon as there is space."""
    while not RunEnd.read(run):
        try:
            end.write(run)
        except OSError:
            time.sleep(FIRST_WAIT_S)


def _run() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _run()

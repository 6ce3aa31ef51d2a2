"""Follows the trainings that the server has started for styles, until their versions say what became of them.

RunPod is asked every 20 seconds, and at once when it calls. The list is in a file, so that the next server goes on. A training that is
a run of Easel is not among them: it follows itself.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer_core.errors import RemoteError
from trainer_core.files import from_table, open_own, set_aside, write_whole
from trainer_core.jobs.folder import json_object, json_text
from trainer_core.remote import addresses
from trainer_core.remote.credentials import Settings
from trainer_core.remote.patience import Patience
from trainer_core.remote.runpod.absence import GRACE_S, Absence
from trainer_core.remote.runpod.client import Client
from trainer_core.remote.runpod.limits import MOST_RUN_S
from trainer_core.remote.runpod.settle import Known, RemoteState, Seen, Settled, settle
from trainer_core.remote.serve import keys
from trainer_core.remote.styles import Styles
from trainer_core.remote.training.client import ENDPOINT_NAME, KEY_NAMES
from trainer_core.text import printable

FILE = "trainings.json"
ASK_S, AGAIN_S = 20.0, 60.0
"""How long it waits before it asks again, after an answer and after none, in seconds."""
_STATUS = {
    RemoteState.RUNNING: "training",
    RemoteState.COMPLETED: "completed",
    RemoteState.FAILED: "failed",
    RemoteState.CANCELLED: "failed",
}
_QUICK = Patience(attempts=1, connect_s=10, read_s=20, longest_wait_s=20)


@dataclass(frozen=True)
class Followed:
    """A training. `status` is what its version says; `sent_s` is in seconds since 1970."""

    request_id: str
    job_id: str
    endpoint_id: str
    style_id: str
    sent_s: float
    status: str = "pending"


@dataclass
class _Absences:
    """What was not there when it was asked for last: the job at RunPod, the version of the style."""

    job: Absence = field(default_factory=Absence)
    version: Absence = field(default_factory=Absence)


class Following:
    """A thread that asks, and changes the versions."""

    def __init__(self, settings: Settings, styles: Callable[[], Styles], say: Callable[[str], None]) -> None:
        """Begins with what the file lists. `say` gets a sentence for each training that has ended, and each failure to ask."""
        self._settings = settings
        self._styles = styles
        self._say = say
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self._absences: defaultdict[str, _Absences] = defaultdict(_Absences)
        self._wake = threading.Event()
        self._ends = threading.Event()
        self._all = {each.request_id: each for each in _read(_file())}
        self._thread = threading.Thread(target=self._work, name="trainings", daemon=True)
        self._thread.start()

    def add(self, request_id: str, job_id: str, style_id: str) -> None:
        """Follows a training that was started now.

        Raises:
            OSError: the list cannot be written.
        """
        endpoint = self._settings.text(ENDPOINT_NAME)
        with self._lock:
            self._all[request_id] = Followed(request_id, job_id, endpoint, style_id, time.time())
            self._write()
        self.ask_now(request_id, ASK_S)

    def ask_now(self, request_id: str, wait_s: float = 0.0) -> None:
        """Asks about a training now, if it is followed; about others nothing happens."""
        with self._lock:
            if request_id in self._all:
                self._due[request_id] = time.monotonic() + wait_s
        self._wake.set()

    def close(self) -> None:
        """Ends the thread. The list stays."""
        self._ends.set()
        self._wake.set()
        self._thread.join(5)

    # ---- the thread ----
    def _work(self) -> None:
        while not self._ends.is_set():
            self._wake.clear()
            with self._lock:
                now = time.monotonic()
                due = [each for each in self._all.values() if self._due.get(each.request_id, 0.0) <= now]
                later = [self._due[name] - now for name in self._all if self._due.get(name, 0.0) > now]
            for each in due:
                if not self._ends.is_set():
                    self._ask(each)
            self._wake.wait(0.0 if due else min(later, default=None))

    def _ask(self, one: Followed) -> None:
        with self._lock:
            self._due[one.request_id] = time.monotonic() + ASK_S
        try:
            self._take(one, self._settled(one))
            self._said.pop(one.request_id, None)
        except (RemoteError, OSError) as error:
            with self._lock:
                self._due[one.request_id] = time.monotonic() + AGAIN_S
            if self._said.get(one.request_id) != str(error) and not self._ends.is_set():
                self._said[one.request_id] = str(error)
                self._say(f"{printable(one.request_id, 100)}: {error} Easel asks again.")

    def _settled(self, one: Followed) -> Settled:
        key = self._settings.first(*KEY_NAMES)
        if key is None:
            raise RemoteError("RunPod API key is required.")
        with Client(one.endpoint_id, key, patience=_QUICK, cancel=self._ends) as client:
            asked_s = time.time()
            status = client.status(one.job_id)
        known = Known(one.request_id, one.job_id, one.sent_s, one.sent_s + MOST_RUN_S)
        settled = settle(known.with_status(Seen(status, asked_s)), time.time())
        absence = self._absences[one.request_id].job
        if not status.is_gone:
            absence.ends()
        elif settled.state == RemoteState.UNSURE and not absence.counts(GRACE_S):
            raise RemoteError("RunPod says that it does not know the job.")
        return settled

    def _take(self, one: Followed, settled: Settled) -> None:
        """Writes what is new into the version."""
        status = _STATUS.get(settled.state, one.status)
        changes: dict[str, Any] = {} if status == one.status else {"status": status}
        if settled.state == RemoteState.COMPLETED and settled.result is not None:
            changes["loraUrl"] = _stored(settled.result.lora_url)
        # Without a result, RunPod's answer says no more than that the LoRA may be in the bucket.
        is_over = settled.state.is_final or settled.state == RemoteState.UNSURE
        if is_over and status != "completed":
            changes["error"] = settled.sentence
        if changes:
            is_over = not self._changed(one, changes) or is_over
        with self._lock:
            self._all[one.request_id] = replace(one, status=status)
            if is_over:
                del self._all[one.request_id]
                self._due.pop(one.request_id, None)
                self._absences.pop(one.request_id, None)
            if changes or is_over:
                self._write()
        if is_over:
            self._say(f"{printable(one.request_id, 100)}: {settled.sentence}")

    def _changed(self, one: Followed, changes: dict[str, Any]) -> bool:
        """Changes the version; False if the user has removed it."""
        absence = self._absences[one.request_id].version
        try:
            self._styles().change_version(one.style_id, one.request_id, **changes)
        except RemoteError as error:
            if error.kind != "missing" or not absence.counts(GRACE_S):
                raise
            return False
        absence.ends()
        return True

    def _write(self) -> None:
        rows = [asdict(each) for each in self._all.values()]
        write_whole(_file(), json_text({"version": 1, "trainings": rows}), personal=True)


def _file() -> Path:
    return keys.folder() / FILE


def _read(path: Path) -> list[Followed]:
    """The trainings in the file; a damaged one is set aside."""
    try:
        with open_own(path) as file:
            data = json_object(file.read(4 << 20))
    except OSError:
        return []
    try:
        rows = data["trainings"] if data is not None else None
        if not isinstance(rows, list):
            raise RemoteError("The list of trainings is damaged.")
        return [from_table(Followed, row, FILE, RemoteError) for row in rows]
    except (RemoteError, KeyError):
        with contextlib.suppress(OSError):
            set_aside(path)
        return []


def _stored(address: str) -> str:
    """The address of a LoRA without a signature, which would be valid for some days only, if it is one in a bucket."""
    try:
        return addresses.to_s3(address)
    except RemoteError:
        return address

"""One request from its start to its end. It works in a thread, and can be cancelled from another one."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from trainer_core.engines import registry
from trainer_core.errors import EaselError, JobError, PlanError, RemoteError, RemoteStopped
from trainer_core.install import choice
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.plan import fields
from trainer_core.remote import addresses, credentials
from trainer_core.remote.patience import Patience
from trainer_core.remote.runs import there
from trainer_core.remote.runs.request import PlanPath, Request, changed
from trainer_core.remote.storage import Work, connect
from trainer_core.remote.worker import answers, asked, images, models, room
from trainer_core.remote.worker.answers import Answer
from trainer_core.remote.worker.asked import Asked, OfWorkflow
from trainer_core.remote.worker.mirror import Mirror, request_json
from trainer_core.training.run import Run

ENGINE, LONGEST, LEAST_FREE = "EASEL_WORKER_ENGINE", "EASEL_WORKER_LONGEST_S", "EASEL_WORKER_LEAST_FREE_GIB"
FAMILY, METHOD = "flux", "lora"
"""What a workflow of ComfyUI-FluxTrainer trains."""
TELL_S, POLL_S = 2.0, 0.5
UPLOAD_S, LAST_UPLOAD_S, UPLOAD_WAIT_S = 900.0, 60.0, 5.0
"""How long results are tried to be uploaded while the storage does not answer, also after a cancel, and the wait between attempts."""
QUICK = Patience(attempts=3, longest_wait_s=2.0, read_s=30.0)
"""For the mirror: while it waits for the storage, it hears of no cancel. What it cannot write now it writes later."""
CANCELLED = "The job was cancelled."
Why = Literal["", "cancelled", "stopped", "too long", "shut down"]
_SAID = {
    "cancelled": CANCELLED,
    "stopped": "The training was stopped, as it was asked for.",
    "too long": f"The training took longer than {LONGEST} allows.",
    "shut down": "The worker was shut down.",
}


class Working:
    """One request. `tell` gets its progress: {"phase", "step", "total", "loss"}."""

    def __init__(self, data: object, job: str, tell: Callable[[dict[str, Any]], None]) -> None:
        """The request in the input of a job; `job` is RunPod's id of it."""
        self._data, self._job, self._tell = data, job, tell
        self._values = credentials.settings()
        self._cancel = threading.Event()
        self._why: Why = ""
        self._notes: tuple[str, ...] = ()
        self._mirror: Mirror | None = None
        self._told_s = float("-inf")
        self._figures: dict[str, Any] = {"step": 0, "total": 0, "loss": None}

    def cancel(self, why: Why = "cancelled") -> None:
        """Ends it, from any thread: what it has made is uploaded, its processes end, and `work` returns."""
        self._why = self._why or why
        self._cancel.set()

    def work(self) -> Answer:
        """Does it, and returns the answer of the document."""
        id = asked.id_of(self._data)  # noqa: A001 - the id of a run is called so everywhere
        state: str = JobState.FAILED.name
        try:
            wanted = asked.read(self._data, self._values)
            if (answer := self._begin(wanted)) is not None:
                return answer
            with room.room(wanted.id, self._number(LEAST_FREE, room.LEAST_FREE_GIB)) as folder:
                return self._trained(wanted, folder)
        except RemoteStopped:
            state, why = JobState.CANCELLED.name, _SAID.get(self._why, CANCELLED)
        except EaselError as error:
            why = answers.of_error(error)
        except OSError as error:
            why = f"A file cannot be read or written: {error.strerror or error}."
        answer = answers.failure(id, why)
        self._record(answers.recorded(answer, state, None, self._notes))
        return answer

    def _begin(self, wanted: Asked) -> Answer | None:
        """Opens the folder in the bucket; the answer if the request was trained before, or is trained by another job.

        Raises:
            RemoteStopped: it was stopped before it began.
        """
        self._say("starting")
        work = Work(patience=QUICK)
        mirror = Mirror(connect(wanted.storage, self._values, work), wanted.storage.key)
        is_own = isinstance(wanted.wants, Request)
        # Each run of Easel's own has an id of its own; the documents' callers may send a failed request again.
        if (answer := mirror.earlier(is_final=is_own)) is not None:
            return answer
        if is_own and not mirror.claim(self._job):
            return answers.failure(wanted.id, "Another job trains this request.")
        mirror.clear()
        self._mirror = mirror
        if not is_own or mirror.get(answers.REQUEST) is None:
            mirror.put(answers.REQUEST, request_json(self._data))
        if mirror.stop_wanted() is not None:
            self._why = "stopped"
            raise RemoteStopped
        return None

    # ---- what it needs ----
    def _request(self, wanted: Asked, folder: Path) -> Request:
        """The request for the run, with images and models on this machine."""
        self._say("download")
        if isinstance(wanted.wants, OfWorkflow):
            return self._of_workflow(wanted.id, wanted.wants, folder)
        return self._of_own(wanted.wants, folder)

    def _of_workflow(self, id: str, wants: OfWorkflow, folder: Path) -> Request:  # noqa: A002 - as above
        mapped = wants.workflow
        self._notes = mapped.notes
        target = folder / "images"
        images.bring(wants.images.urls, target, self._values, self._cancel)
        if count := images.name_subject(target, mapped.token):
            self._notes += (f"The token {mapped.token} was written before {count} captions that did not have it.",)
        values = dict(mapped.values)
        for path, name in mapped.files.items():
            try:
                values[path] = str(models.bring(name, path, self._values, self._cancel))
            except RemoteError as error:
                if error.kind == "stopped":
                    raise
                raise RemoteError(f"{mapped.where(path)}: {error.message}", error.hint, error.kind) from error
        values |= {"dataset.path": str(target), "output.name": wants.model_name}
        engine = self._engine()
        if mapped.native:
            values["native"] = {engine: dict(mapped.native)}
        return Request(f"{id}-{hashlib.sha256(id.encode()).hexdigest()[:8]}", engine, fields.nest(values))

    def _engine(self) -> str:
        """The engine that trains a workflow."""
        if named := self._values.text(ENGINE):
            return registry.get(named).manifest.id
        engines = registry.available()
        found = choice.choose(FAMILY, engines, choice.installations(engines), METHOD)
        if found is None:
            raise JobError(f"No engine of this worker trains {FAMILY}.", "Install one.")
        return found.manifest.id

    def _of_own(self, request: Request, folder: Path) -> Request:
        places: dict[str, str] = {}

        def there(one: PlanPath) -> str:
            if one.path not in places:
                places[one.path] = str(self._brought(one, folder / "images" / str(len(places))))
            return places[one.path]

        tables = changed(request.plan, request.engine, there)
        if any((tables.pop("guards", None) or {}).values()):
            self._notes += ("The guards of the plan have no effect: a worker trains once for each request.",)
        return Request(request.id, request.engine, tables, request.chosen)

    def _brought(self, one: PlanPath, folder: Path) -> Path:
        if not one.is_images:
            return models.bring(one.path, one.key, self._values, self._cancel)
        address = addresses.parse(one.path, asked.endpoints(self._values))
        if not address.is_folder:
            raise RemoteError(f"{one.key} must be a folder of a bucket: its address ends with /.", "", "address")
        # The name of the last folder can have a meaning, as in 10_elena.
        target = folder / (address.key.rstrip("/").rpartition("/")[2] or "images")
        images.bring_folder(address, target, self._values, self._cancel)
        return target

    # ---- the training ----
    def _trained(self, wanted: Asked, folder: Path) -> Answer:
        request = self._request(wanted, folder)
        self._check_wanted()
        run = self._begun(wanted, request, room.runs(folder))
        state = self._followed(run, request.id, room.runs(folder))
        self._upload(request.id, room.runs(folder))
        answer = self._answer(wanted, run, state)
        self._record(answers.recorded(answer, state.name, run.result, self._notes))
        return answer

    def _begun(self, wanted: Asked, request: Request, folder: Path) -> Run:
        try:
            return there.begin(request, folder)
        except JobError as error:
            found = error.__cause__
            if not isinstance(wanted.wants, OfWorkflow) or not isinstance(found, PlanError) or not found.problems:
                raise
            said = [
                f"{where}: {problem.message}"
                if (where := wanted.wants.workflow.where(problem.path))
                else problem.message
                for problem in found.problems
            ]
            raise JobError(f"The worker refuses the workflow. {' '.join(said)}") from error

    def _followed(self, run: Run, id: str, folder: Path) -> JobState:  # noqa: A002 - as above
        """Returns the state of the run when it has ended; it is stopped before if that is wanted."""
        assert self._mirror is not None
        longest = self._number(LONGEST, 0.0)
        began_s = time.monotonic()
        asked_for: set[str] = set()
        while (state := run.state) not in FINAL_STATES:
            if longest and time.monotonic() - began_s > longest:
                self.cancel("too long")
            if self._cancel.is_set():
                run.stop(room.GRACE_S)
                continue
            self._tell_of(run)
            if self._mirror.is_due():
                # The training goes on without the storage; what is missing there is written later.
                with contextlib.suppress(RemoteError):
                    self._mirror.look(id, folder)
                    self._stop_if_wanted(run, asked_for)
            self._cancel.wait(POLL_S)
        return state

    def _stop_if_wanted(self, run: Run, asked_for: set[str]) -> None:
        assert self._mirror is not None
        after = self._mirror.stop_wanted()
        if after == "now":
            self.cancel("stopped")
        elif after == "save" and after not in asked_for:
            asked_for.add(after)
            try:
                run.stop(wait=False, after="save")
            except JobError as error:
                self._notes += (answers.of_error(error),)

    def _answer(self, wanted: Asked, run: Run, state: JobState) -> Answer:
        assert self._mirror is not None
        if state is not JobState.COMPLETED:
            why = _SAID[self._why] if self._why else answers.of_diagnosis(run.diagnosis, state.name)
            return answers.failure(wanted.id, why)
        outputs = [Path(each) for each in (run.result or {}).get("outputs", ())]
        name = f"{wanted.stem}{answers.SUFFIX}"
        file = next((each for each in outputs if each.name == name and each.is_file()), None)
        if file is None:
            return answers.failure(wanted.id, f"The training ended well, but delivered no file {name}.")
        urls: list[str] = []
        mirror = self._mirror
        self._insist(lambda: urls.append(mirror.deliver(file)))
        return answers.success(wanted.id, wanted.stem, urls[0], file.stat().st_size)

    # ---- the bucket ----
    def _upload(self, id: str, folder: Path) -> None:  # noqa: A002 - as above
        """Uploads all that the run has made. A storage that does not answer is asked for a while."""
        assert self._mirror is not None
        self._say("upload")
        mirror = self._mirror
        self._insist(lambda: mirror.look(id, folder, at_end=True))

    def _record(self, content: bytes) -> None:
        """Writes result.json, if there is a bucket to write it to."""
        if (mirror := self._mirror) is None:
            return
        # The caller gets the same answer from RunPod.
        with contextlib.suppress(RemoteError):
            self._insist(lambda: mirror.put(answers.RESULT, content))

    def _insist(self, do: Callable[[], None]) -> None:
        deadline_s = time.monotonic() + (LAST_UPLOAD_S if self._why else UPLOAD_S)
        while True:
            try:
                do()
            except RemoteError as error:
                if not error.is_passing or time.monotonic() > deadline_s:
                    raise
                time.sleep(UPLOAD_WAIT_S)
            else:
                return

    # ---- what is said ----
    def _say(self, phase: str, figures: Mapping[str, Any] | None = None) -> None:
        self._told_s = time.monotonic()
        self._figures |= figures or {}
        self._tell({"phase": phase, **self._figures})

    def _tell_of(self, run: Run) -> None:
        if time.monotonic() - self._told_s < TELL_S:
            return
        seen = run.summary
        loss = seen.smoothed_loss if seen.smoothed_loss is not None else seen.loss
        # JSON has no nan.
        loss = loss if loss is not None and loss == loss and abs(loss) != float("inf") else None  # noqa: PLR0124
        self._say(seen.phase or "starting", {"step": seen.step, "total": seen.total, "loss": loss})

    def _number(self, name: str, usual: float) -> float:
        """The number in a setting of the worker.

        Raises:
            RemoteError: it is not one.
        """
        text = self._values.text(name)
        try:
            return float(text) if text else usual
        except ValueError:
            raise RemoteError(f"{name} must be a number.", "Change it at the endpoint.", "setting") from None

    def _check_wanted(self) -> None:
        if self._cancel.is_set():
            raise RemoteStopped

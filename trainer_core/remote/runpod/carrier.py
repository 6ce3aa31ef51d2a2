"""Carries runs to workers of a RunPod serverless endpoint, through a bucket. Tried with servers on this machine, and with no account in the cloud.

The worker and this carrier exchange files only in the bucket (`bucket_run`); RunPod gets one job a run, with no secret in it. What becomes
of a job is asked of RunPod and looked up in the bucket; a webhook is not needed and never believed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core.errors import JobError, RemoteError
from trainer_core.jobs.stop_request import When
from trainer_core.plan.sections import TrainingPlan
from trainer_core.remote import storage
from trainer_core.remote.credentials import KNOWN
from trainer_core.remote.patience import Patience
from trainer_core.remote.runpod import bringing, leaks, seeing, style_version
from trainer_core.remote.runpod.absence import Absence
from trainer_core.remote.runpod.allowed_time import allowed
from trainer_core.remote.runpod.bucket_run import BucketRun
from trainer_core.remote.runpod.client import Client
from trainer_core.remote.runpod.connection import BASE_URL_NAME
from trainer_core.remote.runpod.refusals import RunPodError
from trainer_core.remote.runpod.sending import Sender
from trainer_core.remote.runpod.target import KIND, RunPodTarget
from trainer_core.remote.runs.carrier import READ, Doing, FileThere, Seen, Target, quiet
from trainer_core.remote.runs.grown import read_grown
from trainer_core.remote.runs.outgoing import Outgoing
from trainer_core.remote.runs.transfers import Transfers, fetched
from trainer_core.remote.serve import public
from trainer_core.remote.storage import Bucket, Work

if TYPE_CHECKING:
    from trainer_core.hardware import Machine
    from trainer_core.remote.runs.notes import Notes

GROWING = ("events.jsonl", "engine.log")
DAY_S = 24 * 3600.0
OF_SERVER = frozenset({"NGROK_AUTHTOKEN", "EASEL_SERVE_TOKEN"})
"""Secrets of `easel remote serve`, which no run needs."""
BRIEF = Patience(attempts=3, first_wait_s=0.5, longest_wait_s=5.0, read_s=30.0)
"""For single questions: the follower has the patience for what lasts longer, and says so."""


class RunPodCarrier:
    """Serves one run on an endpoint. The connections are made with the first request."""

    def __init__(self, target: RunPodTarget, id: str, folder: Path, notes: Notes) -> None:  # noqa: A002 - as in the protocol
        """A carrier for the run with this id.

        Raises:
            RemoteError: a key is missing, or an address cannot be used.
        """
        self._target, self._folder, self._notes = target, folder, notes
        self._values = target.settings()
        self._transfers = Transfers(folder)
        work = Work(patience=BRIEF, tell=self._transfers.tell)
        self._bucket: Bucket = storage.connect(target.storage, self._values, work)
        self._run = BucketRun(self._bucket, target.root, id)
        self._client = Client(target.endpoint, target.key(self._values), patience=BRIEF)
        self._sender = Sender(self._client, self._run, notes)
        self._looker = seeing.Looker(self._client, self._run, notes, self._sender)
        self._version = Absence()

    def begin(self, say: Callable[[str], None], doing: Callable[[Doing], None] = quiet) -> None:  # noqa: ARG002
        """Brings images to the bucket and sends one job, unless the run has one or has ended.

        Raises:
            JobError: a model must be uploaded first, or RunPod or the storage refuses it; the hint says what to do.
        """
        with _passing():
            if self._sender.job() or self._sender.found() or self._run.has_ended():
                return
            if self._run.asked_to_stop():
                raise JobError("The run was stopped before it began.", "Start a new run.")
            out = Outgoing.of(self._folder, self._run.id)
            sends = self._target.sends_models
            place = (self._bucket, self._target.root)
            brought = bringing.bring(out, *place, say, self._transfers, sends_models=sends)
            request = out.request(brought.there)
            data = {"easel": {"request": request.as_dict(), "storage": self._run.address}}
            leaks.check(data, self._values)
            plan = TrainingPlan.model_validate(out.plan)
            self._run.write_request(request.to_json())
            # Somebody else may have begun the same run meanwhile, on another computer.
            if not self._sender.found():
                self._sender.send(data, allowed(plan, brought.files, self._target.gpu), self._webhook(say), say)

    def _webhook(self, say: Callable[[str], None]) -> str:
        """The address that RunPod calls at the end of the job; "" if Easel's receiver cannot be called."""
        try:
            return public.webhook_of(self._run.id, self._values)
        except RemoteError as error:
            say(f"RunPod gets no address to call at the end, so Easel asks it. {error}")
            return ""

    def state(self) -> Seen:
        """Where the run is now, by the bucket and by RunPod."""
        with _passing():
            seen = self._looker.look()
            trouble = style_version.follow(
                self._target, self._run, self._notes, seen, self._values, self._version, self._looker.grace_s
            )
            return replace(seen, sentence=f"{seen.sentence} {trouble}".strip())

    def read(self, name: str, offset: int) -> bytes:
        """Bytes of a file of the run from `offset` on.

        Raises:
            JobError: it is none of the files that can be read.
        """
        if name not in READ or offset < 0:
            raise JobError(f"{name!r:.80} is no file of a run that can be read.")
        with _passing():
            if name in GROWING:
                return read_grown(self._run.content, name, offset)
            return (self._run.content(name) or b"")[offset:]

    def files(self) -> Mapping[str, FileThere]:
        """The files of the run in the bucket; their SHA-256 is looked up when they are fetched."""
        with _passing():
            return {name: FileThere(item.size_bytes, item.etag) for name, item in self._run.files()}

    def fetch(self, name: str, target: Path) -> None:
        """Downloads a file of the run; it is checked by what the storage knows of it, and goes on after a cut."""
        with _passing(), self._transfers.of(fetched(name)):
            storage.download(self._bucket, self._run.key(name), target, replaces=True)

    def stop(self, after: When) -> None:
        """Leaves a word for the worker in the bucket and, to stop now, cancels the job."""
        with _passing():
            if self._run.has_ended():
                return
            self._run.ask_to_stop(after)
            job = self._sender.job() or (self._sender.found() and self._sender.job())
            if after == "now" and job:
                # The word is in the bucket: if RunPod cannot be asked now, the worker stops all the same.
                with contextlib.suppress(RunPodError):
                    self._client.cancel(job)

    def put(self, name: str, content: bytes) -> None:
        """Raises JobError: a worker takes no requests while it trains."""
        del name, content
        raise JobError(
            "A worker on RunPod cannot be asked for samples or a checkpoint while it trains.",
            "Set how often it saves and makes samples before the run starts.",
        )

    def resume(self, id: str, say: Callable[[str], None]) -> None:  # noqa: A002 - as in the protocol
        """Raises JobError: a worker keeps no state."""
        del id, say
        raise JobError(
            "A training on RunPod cannot be resumed: the disk of its worker is gone, and the bucket has no states.",
            "Start a new run. A checkpoint that was fetched can be the network that it starts from.",
        )

    def close(self) -> None:
        """Closes the connections. The job goes on."""
        self._client.close()


class RunPodKind:
    """RunPod serverless endpoints."""

    id, title = KIND, "RunPod endpoint"
    variables = (*(name for name in KNOWN if name not in OF_SERVER), BASE_URL_NAME)
    patience_s = DAY_S

    def target(self, text: str) -> Target:
        """The target that ENDPOINT or ENDPOINT@s3://bucket/folder/ names.

        Raises:
            JobError: it names none, or a setting is missing.
        """
        with _refused():
            return RunPodTarget.named(text).as_dict()

    def spelled(self, target: Target) -> str:
        """The target as it can be typed, without the `.env` file of this computer; "" if that would leave something out."""
        found = RunPodTarget.of(target)
        return "" if found.gpu or found.style else f"{found.endpoint}@{found.storage}"

    def shown(self, target: Target) -> str:
        """What people read for it."""
        return f"RunPod endpoint {RunPodTarget.of(target).endpoint}"

    def machine(self, target: Target) -> Machine | None:
        """None: which GPU a job gets is known only when it runs."""
        RunPodTarget.of(target)
        return None

    def carrier(self, target: Target, id: str, folder: Path, notes: Notes) -> RunPodCarrier:  # noqa: A002 - as in the protocol
        """The carrier of a run.

        Raises:
            JobError: the target is damaged, or a key is missing.
        """
        with _refused():
            return RunPodCarrier(RunPodTarget.of(target), id, folder, notes)


@contextlib.contextmanager
def _passing() -> Iterator[None]:
    """What passes by itself is raised as that, and what the system refuses as a sentence."""
    try:
        yield
    except RemoteError as error:
        if (found := seeing.passing(error)) is not None:
            raise found from error
        raise
    except OSError as error:
        what = f"{error.filename} cannot be used: " if error.filename else ""
        raise JobError(f"{what}{error.strerror or error}.", "Check its permissions and the free disk space.") from error


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """A refusal of a setting as the error that the protocol names."""
    try:
        yield
    except RemoteError as error:
        raise JobError(error.message, error.hint) from error


kind = RunPodKind()

"""The objects of one remote run in a bucket: what Easel and its worker agree on.

Below `<storage>easel/runs/<request id>/`:

    request.json       the request; Easel writes it before it sends a job
    running.json       {"version": 1, "job": RunPod's id of the job, "at": seconds since 1970}: the worker writes it before it does anything
                       else, on the condition that there is none (If-None-Match: *)
    stop               {"version": 1, "after": "now" or "save"}: Easel writes it; the worker looks before it starts, and every 5 s
    events.jsonl, engine.log, spec.json, versions.json, output/, finished/      of the run there
    result.json        last: the run has ended. Under "document" is what the document "LoRA Training System" names as the result. Easel
                       writes it, on the condition that there is none, if RunPod has ended the job and no worker can write it

A job can arrive twice, because the answer to its request was lost and Easel sent it again. So a worker trains only if it wrote
running.json, or finds its own job's id there: RunPod gives a job to another worker when the first one fails. If it finds another id, or a
result.json, it ends at once; what it returns does not count, because Easel follows the job that running.json names.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainer_core.errors import RemoteError
from trainer_core.jobs.stop_request import When
from trainer_core.remote import addresses
from trainer_core.remote.runpod import answers
from trainer_core.remote.runpod.answers import Result
from trainer_core.remote.runs.carrier import FOLDERS
from trainer_core.remote.runs.names import is_readable
from trainer_core.remote.storage import Bucket
from trainer_core.remote.storage.objects import Item, items
from trainer_core.remote.storage.uploading import put_bytes
from trainer_core.remote.style_stores import BucketStore

REQUEST, RUNNING, STOP, RESULT = "request.json", "running.json", "stop", "result.json"
RUNS, DATASETS, MODELS = "easel/runs/", "easel/datasets/", "easel/models/"
VERSION = 1


@dataclass(frozen=True)
class BucketRun:
    """The objects of the run with this id. `root` is the folder of the bucket that has `easel/`: "", or with "/" at its end."""

    bucket: Bucket
    root: str
    id: str

    @property
    def prefix(self) -> str:
        """The folder of the run, with "/" at its end."""
        return f"{self.root}{RUNS}{self.id}/"

    @property
    def address(self) -> str:
        """The address of the folder of the run."""
        return f"s3://{self.bucket.name}/{self.prefix}"

    def key(self, name: str) -> str:
        """The key of a file of the run; the name is untrusted.

        Raises:
            RemoteError: it cannot be one.
        """
        addresses.check_key(name)
        return self.prefix + name

    def content(self, name: str) -> bytes | None:
        """The content of a small object of the run; None if there is none.

        Raises:
            RemoteError: it cannot be read.
        """
        found = BucketStore(self.bucket, self.prefix).read(name)
        return found[0] if found else None

    def running_job(self) -> str:
        """RunPod's id of the job that trains or has trained; "" if none has begun.

        Raises:
            RemoteError: it cannot be read.
        """
        job = _table(self.content(RUNNING)).get("job")
        return job if isinstance(job, str) and answers.is_job_id(job) else ""

    def result(self) -> Result | None:
        """What the worker says of the end; None if the run has not ended, or if it says nothing that Easel knows.

        Raises:
            RemoteError: it cannot be read.
        """
        return document(self.content(RESULT))

    def has_ended(self) -> bool:
        """Whether there is a result.

        Raises:
            RemoteError: it cannot be read.
        """
        return next(items(self.bucket, self.key(RESULT)), None) is not None

    def write_request(self, text: str) -> None:
        """Writes the request; the same one again changes nothing.

        Raises:
            RemoteError: there is another one already, or it cannot be written.
        """
        data = text.encode()
        try:
            put_bytes(self.bucket, self.key(REQUEST), data, {"IfNoneMatch": "*"})
        except RemoteError as error:
            if error.kind != "changed":
                raise
            if self.content(REQUEST) != data:
                message = f"{self.address}{REQUEST} is another request than this run's. It was not changed."
                raise RemoteError(message, "Start a new run.", "taken") from error

    def conclude(self, state: str, cause: str, advice: str) -> None:
        """Writes the result for a worker that cannot do it any more; one that has done so counts.

        Raises:
            RemoteError: it cannot be written.
        """
        told = {"status": "failed", "job_id": self.id, "error": cause}
        data: dict[str, Any] = {"outputs": [], "notices": [], "state": state, "document": told, "by": "Easel"}
        if state == "FAILED":
            data["diagnosis"] = {"id": "runpod-ended", "cause": cause, "line": "", "advice": advice}
        try:
            put_bytes(self.bucket, self.key(RESULT), json.dumps(data).encode(), {"IfNoneMatch": "*"})
        except RemoteError as error:
            if error.kind != "changed":
                raise

    def ask_to_stop(self, after: When) -> None:
        """Tells the worker to end the training now, or after it has saved; a later "now" counts more than an earlier "save".

        Raises:
            RemoteError: it cannot be written.
        """
        if after == "save" and self.asked_to_stop() == "now":
            return
        data = json.dumps({"version": VERSION, "after": after, "at": time.time()}).encode()
        put_bytes(self.bucket, self.key(STOP), data, {})

    def asked_to_stop(self) -> When | None:
        """When the training was asked to end; None if it was not.

        Raises:
            RemoteError: it cannot be read.
        """
        found = self.content(STOP)
        return None if found is None else "save" if _table(found).get("after") == "save" else "now"

    def files(self) -> Iterator[tuple[str, Item]]:
        """The files of the run that are brought back, by their paths in it. What cannot be a path is left out.

        Raises:
            RemoteError: they cannot be listed.
        """
        for folder in FOLDERS:
            for item in items(self.bucket, f"{self.prefix}{folder}/"):
                name = item.key.removeprefix(self.prefix)
                if not name.endswith("/") and _is_path(name):
                    yield name, item


def claim(bucket: Bucket, prefix: str, job: str) -> bool:
    """Whether the job with this id at RunPod may train the run whose folder this is; for the worker, before it does anything else.

    Of several jobs of one request the first one may, also a second time on another worker.

    Raises:
        RemoteError: the bucket cannot be used.
    """
    data = json.dumps({"version": VERSION, "job": job, "at": time.time()}).encode()
    store = BucketStore(bucket, prefix)
    # Some services ignore the condition: then the one that is read here counts.
    if store.read(RUNNING) is None:
        try:
            put_bytes(bucket, prefix + RUNNING, data, {"IfNoneMatch": "*"})
        except RemoteError as error:
            if error.kind != "changed":
                raise
    found = store.read(RUNNING)
    return found is not None and _table(found[0]).get("job") == job


def document(data: bytes | None) -> Result | None:
    """The result in the content of a result.json, in the form of the document "LoRA Training System"; None if it has none."""
    return answers.result(_table(data).get("document"))


def _table(data: bytes | None) -> Mapping[str, Any]:
    try:
        found = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_path(name: str) -> bool:
    try:
        addresses.check_key(name)
    except RemoteError:
        return False
    return is_readable(name)

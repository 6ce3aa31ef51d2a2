"""Keeps what a run writes in a folder of a bucket, while it runs and at its end. The layout is read by who started the run.

request.json            what was asked for
events.jsonl engine.log in parts (`trainer_core.remote.runs.grown`)
spec.json versions.json as soon as they are there
output/ finished/       checkpoints, samples and the result, each when it is complete
result.json             how it ended; written last
stop                    written by who wants the run to end: {"after": "now"} or {"after": "save"}
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from trainer_core.errors import RemoteError
from trainer_core.jobs.folder import json_object
from trainer_core.jobs.stop_request import When
from trainer_core.remote.runpod.bucket_run import RUNNING, claim
from trainer_core.remote.runs import grown, there
from trainer_core.remote.storage import Bucket, items, upload
from trainer_core.remote.worker import answers

GROWING = ("events.jsonl", "engine.log")
WHOLE = ("spec.json", "versions.json")
FINISHED = "finished"
EVERY_S = 5.0
LARGEST_NOTE_BYTES = 1 << 20
KEPT = ("images/", answers.REQUEST, RUNNING, answers.STOP)
"""What is in the folder of a run before it begins."""


class Mirror:
    """The folder of a run in a bucket. Used by one thread."""

    def __init__(self, bucket: Bucket, prefix: str, every_s: float = EVERY_S) -> None:
        self._bucket, self._prefix, self._every_s = bucket, prefix, every_s
        self._done: dict[str, int] = {}
        self._sent: dict[str, str] = {}
        self._seen: dict[str, str] = {}
        self._looked_s = float("-inf")

    # ---- before and after the run ----
    def claim(self, job: str) -> bool:
        """Whether this job of RunPod may train the run; another one of the same request may have begun before.

        Raises:
            RemoteError: the storage refuses it, or the connection fails.
        """
        return claim(self._bucket, self._prefix, job)

    def earlier(self, *, is_final: bool) -> answers.Answer | None:
        """The answer of an earlier attempt at the same request: a successful one, or any if it `is_final`.

        RunPod hands a job out again whose worker was lost, also if the worker had done everything.

        Raises:
            RemoteError: as `claim`.
        """
        found = json_object(self.get(answers.RESULT) or b"") or {}
        answer = found.get(answers.DOCUMENT)
        if isinstance(answer, dict) and (is_final or answer.get("status") == "success"):
            return answer
        return None

    def clear(self) -> None:
        """Removes what an unsuccessful attempt left; only for the job that may train the request.

        Raises:
            RemoteError: as `claim`.
        """
        for item in list(items(self._bucket, self._prefix)):
            if not item.key.removeprefix(self._prefix).startswith(KEPT):
                self._bucket.ask("delete_object", item.key)

    def put(self, name: str, content: bytes) -> None:
        """Writes a small object.

        Raises:
            RemoteError: the storage refuses it, or the connection fails.
        """
        self._bucket.ask("put_object", self._prefix + name, Body=content)

    def get(self, name: str) -> bytes | None:
        """The content of a small object; None if there is none.

        Raises:
            RemoteError: as `put`.
        """
        try:
            return self._bucket.ask("get_object", self._prefix + name)["Body"].read(LARGEST_NOTE_BYTES)
        except RemoteError as error:
            if error.kind == "missing":
                return None
            raise

    def stop_wanted(self) -> When | None:
        """When the run is to end, if somebody wants that.

        Raises:
            RemoteError: as `put`.
        """
        content = self.get(answers.STOP)
        if content is None:
            return None
        return "save" if (json_object(content) or {}).get("after") == "save" else "now"

    # ---- the run ----
    def is_due(self) -> bool:
        """Whether it is time to look again."""
        return time.monotonic() - self._looked_s >= self._every_s

    def look(self, id: str, folder: Path, *, at_end: bool = False) -> None:  # noqa: A002 - the id of a run is called so everywhere
        """Writes what is new in the run `id` below `folder`. If that fails, the next call writes it.

        Raises:
            RemoteError: the storage refuses it, or the connection fails.
            JobError, OSError: the folder of the run cannot be read.
        """
        self._looked_s = time.monotonic()
        run = folder / id
        for name in WHOLE:
            self._send(name, run / name, lambda path: f"{path.stat().st_mtime_ns}")
        for name in GROWING:
            self._done[name] = grown.write_grown(self.put, name, run / name, self._done.get(name, 0))
        for name, found in there.files(id, folder).items():
            # A file that still grows is another one at the next look.
            if at_end or self._seen.get(name) == found.tag:
                self._send(name, run / name, lambda _, tag=found.tag: tag)
            self._seen[name] = found.tag

    def deliver(self, file: Path) -> str:
        """Writes the finished result under its name, and returns its address.

        Raises:
            RemoteError, OSError: as `look`.
        """
        name = f"{FINISHED}/{file.name}"
        upload(self._bucket, file, self._prefix + name, replaces=True)
        return self._bucket.uri(self._prefix + name)

    def _send(self, name: str, path: Path, tag_of: Callable[[Path], str]) -> None:
        if not path.is_file() or path.is_symlink() or self._sent.get(name) == (tag := tag_of(path)):
            return
        upload(self._bucket, path, self._prefix + name, replaces=True)
        self._sent[name] = tag


def request_json(data: object) -> bytes:
    """The content of request.json."""
    return json.dumps(data, ensure_ascii=False, indent=2, default=str).encode("utf-8", "replace") + b"\n"

"""What RunPod calls when a job has ended. A call only has the run ask for its state now; what its body says is never believed.

Three paths, each with or without `/<request id>/<code>` behind it (the first one only with it):

    /easel/remote-training/<request id>/<code>
    /api/training-webhook
    /core/training-webhooks/runpod-serverless

The code is an HMAC of the request id. A call without a code says in its body which job it is about, in the form of the document, or
as RunPod's envelope around it. Both cost the same: one question about a run of the user. So a call that is forged, repeated, late, early,
or about an unknown job, has no other effect, and the answer does not show whether there is such a job.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from trainer_core.files import open_own
from trainer_core.remote import hastening, strict_json
from trainer_core.remote.credentials import Secret
from trainer_core.remote.runpod import webhook
from trainer_core.remote.serve import door
from trainer_core.remote.serve.answers import Answer, Refused, failure
from trainer_core.remote.serve.shapes import Received
from trainer_core.text import printable

PATHS = ("/api/training-webhook", "/core/training-webhooks/runpod-serverless")
MOST_BYTES = 12 << 20
"""RunPod repeats the input of a job to the webhook, and an input has up to 10 MB. The body of a call with a code is not kept."""
MOST_BYTES_WITHOUT_CODE = 2 << 20
WAITING = 500
"""The most calls that are kept until they are looked at. More are dropped: the runs ask by themselves, too."""
INDEX_S = 5.0
"""How long a list of the runs is used, in seconds."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class Receiver:
    """An ASGI application with nothing but the paths above."""

    def __init__(
        self, secret: Secret, runs: Path, say: Callable[[str], None], others: Callable[[str], None] = lambda _: None
    ) -> None:
        """A receiver for the remote runs below the folder `runs`. `say` gets a sentence for each run that was asked to look.

        `others` gets the ids of requests that are not of such a run; they may not exist.
        """
        self._secret = secret
        self._runs = runs
        self._say = say
        self._others = others
        self._calls: queue.Queue[tuple[str, ...] | None] = queue.Queue(WAITING)
        self._index: dict[str, Path] = {}
        self._indexed_s = -INDEX_S
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
        self._thread.start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a call at once; what follows from it is done by another thread."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except Refused as refused:
            answer = refused.answer
        await Response(answer.data(), answer.status, dict(answer.headers), "application/json")(scope, receive, send)

    async def _answer(self, request: Request) -> Answer:
        path = request.scope["path"]
        rest = _rest(path)
        if rest is None or path == webhook.PATH:
            return failure(404, "There is nothing at this path.", "Only webhooks are received here.")
        if request.method != "POST":
            return failure(405, "Webhooks are sent with POST.", "", {"Allow": "POST"})
        if rest:
            request_id = webhook.request_of(self._secret, f"{webhook.PATH}{rest}")
            if request_id is None:
                return failure(404, "There is nothing at this path.", "The code in it may be of another receiver.")
            await door.body_of(request, MOST_BYTES, keeps=False)
            ids: tuple[str, ...] = (request_id,)
        else:
            body = await door.body_of(request, MOST_BYTES_WITHOUT_CODE)
            ids = await asyncio.to_thread(lambda: tuple(ids_in(body)))
        with contextlib.suppress(queue.Full):
            self._calls.put_nowait(ids)
        return Answer(Received())

    def close(self) -> None:
        """Ends its thread; calls that it has not looked at are dropped."""
        self._calls.put(None)
        self._thread.join(5)

    # ---- the thread ----
    def _work(self) -> None:
        while (ids := self._calls.get()) is not None:
            for request_id in ids:
                self._hasten(request_id)

    def _hasten(self, request_id: str) -> None:
        """Has the run of a request look for news, if it exists and has not ended."""
        folder = self._folder(request_id)
        if folder is None:
            self._others(request_id)
            return
        try:
            is_new = not (folder / "result.json").exists() and hastening.mark(folder)
        except OSError as error:
            self._say(f"A call for {printable(folder.name, 100)} had no effect: {error.strerror or error}.")
            return
        if is_new:
            self._say(f"A call for {printable(folder.name, 100)}: it asks for its state now.")

    def _folder(self, request_id: str) -> Path | None:
        """The folder of the run with this request id, which is in its `remote.json`; None if there is none."""
        if request_id not in self._index and time.monotonic() - self._indexed_s >= INDEX_S:
            self._index = dict(_remote_runs(self._runs))
            self._indexed_s = time.monotonic()
        if (likely := self._runs / request_id[:-9]) != self._runs and _request_id(likely) == request_id:
            return likely
        return self._index.get(request_id)


def is_for(path: str) -> bool:
    """Whether a path is one of the receiver's."""
    return _rest(path) is not None


def ids_in(body: bytes) -> Iterator[str]:
    """The ids that the body of a call names, each once: in the form of the document, or in RunPod's envelope."""
    try:
        data = strict_json.loads(body)
    except ValueError:
        return
    seen = set()
    for found in (
        _at(data, "job_id"),
        _at(data, "output", "job_id"),
        _at(data, "input", "training_config", "request_id"),
        _at(data, "input", "easel", "request", "id"),
    ):
        if isinstance(found, str) and _ID.fullmatch(found) and ".." not in found and found not in seen:
            seen.add(found)
            yield found


def _rest(path: str) -> str | None:
    """What follows one of the paths, "" or with a slash at its start; None if it is another path."""
    for start in (webhook.PATH, *PATHS):
        if path == start or path.startswith(f"{start}/"):
            return path[len(start) :]
    return None


def _at(data: Any, *keys: str) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _remote_runs(runs: Path) -> Iterator[tuple[str, Path]]:
    try:
        folders = list(runs.iterdir())
    except OSError:
        return
    for folder in folders:
        if found := _request_id(folder):
            yield found, folder


def _request_id(folder: Path) -> str:
    """The request id of a remote run; "" if the folder is none."""
    try:
        with open_own(folder / "remote.json") as file:
            data = json.loads(file.read(1 << 20))
    except (OSError, ValueError, RecursionError):
        return ""
    found = _at(data, "id")
    return found if isinstance(found, str) else ""

"""A twin of RunPod's serverless control plane on loopback: the half that clients talk to, and the half that workers talk to.

client half   /v2/{endpoint}/run | status/{id} | cancel/{id} | retry/{id} | health
worker half   /v2/{endpoint}/job-take/{worker} | job-stop/{worker} | job-done/{worker}/{id} | job-stream/{worker}/{id} | ping/{worker}

`speed` shortens RunPod's times (executionTimeout, ttl, how long a result is kept, the waits of webhooks). `faults` are the answers to
the next requests of clients, one each: see `Fault`.

Source: RunPod documentation, "Operation reference", "Job states and metrics", "Send API requests"; runpod-python 1.12.0,
serverless/modules (worker half).
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

ENDPOINT, KEY = "eptest", "rpa_" + "TWIN0KEY" * 5
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}
LARGEST_BYTES = 10 * 1000 * 1000
KEPT_S, HOOK_WAIT_S, HOOK_TRIES = 1800.0, 10.0, 3
DEFAULT_RUN_MS, DEFAULT_TTL_MS = 600_000, 86_400_000
BOUNDS_MS = {"executionTimeout": (5000, 604_800_000), "ttl": (10_000, 604_800_000)}
CLIENT_HALF = {"run", "status", "cancel", "retry", "health"}


@dataclass(frozen=True)
class Fault:
    """The answer to one request instead of the right one.

    `how`: "" answers with `status` and `body`; "cut" closes the connection before an answer; "lost" does what is asked, then closes the
    connection; "slow" waits `wait_s` before the right answer; "drip" sends one byte after another.
    """

    status: int = 500
    body: str = "{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    how: str = ""
    wait_s: float = 0.0


@dataclass
class Job:
    """A job in the twin. Times are in the twin's seconds, which pass `speed` times as fast."""

    id: str
    input: Any
    policy: Mapping[str, int]
    webhook: str
    made_s: float
    status: str = "IN_QUEUE"
    output: Any = None
    error: Any = None
    worker: str = ""
    started_s: float = 0.0
    ended_s: float = 0.0
    stream: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """A request of a client: what it asked for, its headers, and its body."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)


class Twin(ThreadingHTTPServer):
    """The server and all that it knows. Tests may change it while it runs, under its lock `changed`."""

    daemon_threads = True

    def __init__(self, speed: float = 1.0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.speed = speed
        self.jobs: dict[str, Job] = {}
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self.stops: list[str] = []
        self.pings: list[str] = []
        self.hooks: list[tuple[str, int]] = []
        self.workers: set[str] = set()
        self.changed = threading.Condition(threading.RLock())
        self._hook_threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """What stands for https://api.runpod.ai/v2."""
        return f"http://127.0.0.1:{self.server_port}/v2"

    @property
    def worker_url(self) -> str:
        """The address of the worker half."""
        return f"{self.url}/{ENDPOINT}"

    def now_s(self) -> float:
        return time.monotonic() * self.speed

    # ---- what happens to jobs ----
    def add(self, body: Any) -> Job:
        with self.changed:
            job = Job(
                f"{uuid.uuid4()}-e1", body["input"], body.get("policy") or {}, body.get("webhook", ""), self.now_s()
            )
            self.jobs[job.id] = job
            self.changed.notify_all()
            return job

    def take(self, worker: str) -> Job | None:
        """The next job for a worker."""
        with self.changed:
            self.expire()
            self.workers.add(worker)
            job = next((each for each in self.jobs.values() if each.status == "IN_QUEUE"), None)
            if job:
                job.status, job.worker, job.started_s = "IN_PROGRESS", worker, self.now_s()
            return job

    def progress(self, job: Job, output: Any) -> None:
        with self.changed:
            if job.status not in FINAL:
                job.output = output

    def finish(self, job: Job, status: str, output: Any = None, error: Any = None) -> None:
        """Ends a job; a job that has ended stays as it is."""
        with self.changed:
            if job.status in FINAL:
                return
            job.status, job.ended_s = status, self.now_s()
            job.output, job.error = output, error
            self.changed.notify_all()
        if job.webhook:
            thread = threading.Thread(target=self._call, args=(job,), daemon=True)
            self._hook_threads.append(thread)
            thread.start()

    def expire(self) -> None:
        """Ends what runs for too long, and forgets what exists for too long."""
        with self.changed:
            now = self.now_s()
            for job in list(self.jobs.values()):
                longest = job.policy.get("executionTimeout", DEFAULT_RUN_MS) / 1000
                if job.status == "IN_PROGRESS" and now - job.started_s > longest:
                    self.stops.append(job.id)
                    self.finish(job, "TIMED_OUT", error="job timed out after executionTimeout")
                is_old = now - job.made_s > job.policy.get("ttl", DEFAULT_TTL_MS) / 1000
                if is_old or (job.status in FINAL and now - job.ended_s > KEPT_S):
                    if job.status == "IN_PROGRESS":
                        self.stops.append(job.id)
                    del self.jobs[job.id]

    def view(self, job: Job) -> dict[str, Any]:
        """A job as its status shows it."""
        shown: dict[str, Any] = {"id": job.id, "status": job.status}
        if job.started_s:
            shown["delayTime"] = round((job.started_s - job.made_s) * 1000)
            shown["workerId"] = job.worker
        if job.ended_s:
            shown["executionTime"] = round((job.ended_s - (job.started_s or job.ended_s)) * 1000)
        return {**shown, **{name: getattr(job, name) for name in ("output", "error") if getattr(job, name) is not None}}

    def counts(self) -> dict[str, Any]:
        """The health of the endpoint."""

        def number(*states: str) -> int:
            return sum(job.status in states for job in self.jobs.values())

        running, workers = number("IN_PROGRESS"), len(self.workers)
        jobs = {"completed": number("COMPLETED"), "failed": number("FAILED", "TIMED_OUT"), "inProgress": running}
        return {
            "jobs": {**jobs, "inQueue": number("IN_QUEUE"), "retried": 0},
            "workers": {
                "idle": workers - running,
                "initializing": 0,
                "ready": workers,
                "running": running,
                "throttled": 0,
            },
        }

    def _call(self, job: Job) -> None:
        """Calls the webhook of a job: up to three times, until it answers 200."""
        body = json.dumps({**self.view(job), "input": job.input, "webhook": job.webhook}).encode()
        for attempt in range(HOOK_TRIES):
            if attempt:
                time.sleep(HOOK_WAIT_S / self.speed)
            request = urllib.request.Request(job.webhook, body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    status = answer.status
            except urllib.error.HTTPError as error:
                status = error.code
            except OSError:
                status = 0
            self.hooks.append((job.id, status))
            if status == 200:
                return

    def called(self) -> None:
        """Returns when all webhooks were called."""
        for thread in self._hook_threads:
            thread.join(20)


class Handler(BaseHTTPRequestHandler):
    """Answers clients and workers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Twin  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path).path.strip("/").split("/")
        if len(parts) < 3 or parts[0] != "v2":
            self._say(404, {})
            return
        _, endpoint, operation, *rest = parts
        if operation not in CLIENT_HALF:
            self._worker(operation, rest, body)
            return
        self.server.asked.append(Asked(method, self.path, dict(self.headers), body))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault is not None and self._fail(fault):
            return
        status, data = self._client(method, endpoint, operation, rest, body)
        if fault is not None and fault.how == "lost":
            self.close_connection = True
            return
        self._say(status, data, drops=fault is not None and fault.how == "drip")

    def _fail(self, fault: Fault) -> bool:
        """Whether the request was answered wrongly."""
        if fault.how == "cut":
            self.close_connection = True
            return True
        if fault.how == "slow":
            time.sleep(fault.wait_s)
        if fault.how:
            return False
        self._say(fault.status, fault.body, fault.headers)
        return True

    def _client(self, method: str, endpoint: str, operation: str, rest: list[str], body: bytes) -> tuple[int, Any]:
        twin = self.server
        if self.headers.get("Authorization", "") != f"Bearer {KEY}":
            return 401, {"error": f"unauthorized: {self.headers.get('Authorization')}"}
        if endpoint != ENDPOINT:
            return 404, {"error": "endpoint not found"}
        if method != ("GET" if operation in ("status", "health") else "POST"):
            return 405, {"error": "method not allowed"}
        with twin.changed:
            twin.expire()
            if operation == "health":
                return 200, twin.counts()
            if operation == "run":
                return self._run(body)
            job = twin.jobs.get(rest[0]) if len(rest) == 1 else None
            if job is None:
                return 404, {"error": "job not found"}
            return self._about(job, operation)

    def _about(self, job: Job, operation: str) -> tuple[int, Any]:
        twin = self.server
        if operation == "cancel":
            if job.status == "IN_PROGRESS":
                twin.stops.append(job.id)
            twin.finish(job, "CANCELLED")
        if operation == "retry":
            if job.status not in ("FAILED", "TIMED_OUT"):
                return 400, {"error": f"job is {job.status}: only a failed job can be retried"}
            job.status, job.output, job.error = "IN_QUEUE", None, None
            job.made_s, job.started_s, job.ended_s = twin.now_s(), 0.0, 0.0
            return 200, {"id": job.id, "status": "IN_QUEUE"}
        return 200, twin.view(job)

    def _run(self, body: bytes) -> tuple[int, Any]:
        if len(body) > LARGEST_BYTES:
            return 413, {"error": "payload too large"}
        try:
            data = json.loads(body)
        except ValueError:
            return 400, {"error": "not JSON"}
        if not isinstance(data, dict) or not isinstance(data.get("input"), dict):
            return 400, {"error": "input is required"}
        for name, (least, most) in BOUNDS_MS.items():
            value = (data.get("policy") or {}).get(name, least)
            if not isinstance(value, int) or not least <= value <= most:
                return 400, {"error": f"policy.{name} must be between {least} and {most}"}
        return 200, {"id": self.server.add(data).id, "status": "IN_QUEUE"}

    def _worker(self, operation: str, rest: list[str], body: bytes) -> None:
        twin = self.server
        if operation == "job-take":
            job = self._until(lambda: twin.take(rest[0]))
            self._say(200, {"id": job.id, "input": job.input, "webhook": job.webhook}) if job else self._say(204, None)
        elif operation == "job-stop":
            stopped = self._until(lambda: twin.expire() or (twin.stops.pop(0) if twin.stops else None))
            self._say(200, {"jobsToStop": [stopped]}) if stopped else self._say(204, None)
        elif operation == "ping":
            twin.pings.append(rest[0])
            self._say(200, {})
        elif operation in ("job-done", "job-stream"):
            self._returned(operation, twin.jobs.get(rest[1]), json.loads(body))
            self._say(200, {})
        else:
            self._say(404, {})

    def _returned(self, operation: str, job: Job | None, data: Any) -> None:
        if job is None:
            return
        if operation == "job-stream":
            job.stream.append(data)
        elif data.get("status") == "IN_PROGRESS":
            self.server.progress(job, data.get("output"))
        elif data.get("error"):
            self.server.finish(job, "FAILED", data.get("output"), data["error"])
        else:
            self.server.finish(job, "COMPLETED", data.get("output"))

    def _until(self, found: Any, longest_s: float = 2.0) -> Any:
        """What `found` returns, as soon as it is something: the long poll of a worker."""
        end = time.monotonic() + longest_s
        with self.server.changed:
            while not (value := found()) and (left := end - time.monotonic()) > 0:
                self.server.changed.wait(min(left, 0.1))
        return value

    def _say(self, status: int, data: Any, headers: Mapping[str, str] | None = None, *, drops: bool = False) -> None:
        text = b"" if data is None else data.encode() if isinstance(data, str) else json.dumps(data).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            for piece in [text[at : at + 1] for at in range(len(text))] if drops else [text]:
                self.wfile.write(piece)
                time.sleep(0.05 if drops else 0)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextlib.contextmanager
def running(speed: float = 1.0) -> Iterator[Twin]:
    """A twin that runs."""
    twin = Twin(speed)
    threading.Thread(target=twin.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield twin
    finally:
        twin.shutdown()
        twin.server_close()

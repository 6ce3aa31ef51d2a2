"""The requests to one RunPod endpoint: run, status, cancel, retry and health."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from trainer_core.errors import RemoteError, wrong_use
from trainer_core.remote.credentials import Secret
from trainer_core.remote.patience import Patience
from trainer_core.remote.runpod import answers, refusals
from trainer_core.remote.runpod.answers import Health, JobStatus
from trainer_core.remote.runpod.connection import USUAL, Connection
from trainer_core.remote.runpod.limits import Policy
from trainer_core.remote.runpod.refusals import RunPodError
from trainer_core.text import printable


class Client:
    """Sends requests to one endpoint. May be used by several threads at once."""

    def __init__(
        self,
        endpoint_id: str,
        key: Secret,
        base_url: str = "",
        patience: Patience = USUAL,
        cancel: threading.Event | None = None,
    ) -> None:
        """A client for an endpoint, with the API key. Its waits end when `cancel` is set.

        Raises:
            RemoteError: the id or the address of the service cannot be one.
        """
        self.endpoint_id = _checked(endpoint_id, "an endpoint")
        self._connection = Connection(key, base_url, patience, cancel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._connection.close()

    @property
    def host(self) -> str:
        """The host of the service, for the user."""
        return self._connection.host

    def run(self, data: Mapping[str, Any], policy: Policy, webhook: str = "") -> JobStatus:
        """Sends a job with this `input`; returns its status, with the id that RunPod gave it.

        The request is repeated only if the first one was certainly not taken: a second one would be a second job, and cost as much.
        The `input` must contain no secret: RunPod keeps it, and repeats it to the webhook.

        Raises:
            RunPodError: it was not taken; `may_have_arrived` says whether a job may have been started all the same.
        """
        body: dict[str, Any] = {"input": data, "policy": policy.as_dict()}
        if webhook:
            body["webhook"] = webhook
        what = "the start of a job"
        found = self._ask("run", "run", what, "POST", body, is_repeatable=False)
        job_id = found.get("id") if isinstance(found, Mapping) else None
        if not isinstance(job_id, str) or not answers.is_job_id(job_id):
            raise refusals.of_answer(self.host, "the id of the job that was started")
        return answers.status(found, job_id) or JobStatus(job_id, answers.IN_QUEUE)

    def status(self, job_id: str) -> JobStatus:
        """The status of a job. It `is_gone` when RunPod no longer knows it, which is no failure of the job.

        Raises:
            RemoteError: the id cannot be one.
            RunPodError: RunPod does not answer, or not with a status.
        """
        return self._about("status", job_id, "GET")

    def cancel(self, job_id: str) -> JobStatus:
        """Ends a job, whether it waits or runs; returns its status. A job that has ended, or that RunPod no longer knows, stays as it is.

        Raises:
            RemoteError: the id cannot be one.
            RunPodError: RunPod does not answer, or not with a status.
        """
        return self._about("cancel", job_id, "POST")

    def retry(self, job_id: str) -> JobStatus:
        """Puts a job that has failed or timed out into the queue again, with the same id and input; returns its status.

        Raises:
            RemoteError: the id cannot be one.
            RunPodError: RunPod refuses it, for example because the job has not failed, or no longer knows the job.
        """
        job_id = _checked(job_id, "a job")
        found = self._ask("retry", f"retry/{job_id}", f"another attempt of job {job_id}", "POST", is_repeatable=False)
        return answers.status(found, job_id) or JobStatus(job_id, answers.IN_QUEUE)

    def health(self) -> Health:
        """The numbers of jobs and workers of the endpoint.

        Raises:
            RunPodError: RunPod does not answer, or not with these numbers.
        """
        what = f"the health of endpoint {self.endpoint_id}"
        found = answers.health(self._ask("health", "health", what, "GET"))
        if found is None:
            raise refusals.of_answer(self.host, what)
        return found

    def _about(self, operation: str, job_id: str, method: str) -> JobStatus:
        job_id = _checked(job_id, "a job")
        what = f"the status of job {job_id}"
        try:
            body = self._ask(operation, f"{operation}/{job_id}", what, method)
        except RunPodError as error:
            if error.status == 404:
                return answers.gone(job_id)
            raise
        found = answers.status(body, job_id)
        if found is None:
            raise refusals.of_answer(self.host, what)
        return found

    def _ask(
        self,
        operation: str,
        path: str,
        what: str,
        method: str,
        body: Mapping[str, Any] | None = None,
        *,
        is_repeatable: bool = True,
    ) -> Any:
        return self._connection.ask(
            operation,
            f"{self.endpoint_id}/{path}",
            what=what,
            method=method,
            body=body,
            is_repeatable=is_repeatable,
        )


def _checked(text: str, what: str) -> str:
    """An id as it can stand in an address.

    Raises:
        RemoteError: it cannot.
    """
    found = text.strip()
    if not answers.is_job_id(found):
        raise wrong_use(
            RemoteError(f"{printable(found, 100)!r} cannot be the id of {what}.", "Copy it from RunPod's console.")
        )
    return found

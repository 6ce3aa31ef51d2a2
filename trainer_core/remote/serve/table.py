"""Every route: its method and path, what it takes, what it answers, and the function that does it. `api` serves this, `openapi` describes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from trainer_core.remote.serve import trainings, tunnels, versions
from trainer_core.remote.serve.answers import Answer
from trainer_core.remote.serve.asked import Asked
from trainer_core.remote.serve.shapes import Failure, NewVersion, Ngrok, Start, Started, Versions


@dataclass(frozen=True)
class Operation:
    """One route. `path` has parameters in braces, as in OpenAPI; `headers` are those that it reads and that are described."""

    method: str
    path: str
    summary: str
    act: Callable[[Asked], Answer]
    answers: Mapping[int, type[BaseModel] | None]
    body: type[BaseModel] | None = None
    most_bytes: int = 1 << 20
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its name in a generated client, such as `training_start`."""
        return self.act.__name__


_IF_MATCH = "The ETag of the versions that were read. The change is made only if they are still the same."
_IF_NONE_MATCH = "The ETag of the versions that the caller has. Without a change, the answer is 304."

OPERATIONS = (
    Operation(
        "POST",
        "/api/training/start",
        "Start a training on the RunPod endpoint",
        trainings.training_start,
        {200: Started, 400: Failure, 404: Failure, 502: Failure, 504: Failure},
        Start,
        most_bytes=10_000_000,
    ),
    Operation(
        "GET",
        "/api/styles/{id}/training-versions",
        "The trainings of a style",
        versions.training_versions,
        {200: Versions, 304: None, 400: Failure},
        headers={"If-None-Match": _IF_NONE_MATCH},
    ),
    Operation(
        "POST",
        "/api/styles/{id}/training-versions",
        "Save a training of a style; with If-Match also one that is there already",
        versions.save_training_version,
        {201: Versions, 400: Failure, 409: Failure, 412: Failure},
        NewVersion,
        headers={"If-Match": _IF_MATCH},
    ),
    Operation("GET", "/api/ngrok/status", "Whether webhooks can arrive", tunnels.ngrok_status, {200: Ngrok}),
    Operation(
        "POST",
        "/api/ngrok/start",
        "Open a tunnel to the receiver of webhooks",
        tunnels.ngrok_start,
        {200: Ngrok, 502: Failure, 504: Failure},
    ),
    Operation("POST", "/api/ngrok/stop", "Close the tunnel", tunnels.ngrok_stop, {200: Ngrok}),
)

COMMON: Mapping[int, tuple[str, Any]] = {
    401: ("The token is missing or wrong.", Failure),
    403: ("The request names another host.", Failure),
    413: ("The body is too large.", Failure),
    415: ("The body is not declared as JSON.", Failure),
}
"""What every route can answer."""

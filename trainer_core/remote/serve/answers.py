"""An answer of a route, and errors as answers: `{"status": "failed", "error": "...", "advice": "..."}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from trainer_core.errors import EaselError, RemoteError
from trainer_core.remote.serve.shapes import Failure
from trainer_core.text import printable, without_secrets

STATUS_OF = {
    "missing": 404,
    "taken": 409,
    "changed": 409,
    "size": 413,
    "busy": 503,
    "server": 502,
    "offline": 502,
    "broken": 502,
    "slow": 504,
}
"""The HTTP status of a kind of RemoteError; of another kind, 400."""


@dataclass(frozen=True)
class Answer:
    """What is sent: a body, or none with status 304, and more headers."""

    body: BaseModel | None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def data(self) -> bytes:
        """The body as JSON."""
        return b"" if self.body is None else self.body.model_dump_json(exclude_none=False).encode()


class Refused(Exception):  # noqa: N818 - it is an answer
    """A request that is answered with an error."""

    def __init__(self, status: int, error: str, advice: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.answer = failure(status, error, advice, headers)


def failure(status: int, error: str, advice: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    """An error as an answer; its texts may come from outside."""
    return Answer(Failure(error=_shown(error), advice=_shown(advice)), status, headers or {})


def of_error(error: EaselError) -> Answer:
    """An error of Easel as an answer."""
    status = STATUS_OF.get(error.kind, 400) if isinstance(error, RemoteError) else 400
    return failure(status, error.message, error.hint)


def _shown(text: str) -> str:
    return printable(without_secrets(text), 1000)

"""A request whose body was checked, and what the routes work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from trainer_core.remote.credentials import Settings
from trainer_core.remote.serve.following import Following
from trainer_core.remote.serve.tunnel import Tunnel
from trainer_core.remote.styles import Styles

Kind = TypeVar("Kind", bound=BaseModel)


@dataclass(frozen=True)
class WorksWith:
    """What the routes need.

    `styles` opens the place of the styles, `webhook_of` gives the address of the webhook of a request, "" without one; `following`
    writes into the versions what becomes of trainings.
    """

    settings: Settings
    styles: Callable[[], Styles]
    tunnel: Tunnel
    webhook_of: Callable[[str], str]
    following: Following


@dataclass(frozen=True)
class Asked:
    """A request. `parameters` are those in the path."""

    works_with: WorksWith
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    body: BaseModel | None = None

    def of(self, kind: type[Kind]) -> Kind:
        """The body, which is of this kind."""
        assert isinstance(self.body, kind)
        return self.body

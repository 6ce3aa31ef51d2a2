"""The errors of Easel. Standard library only: the installer uses them before anything is installed.

EaselError
    HeaderError            a model file whose header cannot be read
    DetectionError         a header that fits no family
        AmbiguousModelError    ... or more than one
    DatasetError           a dataset folder that cannot be read
    LibraryError           a list of model folders that cannot be read or changed
    ProfileError           a profile file that is refused
    PolicyError            a prefill policy that is not there or is damaged
    SubjectError           values kept for a subject that cannot be read or written
    PlanError              a draft that cannot become a plan; carries the Problems
    BackendError           an engine that cannot be found, or is not what it claims
    InstallError           an environment that cannot be made or is broken
    RunError               a run folder that cannot be written, read or attached to
    DownloadError          a link that cannot be followed, or a file that did not arrive as it should
        DownloadCancelled      ... because somebody stopped it

A user's mistake in a setting is a `Problem` (trainer_core.problems), not an exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer_core.problems import Problem


class EaselError(Exception):
    """What went wrong (`message`) and what to do about it (`hint`); both are plain text."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class HeaderError(EaselError):
    """A model file whose header cannot be read."""


class DetectionError(EaselError):
    """A header that fits no known family or role."""


class AmbiguousModelError(DetectionError):
    """A header that fits more than one family: the mend is a better signature."""


class DatasetError(EaselError):
    """A dataset folder that cannot be read at all."""


class LibraryError(EaselError):
    """A list of model folders that cannot be read or changed."""


class ProfileError(EaselError):
    """A profile file that is refused; the message names file, key and reason.

    `key` is the dotted key that is wrong, "" where the file as a whole is; `is_unread` says that it could not be read at all.
    """

    def __init__(self, message: str, hint: str = "", key: str = "", *, is_unread: bool = False) -> None:
        super().__init__(message, hint)
        self.key = key
        self.is_unread = is_unread


class PolicyError(EaselError):
    """A prefill policy that is not there, or whose file is damaged."""


class SubjectError(EaselError):
    """Values kept for a subject that cannot be read or written; the message names file, key and reason."""


class PlanError(EaselError):
    """A draft that cannot become a plan. `problems` are the blocking ones."""

    def __init__(self, message: str, hint: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, hint)
        self.problems = tuple(problems)


class BackendError(EaselError):
    """A training engine that cannot be found or does not keep the seam's contract."""


class InstallError(EaselError):
    """An environment that cannot be made, or that is broken."""


class RunError(EaselError):
    """A run folder that cannot be written, read or attached to."""


class DownloadError(EaselError):
    """A link that cannot be followed, or a file that did not arrive as it should.

    `kind` is one word that a form can act on: "link", "token", "gated", "missing", "choice", "busy", "server", "offline",
    "broken", "tls", "length", "hash", "disk", "taken", "content", "whole", "cancelled". `choices` are the files to choose from.
    """

    def __init__(
        self, message: str, hint: str = "", kind: str = "link", choices: Sequence[str] = (), wait_s: float | None = None
    ) -> None:
        super().__init__(message, hint)
        self.kind = kind
        self.choices = tuple(choices)
        self.wait_s = wait_s

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.kind in {"busy", "server", "offline", "broken"}


class DownloadCancelled(DownloadError):  # noqa: N818 - it is what somebody wanted, not a fault
    """A download that somebody stopped; what has arrived is kept for the next time."""

    def __init__(self) -> None:
        super().__init__("The download was stopped.", "Start it again to go on where it stopped.", "cancelled")

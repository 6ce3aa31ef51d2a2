"""The errors of Easel. Standard library only: the installer uses them before anything is installed.

EaselError
    HeaderError            a model file whose header cannot be read
    DetectionError         a header that matches no family
        AmbiguousModelError    ... or more than one
    WeightsError           weights that cannot be read, computed with, or written
    RenamingError          a model file whose tensors cannot be renamed
    DatasetError           a dataset folder that cannot be read
        DatasetCancelled       ... work on a dataset that the user stopped
    LibraryError           a list of model folders that cannot be read or changed
    FilesError             a file or folder of the user that cannot be brought in, shown, moved or deleted
        FilesStopped           ... work on files that the user stopped
    ProfileError           a profile file that is refused
    PolicyError            a prefill policy that is missing or damaged
    SubjectError           values stored for a subject that cannot be read or written
    PlanError              a draft that cannot become a plan; carries the Problems
    BackendError           an engine that cannot be found, or whose backend is not valid
    InstallError           an environment that cannot be created or is broken
    JobError               a job folder that cannot be written or read, or a job that cannot be started
        RunError               ... of a training job: its engine, its dataset or its results
    DownloadError          a link that cannot be followed, or a file that was not downloaded correctly
        DownloadCancelled      ... because the user stopped it
    RemoteError            a bucket, a remote endpoint or a setting for one that cannot be used
        RemoteStopped          ... because the user stopped it

A user's mistake in a setting is a `Problem` (trainer_core.problems), not an exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from trainer_core.problems import Problem

Kind = TypeVar("Kind", bound="EaselError")


class EaselError(Exception):
    """What went wrong (`message`) and what to do about it (`hint`); both are plain text."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    is_wrong_use = False
    """Whether the user named something that does not exist, or gave a value that is not possible. The command line exits with 2."""

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


def wrong_use(error: Kind) -> Kind:
    """The error, marked as one in what the user typed."""
    error.is_wrong_use = True
    return error


class HeaderError(EaselError):
    """A model file whose header cannot be read."""


class DetectionError(EaselError):
    """A header that matches no known family or role."""


class AmbiguousModelError(DetectionError):
    """A header that matches more than one family. The fix is a more precise signature."""


class DatasetError(EaselError):
    """A dataset folder that cannot be read at all."""


class DatasetCancelled(DatasetError):  # noqa: N818 - the user wanted it, so it is not an error
    """Work on a dataset that the user stopped; nothing was changed."""

    def __init__(self) -> None:
        super().__init__("It was stopped. Nothing was changed.")


class LibraryError(EaselError):
    """A list of model folders that cannot be read or changed."""


class FilesError(EaselError):
    """A file or folder of the user that cannot be brought in, shown, moved or deleted."""


class FilesStopped(FilesError):  # noqa: N818 - the user wanted it, so it is not an error
    """Work on files that the user stopped; every file is where it was, or where it was to go."""

    def __init__(self) -> None:
        super().__init__("It was stopped. Every file is where it was before, or complete in its new place.")


class WeightsError(EaselError):
    """Weights that cannot be read, computed with or written: by a merge, a conversion, or another tool for model files."""


class RenamingError(EaselError):
    """A model file whose tensors cannot be renamed, or whose renamed copy cannot be written."""


class ProfileError(EaselError):
    """A profile file that is refused; the message names file, key and reason.

    `key` is the dotted key that is wrong, "" for the file as a whole; `is_unread` is True when the file cannot be read.
    """

    def __init__(self, message: str, hint: str = "", key: str = "", *, is_unread: bool = False) -> None:
        super().__init__(message, hint)
        self.key = key
        self.is_unread = is_unread


class PolicyError(EaselError):
    """A prefill policy that is missing or whose file is damaged."""


class SubjectError(EaselError):
    """Values stored for a subject that cannot be read or written; the message names file, key and reason."""


class PlanError(EaselError):
    """A draft that cannot become a plan. `problems` are the blocking ones."""

    def __init__(self, message: str, hint: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, hint)
        self.problems = tuple(problems)


class BackendError(EaselError):
    """A training engine that cannot be found, or whose backend breaks the contract of `engines.seam`."""


class InstallError(EaselError):
    """An environment that cannot be created, or that is broken."""


class JobError(EaselError):
    """A job folder that cannot be written or read, or a job that cannot be started."""


class RunError(JobError):
    """A training job that fails because of its engine, its dataset or its results.

    `brief` is the reason in a few words, for a button; "" if there is no short one.
    """

    def __init__(self, message: str, hint: str = "", brief: str = "") -> None:
        super().__init__(message, hint)
        self.brief = brief


class DownloadError(EaselError):
    """A link that cannot be followed, or a file that was not downloaded correctly.

    `kind` is one word for the cause, for the UI to act on: "link", "token", "gated", "missing", "choice", "busy", "server",
    "offline", "broken", "tls", "length", "hash", "disk", "taken", "content", "whole", "cancelled". `choices` are the files
    to choose from; `wait_s` is the time in seconds that the server asks to wait.
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
        """Whether the same request may succeed later."""
        return self.kind in {"busy", "server", "offline", "broken"}


class DownloadCancelled(DownloadError):  # noqa: N818 - the user wanted it, so it is not an error
    """A download that the user stopped; the part that has arrived is kept for the next time."""

    def __init__(self) -> None:
        super().__init__("The download was stopped.", "Start it again to continue where it stopped.", "cancelled")


class RemoteError(EaselError):
    """A bucket, a remote endpoint or a setting for one that cannot be used.

    `kind` is one word for the cause, for programs to act on: "setting", "address", "rights", "missing", "region", "clock",
    "offline", "slow", "broken", "changed", "taken", "disk", "busy", "server", "size", "content", "gone", "stopped". `wait_s` is the
    time in seconds that the server asks to wait.
    """

    def __init__(self, message: str, hint: str = "", kind: str = "setting", wait_s: float | None = None) -> None:
        super().__init__(message, hint)
        self.kind = kind
        self.wait_s = wait_s

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later."""
        return self.kind in {"busy", "server", "offline", "slow", "broken"}


class RemoteStopped(RemoteError):  # noqa: N818 - the user wanted it, so it is not an error
    """A transfer that the user stopped; what has arrived is kept for the next time."""

    def __init__(self) -> None:
        super().__init__("The transfer was stopped.", "Start it again to continue where it stopped.", "stopped")

"""What an export contains, and what an exporter must provide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from trainer_core.remote.export.gpus import Gpu

FILES = "files"
"""The folder with the plan and the scripts, in the folder of the task there."""
RESULTS = "results"
"""The folder for the results, in the folder of the task there."""
TOKEN = "HF_TOKEN"  # noqa: S105 - the name of a variable
BUCKET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
BUCKET_SETTINGS = ("AWS_SESSION_TOKEN", "S3_REGION", "S3_ENDPOINT_URL")
"""Variables that a bucket may need, beside its keys."""


@dataclass(frozen=True)
class Wanted:
    """What the user asks for beside the plan.

    `gpu` is the name of a GPU, "none" for a machine without one, "" for those that fit by the estimate. `model_from` is the
    link from which the machine downloads the base model. `bucket` is the folder of a bucket (s3://...) through which files and
    results go. `easel` is where Easel is there: a folder on the machine, an address for `git clone`, or "" for a copy of this
    one. `passes_token`: the value of HF_TOKEN is passed on. `is_shared`: what the plan names is at the same paths there.
    """

    gpu: str = ""
    model_from: str = ""
    bucket: str = ""
    easel: str = ""
    passes_token: bool = False
    is_shared: bool = False


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine that the plan needs there: `target` is its path in the folder of the task."""

    source: Path
    target: PurePosixPath
    size_bytes: int
    is_folder: bool
    links: int = 0
    """How many symbolic links are in it."""
    has_ignore_file: bool = False
    """Whether it has a file, such as `.gitignore`, with which schedulers leave files out."""


@dataclass(frozen=True)
class Resources:
    """What a machine needs: GPUs (`gpus` are those that fit, () for none), memory of each, RAM and disk in GiB."""

    gpus: tuple[Gpu, ...]
    gpu_count: int
    gpu_gib: int
    ram_gib: int
    disk_gib: int


@dataclass(frozen=True)
class Change:
    """A value that depends on the machine: `before` where the plan was made, `after` on a machine with the accelerator `name`, and why."""

    setting: str
    before: Any
    after: Any
    why: str
    name: str

    @property
    def sentence(self) -> str:
        """The change, for the user."""
        why = f" {self.why[0].upper()}{self.why[1:]}" if self.why else ""
        return f"{self.setting} is {self.after} for {self.name} instead of {self.before}.{why}"


@dataclass(frozen=True)
class Task:
    """One training that another scheduler starts.

    `name` has only small letters, digits and hyphens. `files` are those of the folder `FILES` there, by name: the plan, the
    scripts, and Easel if it is sent along. `mounts` are what the scheduler brings there; with a bucket there are none, and
    `uploads` are what the script `upload` brings into the bucket. `secrets` are the names of variables that must have a value,
    `settings` those that may have one. `one_machine` says why it trains on one machine. `changes` are values that are other ones there, `notes`
    sentences for the user, also about these.
    """

    name: str
    title: str
    engine: str
    resources: Resources
    files: Mapping[str, bytes]
    mounts: tuple[Mount, ...] = ()
    uploads: tuple[Mount, ...] = ()
    upload: str = ""
    bucket: str = ""
    secrets: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    one_machine: str = ""
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """The files of an export: `files` are written, `copies` are copied from this machine (both by path in the folder of the export).

    `main` is the file that the scheduler gets, `commands` what the user runs next, `notes` sentences about it.
    """

    main: PurePosixPath
    files: Mapping[PurePosixPath, bytes]
    copies: Mapping[PurePosixPath, Path] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Exporter(Protocol):
    """One scheduler. `main` is the usual name of its file; `is_one_file` says that the user may give this file another name."""

    title: str
    main: str
    is_one_file: bool
    most_plans: int
    """How many plans one export may contain."""

    def export(self, tasks: Sequence[Task], folder: Path, main: str) -> Exported:
        """The files of an export to a folder, which need not exist yet; nothing is written.

        Raises:
            RemoteError: this scheduler cannot run the tasks; the message says why.
        """
        ...

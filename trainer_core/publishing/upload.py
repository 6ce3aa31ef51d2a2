"""Uploads a result with its card to Hugging Face, as a job of its own. The repository is private unless the user wants otherwise.

`python -m trainer_core.publishing.upload` is the program of such a job: it reads `settings.json` in the folder of the job. The
token is in its environment only, and is neither in that file, nor in its arguments, nor in its log (decision 0020).
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import DownloadError, EaselError
from trainer_core.events import Event, Phase, Progress
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job, list_jobs
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import LineWatch
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.models import hub_repository, tokens
from trainer_core.models.tokens import Token
from trainer_core.publishing import explained, hub, model_card
from trainer_core.tools import scrub

KIND = "upload"
COPY = "public"
"""The folder, in that of the job, with the copies that are uploaded; it is removed at the end."""
PHASES = ("Removing personal metadata", "Preparing the images", "Checking the repository", "Uploading", "Publishing")
_PROGRESS = re.compile(r"Uploaded (\d+) of (\d+) MiB")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is uploaded: a file under a name, its card, and images by their names in the repository.

    With `scrub` the file is copied without personal metadata, except for the groups and keys in `keep`. A card that the
    repository has already stays, unless `replaces_card`.
    """

    repo: str
    file: str
    name: str
    card: str
    run: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    private: bool = True
    scrub: bool = True
    keep: tuple[str, ...] = ()
    replaces_card: bool = False


def start(settings: Settings, token: Token | None = None) -> Job:
    """The job that uploads a result, started now; the token is by default the one that Easel finds.

    Raises:
        DownloadError: the name of the repository is not valid, or there is no token.
        EaselError: the file or the card cannot be uploaded, or the job cannot be started.
    """
    settings = dataclasses.replace(settings, repo=hub_repository.checked(settings.repo))
    check(settings)
    token = token or tokens.find(explained.SITE)
    if token is None:
        raise explained.without_token()
    module = __name__ if __name__ != "__main__" else "trainer_core.publishing.upload"
    job = own_program.prepared(KIND, module, settings, hub.WITHOUT, (hub.TOKEN,))
    with hub.in_environment(token):
        job.launch()
    return job


def check(settings: Settings) -> None:
    """Checks what would be uploaded.

    Raises:
        EaselError: the file is a folder or cannot be read, the card is not valid, or `keep` names something unknown.
    """
    path = places.typed(settings.file)
    if path.is_dir():
        raise DownloadError(
            f"{path.name} is a folder, and Easel uploads only single files.",
            f"Upload it with: hf upload {settings.repo} {path}",
        )
    if not path.is_file():
        raise DownloadError(f"{path.name} is no longer there.", "Choose another checkpoint.", "missing")
    if settings.name in ("", ".", "..", hub.CARD) or "/" in settings.name or settings.name.startswith("."):
        raise DownloadError(f"{settings.name!r:.80} cannot be the name of the uploaded file.", "Choose another name.")
    model_card.check(settings.card)
    if settings.scrub:
        scrub.preview(scrub.Settings(file=str(path), keep=settings.keep))


def known() -> Iterator[Job]:
    """The uploads of this machine, the newest first."""
    for job in list_jobs(places.jobs()):
        with contextlib.suppress(EaselError):
            if job.spec.kind == KIND:
                yield job


def settings_of(job: Job) -> Mapping[str, Any]:
    """The settings of an upload, as far as they can be read: its folder may come from anybody."""
    return job.folder.read(own_program.SETTINGS) or {}


# ---- the kind of job


def parse(line: str) -> Event | None:
    """The progress or the phase in a line of the program, or None."""
    text = line.strip()
    if found := _PROGRESS.fullmatch(text):
        return Progress(int(found[1]), int(found[2]))
    return Phase(text.lower()) if text in PHASES else None


def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
    """COMPLETED with the address of the repository."""
    unsaid = Diagnosis("not-uploaded", "The upload did not say how it ended.", "", "Start it again.")
    return own_program.judge(folder, exit_code, "address", unsaid)


class Upload:
    """The kind of job that uploads a result; it succeeds only if everything was published."""

    id, title = KIND, "Uploading to Hugging Face"

    def watch(self, folder: JobFolder, journal: Journal) -> LineWatch:
        """A watch that reads phases and progress from the program's lines."""
        return LineWatch(folder, journal, parse, judge)


kind = Upload()


# ---- the program


class Counted(io.BufferedReader):
    """A file whose reader is told how far it was read. huggingface_hub reads it once more to hash it, before `tell` is set."""

    tell_done: Callable[[int], None] | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        data = super().read(-1 if size is None else size)
        if self.tell_done is not None:
            self.tell_done(self.tell())
        return data


class Meter:
    """Reports how much was uploaded, in MiB and at most twice a second."""

    def __init__(self, size: int, report: Callable[[str], None]) -> None:
        self._size, self._report, self._said_s = size, report, 0.0

    def __call__(self, done: int) -> None:
        """Reports that so many bytes were read, if it is time."""
        now = time.monotonic()
        if now - self._said_s >= 0.5 or done >= self._size:
            self._said_s = now
            self._report(f"Uploaded {-(-min(done, self._size) // hub.MIB)} of {-(-self._size // hub.MIB)} MiB")


def run(settings: Settings, report: Callable[[str], None]) -> str:
    """Uploads everything in one commit and returns the address of the repository.

    Raises:
        DownloadError: Hugging Face refuses it, or the connection is lost.
        EaselError: the copies cannot be made.
        OSError: a file cannot be read or written.
    """
    repo = hub_repository.checked(settings.repo)
    copies = Path(COPY)
    copies.mkdir(exist_ok=True)
    path = _public(settings, copies, report)
    images = _images(settings, report)
    report("Checking the repository")
    with hub.explaining(repo), path.open("rb", buffering=0) as raw:
        api, has_card = hub.opened(repo, private=settings.private)
        _commit(api, settings, Counted(raw), images, report, with_card=settings.replaces_card or not has_card)
    if has_card and not settings.replaces_card:
        report(f"{repo} had a card already, which stays.")
    return hub.address(repo)


def _public(settings: Settings, copies: Path, report: Callable[[str], None]) -> Path:
    source = places.typed(settings.file)
    if not settings.scrub:
        return source
    report("Removing personal metadata")
    target = copies / "file.safetensors"
    target.unlink(missing_ok=True)
    wanted = scrub.Settings(file=str(source), target=str(target.absolute()), keep=settings.keep)
    return scrub.run(wanted, lambda _: None)


def _images(settings: Settings, report: Callable[[str], None]) -> dict[str, bytes]:
    """The images by name, without what their files say beside the pixels."""
    if not settings.images:
        return {}
    from PIL import Image

    report("Preparing the images")
    found: dict[str, bytes] = {}
    for name, path in settings.images.items():
        try:
            with Image.open(places.typed(path)) as image:
                pixels = image.convert("RGB")
        except (OSError, ValueError, Image.DecompressionBombError):
            report(f"{Path(path).name} cannot be read, so it is left out.")
            continue
        bare = Image.new("RGB", pixels.size)
        bare.paste(pixels)
        content = io.BytesIO()
        bare.save(content, "PNG")
        found[name] = content.getvalue()
    return found


def _commit(
    api: Any,
    settings: Settings,
    content: Counted,
    images: Mapping[str, bytes],
    report: Callable[[str], None],
    *,
    with_card: bool,
) -> None:
    from huggingface_hub import CommitOperationAdd

    repo = hub_repository.checked(settings.repo)
    report("Uploading")
    operations = [CommitOperationAdd(settings.name, content)]
    size = operations[0].upload_info.size
    _ = operations[0].upload_info.sha256
    content.tell_done = Meter(size, report)
    operations += [CommitOperationAdd(name, data) for name, data in images.items()]
    if with_card:
        operations.append(CommitOperationAdd(hub.CARD, settings.card.encode()))
    api.preupload_lfs_files(repo, additions=operations, num_threads=1, free_memory=False)
    report("Publishing")
    api.create_commit(repo, operations, commit_message=f"Upload {settings.name}", num_threads=1)


def main() -> int:
    """Runs the upload with the settings in the current folder; returns the exit status."""
    import shutil

    def work(settings: Settings) -> dict[str, str]:
        address = run(settings, own_program.report)
        own_program.report(f"Uploaded to {address}")
        return {"address": address}

    try:
        return own_program.run(Settings, DownloadError, work)
    finally:
        shutil.rmtree(COPY, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

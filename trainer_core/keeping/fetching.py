"""Fetches what a link leads to into a folder, as a job of its own: a model of Hugging Face or Civitai, or any file of the web.

`python -m trainer_core.keeping.fetching` is the program of such a job: it reads `settings.json` in the folder of the job. The link as
the user typed it can contain a secret, and so it is in the program's environment only, like the token of the site: neither is in that
file, in the arguments, or in the log.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trainer_core.errors import DownloadError, FilesError
from trainer_core.events import Event, Phase, Progress
from trainer_core.files import from_table
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import LineWatch
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.keeping import bounds, doubts, names, recognising, unpacking
from trainer_core.keeping.bounds import Spot
from trainer_core.models import downloads, tokens
from trainer_core.models.downloads import Link, Patience, Remote
from trainer_core.models.downloads.http import PATIENT
from trainer_core.models.downloads.links import is_model_name
from trainer_core.models.downloads.part import Part, hash_of
from trainer_core.models.downloads.progress import Meter
from trainer_core.models.downloads.transfer import Options, Transfer, check_disk
from trainer_core.text import printable

KIND = "bring"
LINK = "EASEL_BRING_LINK"
"""The variable with the link as the user typed it."""
PLACES = ("HF_ENDPOINT", "CIVITAI_ENDPOINT", "HF_HOME", "NO_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
PHASES = ("Looking what the link leads to", "Downloading", "Checking", "Unpacking")
_PROGRESS = re.compile(r"Downloaded (\d+) of (\d+) MiB")
_LAUNCHING = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is fetched, and into which folder. `link` is the link without secrets.

    Without a `root` a model goes into the folder of Models for its role. With `unpacks` a zip is unpacked, and the zip removed.
    """

    link: str
    root: str = ""
    below: str = ""
    unpacks: bool = False


def parse(text: str) -> Link:
    """The link that a user typed.

    Raises:
        DownloadError: it is none, or one that Easel does not follow.
    """
    found = downloads.parse(text.strip())
    if found is None:
        raise DownloadError(
            "This is not a link.",
            "Paste an address that begins with https://, a model of Hugging Face (org/name), or a page of Civitai.",
        )
    return found


def start(text: str, where: Spot | None = None, *, unpacks: bool = False) -> Job:
    """The job that fetches what a link leads to, started now. Without a folder a model goes to the others of its role.

    Raises:
        DownloadError: it is no link.
        FilesError: nothing can be brought into this folder.
        JobError: the job cannot be started.
    """
    link = parse(text)
    if where is not None:
        bounds.folder(where)
    root, below = (where.root.id, "/".join(where.parts)) if where is not None else ("", "")
    settings = Settings(link=link.shown, root=root, below=below, unpacks=unpacks)
    module = __name__ if __name__ != "__main__" else "trainer_core.keeping.fetching"
    secrets = _secrets(text, link)
    job = own_program.prepared(KIND, module, settings, keeps=(LINK, *_token_names(), *PLACES))
    with _in_environment(secrets):
        job.launch()
    return job


def run(settings: Settings, report: Callable[[str], None], text: str = "", patience: Patience = PATIENT) -> Path:
    """Fetches it, and returns where it is. `text` is the link with its secrets.

    Raises:
        DownloadError: it cannot be fetched; what has arrived is kept for the next time.
        FilesError: the folder lies outside, or a zip cannot be unpacked.
    """
    link = parse(text or settings.link)
    where = bounds.spot(settings.root, settings.below) if settings.root else None
    report("Looking what the link leads to")
    remote = downloads.resolve(link, patience=patience)
    size = f", {remote.size_bytes / 1e9:.2f} GB" if remote.size_bytes is not None else ""
    report(f"{link.shown} leads to {printable(remote.name, 200)}{size}.")
    told = _Told(report)
    if remote.is_folder or is_model_name(remote.files[0].name):
        folder = bounds.folder(where) if where is not None else None
        path = downloads.download(remote, folder, progress=told, patience=patience)
    else:
        path = _fetch_plain(remote, bounds.folder(where or bounds.Spot(bounds.root("models"))), told, patience)
    if path.is_file():
        checked = " It is the one that the site gives." if remote.sha256 else ""
        report(f"Its SHA-256 is {hash_of(path, None, lambda _: None).hexdigest()}.{checked}")
    spot = bounds.named(str(path))
    if (found := recognising.recognise(spot)) is not None:
        report(found.told)
    if settings.unpacks and unpacking.is_zip(spot):
        report("Unpacking")
        made = unpacking.unpack(spot)
        path.unlink()
        report(made.told)
        for note in made.notes:
            report(note)
        return made.spot.path
    if problem := doubts.doubt(spot):
        report(problem)
    return path


class Fetching:
    """The kind of job that fetches what a link leads to; it succeeds only if it is complete."""

    id, title = KIND, "Fetching a link"

    def begin(self, arguments: Mapping[str, str]) -> Job:
        """The job with the settings in these arguments, started now.

        Raises:
            EaselError: a setting is unknown or missing, it is no link, or the job cannot be started.
        """
        settings = from_table(Settings, arguments, "The download", FilesError)
        where = bounds.spot(settings.root, settings.below) if settings.root else None
        return start(settings.link, where, unpacks=settings.unpacks)

    def watch(self, folder: JobFolder, journal: Journal) -> LineWatch:
        """A watch that reads phases and progress from the program's lines."""
        return LineWatch(folder, journal, parse_line, judge)


kind = Fetching()


def parse_line(line: str) -> Event | None:
    """The progress or the phase in a line of the program, or None."""
    text = line.strip()
    if found := _PROGRESS.fullmatch(text):
        return Progress(int(found[1]), int(found[2]))
    return Phase(text.lower()) if text in PHASES else None


def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
    """COMPLETED with the path of what was fetched."""
    unsaid = Diagnosis("not-fetched", "The link was not fetched.", "", "Start it again: it goes on where it stopped.")
    return own_program.judge(folder, exit_code, "path", unsaid)


def main() -> int:
    """Runs the program with the settings in the current folder; returns the exit status."""
    text = os.environ.pop(LINK, "")

    def work(settings: Settings) -> dict[str, str]:
        path = run(settings, own_program.report, text)
        own_program.report(f"It is in {path}")
        return {"path": str(path)}

    return own_program.run(Settings, FilesError, work)


# ---- inside


class _Told:
    """Reports the progress of a download, at most twice a second."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report, self._said_s, self._phase = report, 0.0, ""

    def __call__(self, now: downloads.Progress) -> None:
        phase = now.doing.capitalize()
        if phase != self._phase and phase in PHASES:
            self._phase = phase
            self._report(phase)
        clock = time.monotonic()
        if now.total_bytes and (clock - self._said_s >= 0.5 or now.done_bytes >= now.total_bytes):
            self._said_s = clock
            self._report(f"Downloaded {now.done_bytes >> 20} of {max(now.total_bytes >> 20, 1)} MiB")


def _fetch_plain(remote: Remote, folder: Path, told: _Told, patience: Patience) -> Path:
    """Fetches a file that is not a model, under a free name."""
    file = remote.files[0]
    meter = Meter(told, remote.size_bytes)
    try:
        check_disk(folder, file.size_bytes or 0, Options().disk_floor_bytes, printable(remote.name, 200))
        with Part(folder, file) as part:
            Transfer(remote.asked(file), file, part, Options(patience), meter.at).run()
            path = names.take(folder / file.name, part.finish)
    except OSError as error:
        raise DownloadError(
            f"{printable(str(folder), 200)} cannot be written: {error.strerror or error}.",
            "Free some space, then start it again to continue where it stopped.",
            "disk",
        ) from error
    meter.finish()
    return path


def _secrets(text: str, link: Link) -> dict[str, str]:
    """The variables with which the program gets the link and the token of its site."""
    found = {LINK: text}
    if link.token is None and link.site in tokens.SITES and (token := tokens.find(link.site)) is not None:
        found[tokens.SITES[link.site].names[0]] = token.header()["Authorization"].removeprefix("Bearer ")
    return found


def _token_names() -> tuple[str, ...]:
    return tuple(site.names[0] for site in tokens.SITES.values())


@contextlib.contextmanager
def _in_environment(variables: dict[str, str]) -> Iterator[None]:
    """Puts variables where the program inherits them, for as long as its supervisor is being started."""
    with _LAUNCHING:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def settings_of(job: Job) -> Settings | None:
    """The settings of such a job; None if they cannot be read: its folder may come from anybody."""
    found = job.folder.read(own_program.SETTINGS) or {}
    link = found.get("link")
    return (
        replace(Settings(link=printable(link, 300)), root=str(found.get("root", ""))) if isinstance(link, str) else None
    )


if __name__ == "__main__":
    sys.exit(main())

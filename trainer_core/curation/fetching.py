"""Fetches what a link to a dataset leads to: an archive on the web, or the images, captions and archives of a repository on the Hub.

It arrives in a folder of Easel's own, and stays there until it has come into a dataset: after a lost connection or the end of
Easel, the same link goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

from trainer_core import places
from trainer_core.curation import tars
from trainer_core.curation.unpacking import IMAGES, TABLES, TEXTS, USUAL, Limits
from trainer_core.errors import DatasetCancelled, DatasetError, DownloadCancelled, DownloadError
from trainer_core.models.downloads import huggingface, links, names, web
from trainer_core.models.downloads.http import BRIEF, PATIENT, Patience, is_local, keep_trying
from trainer_core.models.downloads.links import Link
from trainer_core.models.downloads.part import Part
from trainer_core.models.downloads.progress import Meter, Progress
from trainer_core.models.downloads.remote import Remote, RemoteFile
from trainer_core.models.downloads.transfer import DISK_FLOOR_BYTES, Options, Transfer, check_disk
from trainer_core.text import printable, size

AT_ONCE = 4
"""How many files of a repository are fetched at the same time."""
KEPT_S = 7 * 24 * 3600.0
"""How long the parts of a broken transfer are kept."""
FILES, PACKED = "files", "packed"
_DATASET = re.compile(r"(?P<before>(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/|hf:/*|)datasets/(?=[^/]+/[^/])", re.IGNORECASE)  # fmt: skip
_PARQUET = (".parquet", ".arrow")


@dataclass(frozen=True)
class Found:
    """What a link leads to: the files that would be fetched, and the names of those that would not, with reasons."""

    remote: Remote
    origin: str
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def told(self) -> str:
        """How many files there are, and how large they are."""
        count = len(self.remote.files)
        known = f", {size(self.remote.size_bytes)}" if self.remote.size_bytes is not None else ""
        return f"{count:,} {'file' if count == 1 else 'files'}{known}"


@dataclass(frozen=True)
class Fetched:
    """What has arrived: the folder and the archives to import, and whence they come."""

    sources: tuple[Path, ...]
    origin: str
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Way:
    """How a transfer is made: waiting times, limits, who hears how far it is, and the event that stops it."""

    patience: Patience = PATIENT
    limits: Limits = USUAL
    progress: Callable[[Progress], None] | None = None
    cancel: threading.Event | None = None
    disk_floor_bytes: int = DISK_FLOOR_BYTES
    keeps: bool = False
    """Whether what was fetched stays for the next time, because it was only looked at."""


USUALLY = Way()


def parse(text: str) -> Link | None:
    """The link to a dataset in a text; None where the text is a path on this machine.

    Known are the address of a zip or tar, and a dataset on the Hub: org/name, hf:datasets/org/name, or the address of its page,
    of a folder or a file in it.

    Raises:
        DownloadError: it is a link of a kind that Easel does not follow.
    """
    if places.is_there(places.typed(text)):
        return None
    plain = _on_hub(text.strip())
    link = links.parse(plain if plain is not None else text)
    if link is None:
        return None
    if link.site == "huggingface":
        if plain is None and "://" in text:
            raise DownloadError(
                f"{link.shown} is the page of a model.", "The address of a dataset has /datasets/ in it.", "link"
            )
        return replace(link, shown=link.shown.replace("hf:", "hf:datasets/", 1))
    if link.site != "web":
        raise DownloadError(
            f"{link.shown} is not a dataset.", "Use the address of a zip, or a dataset on the Hub.", "link"
        )
    parts = urlsplit(link.url)
    if parts.scheme != "https" and not is_local(parts.hostname or ""):
        raise DownloadError(f"{link.shown} is not encrypted.", "Use its address with https://.", "link")
    return link


def _on_hub(text: str) -> str | None:
    """The text as a link to a model of the same name, which is read in the same way; None if it names no dataset on the Hub."""
    if found := _DATASET.match(text):
        before = found["before"]
        return (before or "hf:") + text[found.end() :]
    endpoint = links.hugging_face_endpoint()
    if text.startswith(f"{endpoint}/datasets/"):
        return f"{endpoint}/{text.removeprefix(f'{endpoint}/datasets/')}"
    return None


def look(link: Link, way: Way = USUALLY) -> Found:
    """What a link leads to; nothing is fetched.

    Raises:
        DownloadError: there is nothing that Easel can import, it is too much, or access is refused.
    """
    brief = replace(way.patience, attempts=min(way.patience.attempts, BRIEF.attempts))
    found = _repository(link, brief, way.cancel) if link.site == "huggingface" else _archive(link, brief, way.cancel)
    if len(found.remote.files) > way.limits.entries:
        raise DownloadError(f"{link.shown} has {len(found.remote.files):,} files; {way.limits.entries:,} are the most.", "", "content")  # fmt: skip
    if (found.remote.size_bytes or 0) > way.limits.total_bytes:
        raise DownloadError(
            f"{link.shown} has {size(found.remote.size_bytes or 0)}; {size(way.limits.total_bytes)} are the most.",
            "Choose a folder of it.",
            "content",
        )
    return found


@contextlib.contextmanager
def fetched(found: Found, way: Way = USUALLY) -> Iterator[Fetched]:
    """What the link leads to, on this machine. It is removed after the block, unless the block fails.

    Raises:
        DownloadError: it does not arrive; what has arrived stays for the next time.
    """
    _forget_old()
    key = hashlib.sha256("\n".join(file.url for file in found.remote.files).encode()).hexdigest()[:16]
    folder = places.incoming() / f"link-{key}"
    # The lock of the folder: an empty part file that is never renamed.
    with _written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = Part(folder, RemoteFile("folder", key))
    with lock:
        with _written(folder):
            sources = _Arriving(found, folder, way).all()
        try:
            yield Fetched(sources, found.origin, found.left_out)
        except DatasetCancelled:
            raise
        except DatasetError as error:
            # What cannot be imported would not be fetched anew; a full disk is not its fault.
            if not isinstance(error.__cause__, OSError):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if way.keeps:
            return
        lock.discard()
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[None]:
    """A block that writes into the folder: its errors are sentences."""
    try:
        yield
    except OSError as error:
        message = f"{printable(str(folder), 200)} cannot be written: {error.strerror or error}."
        raise DownloadError(
            message, "Free some space, then start it again to continue where it stopped.", "disk"
        ) from error


def _forget_old() -> None:
    """Removes what broken transfers have left long ago."""
    with contextlib.suppress(OSError):
        for folder in places.incoming().glob("link-*"):
            newest = max((one.stat().st_mtime for one in (folder, *folder.iterdir())), default=0.0)
            if folder.is_dir() and not folder.is_symlink() and time.time() - newest > KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)


# ---- what there is ----
def _archive(link: Link, patience: Patience, cancel: threading.Event | None) -> Found:
    remote = web.resolve(link, patience, cancel)
    name = remote.files[0].name
    if not _is_packed(name) and PurePosixPath(name).suffix.casefold() not in IMAGES | TEXTS | TABLES:
        # The address may not say it; its content is looked at when it is here.
        name = f"{PurePosixPath(name).stem or 'archive'}.zip"
    return Found(replace(remote, files=(replace(remote.files[0], name=name),)), link.shown)


def _repository(link: Link, patience: Patience, cancel: threading.Event | None) -> Found:
    endpoint = links.hugging_face_endpoint()
    page = f"{endpoint}/datasets/{link.repo}"
    commit, files = keep_trying(
        lambda: huggingface.listing(link, endpoint, page, patience, of_dataset=True), patience, cancel
    )
    below = f"{link.path}/" if link.path and link.path not in files else ""
    inside = {path: said for path, said in files.items() if path == link.path or path.startswith(below or "\0")} if link.path else files  # fmt: skip
    url = f"{page}/resolve/{quote(commit, safe='')}"
    chosen, left = [], []
    for path, (length, sha256) in sorted(inside.items()):
        name = path.removeprefix(below) if below else path.rpartition("/")[2] if path == link.path else path
        if not names.safe_path(path):
            left.append((printable(path, 200), "its name cannot be that of a file on every system"))
        elif PurePosixPath(name).suffix.casefold() in IMAGES | TEXTS | TABLES or _is_packed(name):
            chosen.append(RemoteFile(name, f"{url}/{quote(path)}", length, sha256))
        elif not name.startswith(".") and name.casefold() != "readme.md":
            left.append((printable(path, 200), "it is neither an image, a caption, nor an archive"))
    if not any(PurePosixPath(file.name).suffix.casefold() in IMAGES or _is_packed(file.name) for file in chosen):
        raise _without_images(link, list(inside))
    remote = Remote("huggingface", link.repo.rpartition("/")[2], tuple(chosen), True, page, link.token)
    return Found(remote, link.shown, tuple(left))


def _without_images(link: Link, paths: Sequence[str]) -> DownloadError:
    if not paths:
        return DownloadError(f"There is no {link.shown}.", "Check the link.", "missing")
    if any(path.endswith(_PARQUET) for path in paths):
        return DownloadError(
            f"{link.shown} keeps its images in Parquet files, which Easel does not read.",
            "Load it with the `datasets` library in an environment of your own, save its images and captions as files, and import that folder.",
            "content",
        )
    return DownloadError(f"{link.shown} contains no image and no zip or tar.", "Check the link.", "content")


def _is_packed(name: str) -> bool:
    return name.casefold().endswith(".zip") or tars.has_name(name)


# ---- fetching ----
@dataclass
class _Arriving:
    """The files of one link, as they arrive in a folder."""

    found: Found
    folder: Path
    way: Way
    done: dict[str, int] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _total: int = 0

    def all(self) -> tuple[Path, ...]:
        """The folder with the single files, and the archives."""
        self.meter = Meter(self.way.progress, self.found.remote.size_bytes)
        files = self.found.remote.files
        here = [file for file in files if self._is_here(file)]
        self.done |= {file.name: file.size_bytes or 0 for file in here}
        self._total = sum(self.done.values())
        missing = sum(file.size_bytes or 0 for file in files if file not in here)
        check_disk(self.folder, missing, self.way.disk_floor_bytes, self.found.remote.name)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            tasks = [pool.submit(self._one, file) for file in files if file not in here]
            is_done = False
            try:
                for task in tasks:
                    task.result()
                is_done = True
            finally:
                if not is_done:
                    # The others stop as well, and keep what they have.
                    self.stop.set()
                    pool.shutdown(wait=True, cancel_futures=True)
        self.meter.finish()
        packed = sorted(
            one for one in (self.folder / PACKED).rglob("*") if one.is_file() and not one.name.startswith(".")
        )
        single = [self.folder / FILES] if (self.folder / FILES).is_dir() else []
        return (*single, *packed)

    def _place(self, file: RemoteFile) -> Path:
        return self.folder / (PACKED if _is_packed(file.name) else FILES) / file.name

    def _is_here(self, file: RemoteFile) -> bool:
        """Whether an earlier call has fetched a file; it got its name only when it was complete."""
        place = self._place(file)
        is_any_size = file.size_bytes is None or not file.is_size_exact
        return place.is_file() and (is_any_size or place.stat().st_size == file.size_bytes)

    def _one(self, file: RemoteFile) -> None:
        if self.stop.is_set() or (self.way.cancel is not None and self.way.cancel.is_set()):
            raise DownloadCancelled
        options = Options(self.way.patience, self.way.disk_floor_bytes, self.way.cancel)
        place = self._place(file)
        with Part(place.parent, file) as part:
            asked = self.found.remote.asked(file)
            Transfer(asked, file, part, options, lambda done, doing: self._tell(file, done, doing)).run()
            part.finish(place)

    def _tell(self, file: RemoteFile, done: int, doing: str) -> None:
        if self.stop.is_set():
            raise DownloadCancelled
        limits = self.way.limits
        with self._guard:
            total = self._counted(file.name, done)
            self.meter.at(total, doing)
        most = limits.total_bytes if _is_packed(file.name) else limits.file_bytes
        if done > most or total > limits.total_bytes:
            raise DownloadError(f"{printable(file.name, 200)} is larger than {size(most)}, which is the most.", "", "content")  # fmt: skip

    def _counted(self, name: str, done: int) -> int:
        """The bytes of all files that are here, after those of one have changed."""
        self._total += done - self.done.get(name, 0)
        self.done[name] = done
        return self._total

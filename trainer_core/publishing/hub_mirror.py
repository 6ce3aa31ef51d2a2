"""Sends what a run has made to a repository on Hugging Face, also while it runs. What is sent is decided by `training.mirror_files`.

`python -m trainer_core.publishing.hub_mirror RUN hf://OWNER/NAME/FOLDER` makes one pass, and ends. The token is in the environment only.
A file counts only when the list of the repository has its SHA-256, or for a small one its git id. mirror-hub.json of the run folder
has the places that were chosen, and the files in each; `.easel-mirror.json` in such a place names the run. What the run has not
written is never replaced, and nothing is deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer_core import hub_switch
from trainer_core.errors import DownloadError, RunError
from trainer_core.files import open_own
from trainer_core.jobs.alone import alone
from trainer_core.jobs.folder import json_text
from trainer_core.models import hub_repository
from trainer_core.models.hub_repository import Place
from trainer_core.publishing import hub
from trainer_core.publishing.hub_list import files_below
from trainer_core.publishing.upload import Counted
from trainer_core.text import printable
from trainer_core.training.folder import MIRROR_LOG, RunFolder
from trainer_core.training.mirror import BYTES_A_SECOND, Pace, Pass
from trainer_core.training.mirror import main as one_pass
from trainer_core.training.mirror_files import RECORDS, File, files
from trainer_core.training.mirror_notes import forget, open_log
from trainer_core.training.mirror_place import MARKER, MOST_FOLDERS, read_record

RECORD = "mirror-hub.json"
MOST_FILES, MOST_BYTES = 50, 2 << 30
"""After so many files, or bytes, what was sent is committed."""
LARGEST_RECORD_BYTES = 256 << 20
"""A record of a run grows while it is sent, so it is read whole before."""
_BLOCK = 1 << 20


@dataclass
class _Sent:
    """A file of the next commit: its operation, where its content is, and what is known of it."""

    file: File
    row: dict[str, Any]
    operation: Any
    content: io.BufferedIOBase

    @property
    def git_id(self) -> str:
        """The id that git gives the content."""
        self.content.seek(0)
        digest = hashlib.sha1(b"blob %d\0" % self.row["size"], usedforsecurity=False)
        while block := self.content.read(_BLOCK):
            digest.update(block)
        return digest.hexdigest()


@dataclass
class _Pass:
    """One pass to one place: the repository as it is now, and what was done."""

    run: RunFolder
    api: Any
    repo: str
    pace: Pace
    known: dict[str, Any]
    head: str = ""
    base: str = ""
    tree: dict[str, Any] = field(default_factory=dict)
    entry: dict[str, Any] = field(default_factory=dict)
    copied: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    there: int = 0


def mirror(run: RunFolder, target: str, bytes_a_second: float = BYTES_A_SECOND) -> Pass:
    """Sends what a run has made and is not yet in a place on the Hub; a repository that is missing is created, as a private one.

    Raises:
        DownloadError: there is no token, the Hub refuses something, or the place is not this run's. The next pass sends what is missing.
        RunError: a file of the run cannot be read.
    """
    place = hub_repository.place(target)
    if hub_switch.is_off():
        raise DownloadError(
            "The Hub is switched off, so nothing was sent.",
            f"Unset {' and '.join(hub_switch.SWITCHES)}, and mirror again.",
            "offline",
        )
    with contextlib.suppress(OSError):
        open_log(run).close()
    with alone(run.path / MIRROR_LOG):
        try:
            # Inside: what huggingface_hub raises are OSErrors, too.
            with hub.explaining(place.repo):
                done = _passed(run, place, bytes_a_second)
        except OSError as error:
            where = printable(str(error.filename or run.path), 300)
            raise RunError(f"{where}: {error.strerror or error}.", "What was sent before stays.") from error
    if not done.left:
        forget(run, target)
    return done


def _passed(run: RunFolder, place: Place, bytes_a_second: float) -> Pass:
    now = _Pass(run, _opened(place.repo), place.repo, Pace(bytes_a_second), read_record(run, RECORD))
    now.head = now.api.model_info(place.repo).sha
    _find(now, place)
    waiting: list[_Sent] = []
    with contextlib.ExitStack() as opened:
        for file in files(run):
            if (sent := _prepared(now, file, opened)) is not None:
                waiting.append(sent)
            if len(waiting) >= MOST_FILES or sum(each.row["size"] for each in waiting) >= MOST_BYTES:
                _commit(now, waiting)
                waiting.clear()
                opened.close()
        _commit(now, waiting)
    uri = f"{hub_repository.SCHEME}{place.repo}/{now.base}"
    return Pass(uri, tuple(now.copied), now.there, tuple(now.left))


def _opened(repo: str) -> Any:
    try:
        return hub.opened(repo, private=True)[0]
    except DownloadError as error:
        if error.kind != "taken":
            raise
        raise DownloadError(
            f"{repo} is public, so everybody would see the samples, prompts and log of the run. Nothing was sent.",
            "Make it private in its settings on Hugging Face, or choose another one.",
            "taken",
        ) from None


def _find(now: _Pass, place: Place) -> None:
    """Finds the folder of this run at a place: that of an earlier pass, or one with nothing in it.

    Raises:
        DownloadError: the folder of an earlier pass has no marker any more, or that of another run; or all names are taken.
    """
    if not now.known["targets"]:
        # Before the first marker: if this is ended in between, the next pass knows its own.
        now.run.write(RECORD, now.known)
    for number in range(1, MOST_FOLDERS + 1):
        name = now.run.path.name if number == 1 else f"{now.run.path.name}-{number}"
        now.base = f"{place.folder}/{name}/".lstrip("/")
        now.tree = files_below(now.api, now.repo, now.base.rstrip("/"), now.head)
        entry = _entry(now.known["targets"].get(f"{place.repo}/{now.base}"))
        is_marked = _is_marked(now)
        if entry["is_marked"] and not is_marked:
            raise _not_ours(now)
        if is_marked or not now.tree:
            now.entry = now.known["targets"][f"{place.repo}/{now.base}"] = entry
            entry["is_marked"] = is_marked
            return
    raise DownloadError(
        f"In {printable(place.uri, 300)} {MOST_FOLDERS} folders with the name of this run belong to others, and nothing was sent.",
        "Choose another place.",
        "taken",
    )


def _entry(found: Any) -> dict[str, Any]:
    rows = found.get("files") if isinstance(found, dict) else None
    good = rows.items() if isinstance(rows, dict) else ()
    return {
        "is_marked": isinstance(found, dict) and found.get("is_marked") is True,
        "files": {name: row for name, row in good if isinstance(row, dict)},
    }


def _mark(known: Mapping[str, Any]) -> bytes:
    return json_text({"id": known["id"], "run": known["run"]}).encode()


def _is_marked(now: _Pass) -> bool:
    found, mark = now.tree.get(now.base + MARKER), _mark(now.known)
    git_id = hashlib.sha1(b"blob %d\0" % len(mark) + mark, usedforsecurity=False).hexdigest()
    return found is not None and _proof(found) in (git_id, hashlib.sha256(mark).hexdigest())


def _not_ours(now: _Pass) -> DownloadError:
    shown = printable(f"{hub_repository.SCHEME}{now.repo}/{now.base}", 300)
    if now.base + MARKER in now.tree:
        return DownloadError(
            f"{shown} is the mirror of another run, as {MARKER} in it says, and nothing was sent.",
            f"Choose another place. Or delete {RECORD} in the run folder: this run then gets a folder of its own.",
            "taken",
        )
    return DownloadError(
        f"{shown}, which this run has mirrored to before, no longer has the file {MARKER} that says so, and nothing was sent.",
        f"Choose another place. If you deleted it, delete {RECORD} in the run folder too.",
        "missing",
    )


def _proof(found: Any) -> str:
    """What the Hub says about the content of a file: the SHA-256 of a large one, the git id of another one."""
    return found.lfs.sha256 if found.lfs is not None else found.blob_id


def _prepared(now: _Pass, file: File, opened: contextlib.ExitStack) -> _Sent | None:
    """A file for the next commit; None if it is there, or is left out."""
    from huggingface_hub import CommitOperationAdd

    path, rows = now.run.path / file.source, now.entry["files"]
    try:
        about = path.stat()
    except FileNotFoundError:
        # An engine that keeps only the newest checkpoints has deleted it.
        return None
    found, row = now.tree.get(now.base + file.name), rows.get(file.name)
    is_of_now = row is not None and (row.get("size"), row.get("mtime_ns")) == (about.st_size, about.st_mtime_ns)
    if found is not None and row is not None and is_of_now and row.get("proof") == _proof(found):
        now.there += 1
        return None
    if any("\ud800" <= letter <= "\udfff" for letter in file.name):
        return _left(now, file, "its name is not UTF-8, which a name on the Hub must be.")
    if found is not None and row is None:
        return _left(now, file, "something that the mirror has not written has this name there; rename or delete it.")
    if file.name in RECORDS and about.st_size > LARGEST_RECORD_BYTES:
        return _left(now, file, f"it has more than {LARGEST_RECORD_BYTES >> 20} MiB, which no such record needs.")
    raw = opened.enter_context(open_own(path))
    if file.name in RECORDS:
        data = raw.read(LARGEST_RECORD_BYTES)
        content: io.BufferedIOBase = io.BytesIO(data)
        operation = CommitOperationAdd(now.base + file.name, data)
    else:
        content = opened.enter_context(Counted(io.FileIO(os.dup(raw.fileno()))))
        operation = CommitOperationAdd(now.base + file.name, content)
    size = operation.upload_info.size
    sha256 = operation.upload_info.sha256
    if isinstance(content, Counted):
        content.tell_done = _Slow(now.pace)
    return _Sent(file, {"size": size, "mtime_ns": about.st_mtime_ns, "sha256": sha256.hex()}, operation, content)


def _left(now: _Pass, file: File, why: str) -> None:
    now.left.append(f"{printable(file.name, 200)}: {why}")


class _Slow:
    """Waits while a file is read for its transfer, so that no more than so many bytes a second are sent."""

    def __init__(self, pace: Pace) -> None:
        self._pace, self._done = pace, 0

    def __call__(self, done: int) -> None:
        """Counts what was read since the last call; a transfer that begins anew is counted from there."""
        self._pace.add(max(0, done - self._done))
        self._done = done


def _commit(now: _Pass, waiting: list[_Sent]) -> None:
    """Sends files in one commit, and compares what the repository then has.

    Raises:
        DownloadError: the Hub has another content than the files.
    """
    from huggingface_hub import CommitOperationAdd

    if not waiting:
        return
    rows = now.entry["files"]
    for each in waiting:
        # Before: if this is ended in between, the next pass still knows whose the file is, and compares it again.
        rows[each.file.name] = {"size": each.row["size"], "sha256": each.row["sha256"]}
    now.run.write(RECORD, now.known)
    operations = [each.operation for each in waiting]
    now.api.preupload_lfs_files(now.repo, additions=operations, num_threads=1, free_memory=False)
    if not now.entry["is_marked"]:
        operations = [CommitOperationAdd(now.base + MARKER, _mark(now.known)), *operations]
    # Refused if somebody else has changed the repository since it was listed.
    made = now.api.create_commit(
        now.repo, operations, commit_message=f"Mirror {now.run.path.name}", num_threads=1, parent_commit=now.head
    )
    now.head = made.oid
    now.tree = files_below(now.api, now.repo, now.base.rstrip("/"), now.head)
    now.entry["is_marked"] = _is_marked(now)
    for each in waiting:
        _prove(now, each)
    now.run.write(RECORD, now.known)


def _prove(now: _Pass, sent: _Sent) -> None:
    found = now.tree.get(now.base + sent.file.name)
    if found is None:
        _left(now, sent.file, "the repository does not keep it; look at its .gitignore.")
        return
    proof = _proof(found)
    if proof != (sent.row["sha256"] if found.lfs is not None else sent.git_id):
        raise DownloadError(
            f"{printable(sent.file.name, 200)} in {now.repo} is not the same as the file.",
            "Mirror again: it is then sent anew.",
            "content",
        )
    now.entry["files"][sent.file.name] = {**sent.row, "proof": proof}
    now.copied.append(sent.file.name)


def main() -> int:
    """Makes one pass with the run and the place in the arguments; returns the exit status."""
    # Before huggingface_hub is loaded, which reads them then.
    os.environ.update(hub.WITHOUT)
    return one_pass(sys.argv[1:], mirror)


if __name__ == "__main__":
    sys.exit(main())

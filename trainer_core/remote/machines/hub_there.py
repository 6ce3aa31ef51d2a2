"""Downloads a model file from the Hub to the store of this machine, with this machine's own access to the Hub."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from typing import Any

from trainer_core.errors import DownloadError, JobError
from trainer_core.models.downloads.progress import Progress
from trainer_core.remote.machines.names import check_name, check_sha256, check_size
from trainer_core.remote.machines.store import Store

FOLDER = "hub"


class Fetching:
    """One download, which a thread does while questions are answered. It ends with this process; the next goes on from its part."""

    def __init__(self, about: Mapping[str, Any], store: Store) -> None:
        """Starts it."""
        self.sha256, self._size = check_sha256(about["sha256"]), check_size(about["size"])
        self._repo, self._revision = check_name(about["repo"]), check_name(about["revision"])
        self._path, self._store = check_name(about["path"]), store
        self.done_bytes, self.failed, self.is_over = 0, "", False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._fetch()
        except (DownloadError, JobError) as error:
            self.failed = str(error)
        except OSError as error:
            self.failed = f"{error.strerror or error}."
        finally:
            self.is_over = True

    def _fetch(self) -> None:
        from trainer_core.models.downloads import Remote, download
        from trainer_core.models.downloads.huggingface import chosen

        found = chosen(self._repo, [self._path], self._revision)
        (file,) = found.files
        if file.sha256 != self.sha256:
            raise JobError("The Hub has another file under this name.")
        folder = self._store.folder / FOLDER / self.sha256
        one = Remote("huggingface", self._path.rpartition("/")[2], (file,), page=found.page, token=found.token)
        path = download(one, folder, progress=self._tell)
        self._store.take(path, self.sha256, self._size)
        shutil.rmtree(folder, ignore_errors=True)

    def _tell(self, progress: Progress) -> None:
        self.done_bytes = progress.done_bytes


_RUNNING: dict[str, Fetching] = {}


def answer(about: Mapping[str, Any], _body: bytes) -> tuple[dict[str, Any], bytes]:
    """How the download goes, which is started with the first question."""
    sha256 = check_sha256(about["sha256"])
    if sha256 not in _RUNNING:
        _RUNNING[sha256] = Fetching(about, Store.own())
    found = _RUNNING[sha256]
    if found.is_over:
        del _RUNNING[sha256]
    return {"done": found.done_bytes, "is_over": found.is_over, "refused": found.failed}, b""


ACTIONS = {"hub": answer}

"""Downloads named files of a repository into a folder, whatever they are: models in forms that Easel does not read, and lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from trainer_core.errors import DownloadError
from trainer_core.models.downloads.part import Part
from trainer_core.models.downloads.progress import Meter, Progress
from trainer_core.models.downloads.remote import Remote
from trainer_core.models.downloads.transfer import Options, Transfer, check_disk
from trainer_core.text import printable

UNTOLD = Options()


def fetch(
    remote: Remote, folder: Path, tell: Callable[[Progress], None] | None = None, options: Options = UNTOLD
) -> None:
    """Fetches the files of a remote folder that are not in `folder` yet, each complete, with the hash that the site says.

    A file that is there with another size is fetched again. What has arrived of an interrupted one is kept.

    Raises:
        DownloadError: a file does not arrive, or cannot be written.
    """
    meter = Meter(tell, remote.size_bytes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        missing = [file for file in remote.files if not _is_there(folder / file.name, file.size_bytes)]
        needed = sum(file.size_bytes or 0 for file in missing)
        check_disk(folder, needed, options.disk_floor_bytes, printable(remote.name, 200))
        meter.before_bytes = 0
        for file in remote.files:
            path = folder / PurePosixPath(file.name)
            if file in missing:
                with Part(path.parent, file) as part:
                    Transfer(remote.asked(file), file, part, options, meter.at).run()
                    path.unlink(missing_ok=True)
                    part.finish(path)
            meter.before_bytes += path.stat().st_size
    except OSError as error:
        raise DownloadError(
            f"{printable(str(folder), 300)} cannot be written: {error.strerror or error}.", "Check the disk.", "disk"
        ) from error


def _is_there(path: Path, size_bytes: int | None) -> bool:
    return path.is_file() and (size_bytes is None or path.stat().st_size == size_bytes)

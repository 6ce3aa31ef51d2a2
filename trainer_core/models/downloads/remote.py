"""The files that a link leads to, with their sizes and hashes where the site gives them."""

from __future__ import annotations

from dataclasses import dataclass, field

from trainer_core.models.downloads.http import Asked
from trainer_core.models.tokens import Token


@dataclass(frozen=True)
class RemoteFile:
    """One file of a remote model. `name` is its path inside the folder, or its file name; `sha256` is "" if unknown.

    `is_size_exact` is False where a site rounds the size: it is then used only to check the disk space.
    """

    name: str
    url: str = field(repr=False)
    size_bytes: int | None = None
    sha256: str = ""
    is_size_exact: bool = True


@dataclass(frozen=True)
class Remote:
    """A remote model: one file, or the files of one folder. `name` is its name after the download.

    `page` is its web page for the user, "" if there is none.
    """

    site: str
    name: str
    files: tuple[RemoteFile, ...]
    is_folder: bool = False
    page: str = ""
    token: Token | None = None

    @property
    def size_bytes(self) -> int | None:
        """The size of all files in bytes; None if one is unknown."""
        sizes = [file.size_bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def sha256(self) -> str:
        """The SHA-256 of a model of one file; "" if unknown."""
        return "" if self.is_folder else self.files[0].sha256

    def asked(self, file: RemoteFile) -> Asked:
        """The request for one of the files."""
        return Asked(file.url, file.name, self.page, self.token)

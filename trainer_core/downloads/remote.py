"""What a link leads to: the files to fetch, with their sizes and hashes where the site knows them."""

from __future__ import annotations

from dataclasses import dataclass, field

from trainer_core.downloads.http import Asked
from trainer_core.tokens import Token


@dataclass(frozen=True)
class RemoteFile:
    """One file of a remote model. `name` is its path inside the folder, or its file name; `sha256` is "" if not known.

    `is_size_exact` is False where a site rounds: the size is then for the disk only.
    """

    name: str
    url: str = field(repr=False)
    size_bytes: int | None = None
    sha256: str = ""
    is_size_exact: bool = True


@dataclass(frozen=True)
class Remote:
    """A model that lies elsewhere: one file, or the files of one folder, under the name it gets here.

    `page` is where a person sees it, "" if there is none.
    """

    site: str
    name: str
    files: tuple[RemoteFile, ...]
    is_folder: bool = False
    page: str = ""
    token: Token | None = None

    @property
    def size_bytes(self) -> int | None:
        """The bytes of all files; None if one is not known."""
        sizes = [file.size_bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def sha256(self) -> str:
        """The hash of a model of one file; "" if not known."""
        return "" if self.is_folder else self.files[0].sha256

    def asked(self, file: RemoteFile) -> Asked:
        """The request for one of the files."""
        return Asked(file.url, file.name, self.page, self.token)

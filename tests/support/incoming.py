"""Files that come into a dataset: small images, a zip of some, and what a dataset has."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from PIL import Image

from trainer_core.curation import contents


def png(colour: object, size: tuple[int, int] = (8, 8)) -> bytes:
    """A PNG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def packed(*entries: tuple[str, bytes]) -> bytes:
    """A zip of (name, content)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


ZIP = packed(("set/a.png", png("red")), ("set/a.txt", b"red"))


def files(root: Path) -> list[str]:
    """The files of a dataset, without those of Easel's own."""
    return sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and contents.OWN not in path.relative_to(root).parts
    )


def folder(path: Path, **content: bytes | str) -> Path:
    """A folder with these files."""
    for name, data in content.items():
        place = path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path

"""Makes file names from servers safe to write into a folder."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from trainer_core.text import printable

LONGEST_BYTES = 180
"""File systems allow 255 bytes; the name of the part file is longer than that of the file."""

# Source: "Naming Files, Paths, and Namespaces" in Microsoft's documentation; a shared folder may be on such a system.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]')
_EXTENDED = re.compile(r"filename\*\s*=\s*\"?([\w-]+)'[^']*'([^;\"]+)", re.IGNORECASE)
_PLAIN = re.compile(r"filename\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^;\s]+))", re.IGNORECASE)


def safe(name: str) -> str:
    """The last part of a name from a server, safe for any folder: not hidden, reserved or too long; "" if nothing is left."""
    last = re.split(r"[/\\]", name)[-1].encode("utf-8", "replace").decode("utf-8")
    last = _UNSAFE.sub("_", last).strip(" .")
    if _RESERVED.match(last):
        last = f"_{last}"
    return shortened(last)


def refused(name: str) -> tuple[str, str] | None:
    """Why a user cannot give this name to a file or folder, and what to do; None if every system can have such a file."""
    count = len(name.encode("utf-8", "replace"))
    if count > LONGEST_BYTES:
        what = f"{len(name)} letters" if count == len(name) else f"{len(name)} letters, which take {count} bytes"
        return (
            f"The name {printable(name, 30)!r} is too long: it has {what}.",
            f"Choose one of at most {LONGEST_BYTES} bytes: a letter takes one, or up to four with an accent or in other scripts.",
        )
    plain = safe(name)
    if plain and plain == name:
        return None
    return (
        f"{printable(name, 100)!r} cannot be the name of a file or folder.",
        f"Use for example {plain}." if plain else "Use letters and digits.",
    )


def safe_path(path: str) -> str:
    """A path inside a repository; "" if one of its parts is not safe."""
    parts = path.split("/")
    return path if all(part and safe(part) == part for part in parts) else ""


def shortened(name: str) -> str:
    """The name with the end of its stem cut off to fit a file system; the extension stays."""
    ending = PurePosixPath(name).suffix[:20]
    stem = name[: len(name) - len(ending)] if ending else name
    while len((stem + ending).encode()) > LONGEST_BYTES:
        stem = stem[:-1]
    return stem + ending


def from_header(disposition: str) -> str:
    """The file name in a Content-Disposition header (RFC 6266), preferably its encoded form (RFC 5987); "" if there is none."""
    found = _EXTENDED.search(disposition)
    if found and found.group(1).lower() in {"utf-8", "iso-8859-1"}:
        return safe(unquote(found.group(2).strip(), encoding=found.group(1)))
    if found := _PLAIN.search(disposition):
        quoted, bare = found.groups()
        return safe(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else unquote(bare))
    return ""


def from_url(url: str) -> str:
    """The file name at the end of an address; "" if there is none."""
    return safe(unquote(urlsplit(url).path))

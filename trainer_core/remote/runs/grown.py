"""Files that grow, in a storage that only knows whole objects: in parts, of which only the last one is written again.

The first part has the name of the file, the others `engine.log.0001`, `engine.log.0002` and so on. Each but the last has
`PART_BYTES` bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trainer_core.files import open_own

PART_BYTES = 1 << 20


def part(name: str, number: int) -> str:
    """The name of the object with this part of a file, from 0."""
    return f"{name}.{number:04d}" if number else name


def write_grown(put: Callable[[str, bytes], None], name: str, file: Path, done: int = 0) -> int:
    """Writes what a file has grown by, and returns how many of its bytes are written now.

    `put` replaces a whole object; `done` is what the last call returned, 0 after a restart. A file that does not exist yet
    has no bytes. An error of `put` leaves earlier parts written; the next call with the same `done` writes the rest.
    """
    number = done // PART_BYTES
    try:
        with open_own(file) as opened:
            opened.seek(number * PART_BYTES)
            while content := opened.read(PART_BYTES):
                reached = number * PART_BYTES + len(content)
                if reached > done:
                    put(part(name, number), content)
                    done = reached
                if len(content) < PART_BYTES:
                    # What was written meanwhile belongs to this part, too: the next call has it.
                    break
                number += 1
    except FileNotFoundError:
        return done
    return done


def read_grown(get: Callable[[str], bytes | None], name: str, offset: int) -> bytes:
    """Bytes of a file from `offset` on, at most one part; b"" if there are no more for now.

    `get` returns a whole object, or None if it does not exist.
    """
    number, inside = divmod(offset, PART_BYTES)
    content = get(part(name, number))
    # More than a part was not written by `write_grown`.
    return b"" if content is None else content[inside:PART_BYTES]

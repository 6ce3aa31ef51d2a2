"""Writes a safetensors file from the bytes of another one, tensor by tensor, without loading a model."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import struct
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from trainer_core.errors import RenamingError
from trainer_core.models.header import TensorInfo
from trainer_core.models.renaming import Piece

CHUNK_BYTES = 16 << 20
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""The type codes of `array` by the size of an element in bytes; the elements are only moved, not interpreted."""


class Row(Protocol):
    """A tensor of the new header."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def dtype(self) -> str:
        """Its dtype, spelt as in safetensors."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        ...

    @property
    def size(self) -> int:
        """Its size, in bytes."""
        ...


def header_bytes(pieces: Sequence[Row], metadata: Mapping[str, str]) -> bytes:
    """The start of the new file: the length of its header, and the header, padded to a multiple of 8 bytes."""
    table: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for piece in pieces:
        table[piece.name] = {
            "dtype": piece.dtype,
            "shape": list(piece.shape),
            "data_offsets": [position, position + piece.size],
        }
        position += piece.size
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write(
    source: Path,
    target: Path,
    pieces: Sequence[Piece],
    metadata: Mapping[str, str],
    progress: Callable[[int, int], None],
    hash_key: str = "",
) -> None:
    """Writes the pieces of a file into a new one, which appears under its name when it is complete.

    `progress` is called with the number of bytes written so far and the total. The source is not changed. `hash_key` is the
    metadata key for the SHA-256 of the new file's tensors, as "0x" and 64 digits.

    Raises:
        RenamingError: the source changed in the meantime, or the target already exists.
        OSError: a file cannot be read or written.
    """
    total, done = sum(piece.size for piece in pieces), 0
    scratch = target.with_name(f".easel-{os.getpid()}-{secrets.token_hex(4)}.part")
    digest = hashlib.sha256()
    try:
        with source.open("rb") as old, scratch.open("xb") as new:
            before = _stamp(old)
            new.write(header_bytes(pieces, {**metadata, **_hashed(hash_key, digest)}))
            for piece in pieces:
                for chunk in (piece.content,) if piece.content else _chunks(old, piece):
                    new.write(chunk)
                    done += len(chunk)
                    if hash_key:
                        digest.update(chunk)
                    progress(done, total)
            if hash_key:
                # The header has the same length with every hash.
                new.seek(0)
                new.write(header_bytes(pieces, {**metadata, **_hashed(hash_key, digest)}))
            new.flush()
            os.fsync(new.fileno())
            if _stamp(old) != before:
                raise RenamingError(f"{source.name} changed while it was copied.", "Try again when it is complete.")
        _name(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)


def whole(tensors: Mapping[str, TensorInfo]) -> list[Piece]:
    """The tensors of a file as they are, in the order of their bytes."""
    ordered = sorted(tensors.items(), key=lambda row: row[1].start_bytes)
    return [Piece(name, info.dtype, info.shape, info.start_bytes, info.size_bytes) for name, info in ordered]


def whole_piece(path: Path, piece: Piece) -> list[bytes]:
    """The bytes of a piece of a file.

    Raises:
        RenamingError: the file is cut short.
        OSError: it cannot be read.
    """
    if piece.content:
        return [piece.content]
    with path.open("rb") as file:
        return list(_chunks(file, piece))


def _hashed(key: str, digest: hashlib._Hash) -> dict[str, str]:
    return {key: f"0x{digest.hexdigest()}"} if key else {}


def _chunks(file: BinaryIO, piece: Piece) -> Iterator[bytes]:
    """The bytes of a piece in chunks; a transposed matrix is a single chunk."""
    file.seek(piece.start)
    if piece.turned is not None:
        yield _transposed(_exactly(file, piece.size), *piece.turned)
        return
    left = piece.size
    while left:
        chunk = _exactly(file, min(left, CHUNK_BYTES))
        left -= len(chunk)
        yield chunk


def _exactly(file: BinaryIO, size: int) -> bytes:
    found = file.read(size)
    if len(found) < size:
        raise RenamingError("The file is cut short.", "Download it again.")
    return found


def _transposed(data: bytes, rows: int, columns: int) -> bytes:
    """A matrix with its two dimensions swapped."""
    numbers = array(_CODES[len(data) // max(rows * columns, 1) or 1])
    numbers.frombytes(data)
    return b"".join(numbers[column::columns].tobytes() for column in range(columns))


def _stamp(file: BinaryIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def _name(scratch: Path, target: Path) -> None:
    """Gives the complete file its final name without replacing an existing file."""
    try:
        os.link(scratch, target)
    except FileExistsError as error:
        raise RenamingError(f"{target} was made by another program meanwhile.", "Try again.") from error
    except OSError:  # a file system without hard links
        if target.exists():
            raise RenamingError(f"{target} was made by another program meanwhile.", "Try again.") from None
        scratch.rename(target)

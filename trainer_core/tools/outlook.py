"""What a tool will do, known from the headers of its inputs before it starts: the new file, its size, and sentences for the user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a tool will make.

    `size_bytes` is the size of the new file, `memory_bytes` the most memory that the work needs. `tensors` counts the tensors of the
    new file, `changed` those that are computed; the rest are copied. `notes` are sentences for the user. `seconds` is the
    time that the work takes, None where this is not known. `is_most`: the size depends on the numbers, and is the largest possible one.
    `doubt` says why the result may not be what the user wants, though it can be made; the notes have it, too.
    """

    target: Path
    size_bytes: int
    memory_bytes: int
    tensors: int
    changed: int
    notes: tuple[str, ...]
    seconds: float | None
    is_most: bool = False
    doubt: str = ""

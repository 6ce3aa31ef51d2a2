"""Counts tokens exactly as CLIP's tokenizer does, if its merges file is on this machine. Standard library only.

Source: open_clip, tokenizer.py, and transformers, tokenization_clip.py; compared with the latter on random and real text.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LARGEST_FILE_BYTES = 4 << 20
FEWEST_MERGES = 40_000
"""CLIP has 48,894. A file with fewer belongs to another tokenizer, such as the tiny one of a test model."""
END = "</w>"


@dataclass(frozen=True)
class Merges:
    """The merges of the tokenizer: the rank of each pair of symbols, the lowest of which is merged first."""

    ranks: Mapping[tuple[str, str], int]
    known: dict[str, int] = field(default_factory=dict, compare=False, repr=False)
    """The token counts of known pieces."""

    def count(self, piece: str) -> int:
        """The number of tokens of a piece: a word, a digit, or several signs without a space."""
        found = self.known.get(piece)
        if found is None:
            found = self.known[piece] = self._count(piece)
        return found

    def _count(self, piece: str) -> int:
        symbols = byte_symbols()
        parts = [symbols[byte] for byte in piece.lower().encode("utf-8", "replace")]
        parts[-1] += END
        while len(parts) > 1:
            pairs = list(itertools.pairwise(parts))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            parts = _merged(parts, best)
        return len(parts)


def load(files: Iterable[Path]) -> Merges | None:
    """The merges of the first of these merges.txt files that belongs to CLIP; None if there is none."""
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        if status.st_size <= LARGEST_FILE_BYTES and (found := _read(file, status.st_mtime_ns)) is not None:
            return found
    return None


@functools.lru_cache(maxsize=4)
def _read(file: Path, _written: int) -> Merges | None:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    pairs = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
    ranks = {(pair[0], pair[1]): rank for rank, pair in enumerate(pairs) if len(pair) == 2}
    return Merges(ranks) if len(ranks) >= FEWEST_MERGES else None


def _merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """The parts, with each occurrence of the pair merged into one part."""
    found: list[str] = []
    for part in parts:
        if found and (found[-1], part) == pair:
            found[-1] += part
            # A merged part must not merge again with the next one in the same round.
            found.append("")
        else:
            found.append(part)
    return [part for part in found if part]


@functools.cache
def byte_symbols() -> tuple[str, ...]:
    """The character that represents each byte: the byte's own character if it is printable, else one from 256 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return tuple(chr(byte) if byte in printable else chr(next(others)) for byte in range(256))

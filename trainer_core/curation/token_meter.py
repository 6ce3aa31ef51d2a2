"""Counts the tokens of captions as a text encoder does, and shows where its chunks end and which tag falls off.

CLIP is counted exactly by Easel itself, if its merges are on this machine. Other text encoders are counted by the library
`tokenizers`, if it is installed and their tokenizer.json is here. Otherwise the number is an estimate, and says so.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.datasets import caption_text, clip

if TYPE_CHECKING:
    from trainer_core.datasets.caption_text import Tokenizer

CHUNK = 75
"""CLIP reads so many tokens at once. Source: sd-scripts 48d368f, library/strategy_base.py, _get_input_ids."""
LARGEST_FILE_BYTES = 64 << 20
WORDS_EACH = 1.35
"""Tokens for each word in other text encoders, about: English captions in T5 have 1.2 to 1.5."""

_TRIAL = "a \u732b, 1! <|>\n"

Spans = Callable[[str], tuple[str, list[tuple[int, int]]]]
"""Returns a caption as the tokenizer reads it, and the start and end of each of its tokens in it."""


@dataclass(frozen=True)
class Meter:
    """How tokens are counted: by which tokenizer, whether exactly, and how many are added to each caption (such as an end)."""

    name: str
    is_exact: bool
    spans: Spans
    added: int = 0

    def count(self, caption: str) -> int:
        """The tokens of one caption, with those that are added."""
        return len(self.spans(caption)[1]) + self.added


@dataclass(frozen=True)
class Cut:
    """A caption in the chunks that are read, and the rest that is not. `tag` is the first tag that is not read completely."""

    tokens: int
    chunks: tuple[str, ...]
    rest: str = ""
    tag: str = ""


def cut(caption: str, meter: Meter, limit: int = CHUNK, chunk: int = CHUNK) -> Cut:
    """What a text encoder reads of a caption with this limit of tokens, in chunks of so many tokens."""
    plain, spans = meter.spans(caption)
    if not spans:
        return Cut(meter.added, ())
    room = max(1, limit - meter.added)
    starts = [spans[place][0] for place in range(0, min(len(spans), room), chunk)]
    end = spans[room][0] if len(spans) > room else len(plain)
    ends = [*starts[1:], end]
    chunks = tuple(plain[start:stop].strip(" ,") for start, stop in zip(starts, ends, strict=True))
    if len(spans) <= room:
        return Cut(len(spans) + meter.added, chunks)
    begin = plain.rfind(",", 0, end) + 1 if plain[:end].rstrip()[-1:] != "," else end
    stop = plain.find(",", end)
    tag = plain[begin : stop if stop >= 0 else len(plain)].strip()
    return Cut(len(spans) + meter.added, chunks, plain[end:].strip(" ,"), tag)


def of_clip(merges: Iterable[Path]) -> Meter:
    """CLIP's meter, exact with the first of these merges files that belongs to it."""
    found = clip.load(merges)
    return Meter(
        "CLIP", found is not None, _pieces("clip", found.count if found is not None else caption_text.one_each)
    )


def of_words() -> Meter:
    """The meter for another text encoder whose tokenizer is not here: an estimate from the words."""

    def spans(caption: str) -> tuple[str, list[tuple[int, int]]]:
        plain, words = caption_text.split(caption, "words")
        found, due = [], 0.0
        for word in words:
            due += WORDS_EACH
            found += [word] * int(due)
            due -= int(due)
        return plain, found

    return Meter("words", is_exact=False, spans=spans)


def of_files(name: str, files: Iterable[Path]) -> Meter:
    """The meter of the first of these tokenizer.json that can be read; an estimate without one, or without the library."""
    for file in files:
        found = _tokenizer(file, _written(file))
        if found is not None:
            added = found.num_special_tokens_to_add(False)

            def spans(caption: str, reads: Any = found) -> tuple[str, list[tuple[int, int]]]:
                return caption, list(reads.encode(caption, add_special_tokens=False).offsets)

            return Meter(name, is_exact=True, spans=spans, added=added)
    return of_words()


def of_model(model: Path | None, tokenizer: Tokenizer = "clip") -> Meter:
    """The meter of a model whose family counts in this way; `model` is its folder, None if there is none or it is one file.

    A model with several tokenizers reads long captions with the last one. Source: diffusers, the pipelines of FLUX and SD3.
    """
    folders = sorted(model.glob("tokenizer*"), reverse=True) if model is not None and model.is_dir() else []
    if tokenizer == "clip":
        own = (places.models() / "tokenizers").glob("*/merges.txt")
        return of_clip([*(folder / "merges.txt" for folder in folders), *sorted(own)])
    return of_files("the tokenizer of the model", [folder / "tokenizer.json" for folder in folders])


def why_estimated(meter: Meter) -> str:
    """Why the numbers of a meter are estimates; "" if they are exact."""
    if meter.is_exact:
        return ""
    if meter.name == "CLIP":
        return "estimated: at least so many, because the vocabulary of CLIP is not on this machine"
    if not has_library():
        return "estimated from the words: the package tokenizers is not installed (`pip install tokenizers`)"
    return "estimated from the words: the tokenizer of the model is not on this machine"


@functools.cache
def has_library() -> bool:
    """Whether the library `tokenizers` is installed."""
    import importlib.util

    return importlib.util.find_spec("tokenizers") is not None


def _pieces(tokenizer: Tokenizer, count: Callable[[str], int]) -> Spans:
    def spans(caption: str) -> tuple[str, list[tuple[int, int]]]:
        plain, pieces = caption_text.split(caption, tokenizer)
        return plain, [span for span in pieces for _ in range(count(plain[span[0] : span[1]]))]

    return spans


def _written(file: Path) -> int:
    try:
        found = file.stat()
    except OSError:
        return 0
    return found.st_mtime_ns if found.st_size <= LARGEST_FILE_BYTES else 0


@functools.lru_cache(maxsize=8)
def _tokenizer(file: Path, written: int) -> Any:
    """The tokenizer in a file; None without it or without the library."""
    if not written or not has_library():
        return None
    from importlib import import_module

    library = import_module("tokenizers")
    # The library raises plain Exceptions for a damaged file, and for a text that the file cannot express.
    with contextlib.suppress(Exception):
        found = library.Tokenizer.from_str(file.read_text(encoding="utf-8"))
        found.encode(_TRIAL)
        return found
    return None

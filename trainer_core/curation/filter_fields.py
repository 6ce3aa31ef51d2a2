"""The fields that a filter can ask for, and the orders of images: one row each, from which help texts are made, too."""

from __future__ import annotations

import difflib
import fnmatch
import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainer_core.curation import captions
from trainer_core.curation.catalogue import Entry
from trainer_core.curation.quality import MEASURES
from trainer_core.datasets import caption_text
from trainer_core.datasets.defects import DEFECTS
from trainer_core.errors import DatasetError
from trainer_core.text import printable

Count = Callable[[str], int]
"""Counts the tokens of a caption."""
Kind = Literal["text", "number", "word"]
SCORE = "score."


class UnfitError(Exception):
    """A field or value that a filter cannot have; the message completes "The filter is not understood at ...: "."""

    def __init__(self, reason: str, hint: str = "", *, is_field: bool = False) -> None:
        super().__init__(reason)
        self.hint, self.is_field = hint, is_field


@dataclass(frozen=True)
class Field:
    """A field of the filter language. `help` says what it finds, `example` is a filter with it.

    `read` gives the texts or the number of an image. A text fits if it `is_whole` the value, else if it contains it. Of a
    "word", `values` are the ones that it can have, with what each finds.
    """

    name: str
    kind: Kind
    help: str
    example: str
    read: Callable[[Entry], Any] = lambda _: None
    is_whole: bool = False
    values: Mapping[str, tuple[str, Callable[[Entry], bool]]] | None = None


def counted(caption: str) -> int:
    """The tokens of a caption in CLIP, at least: rare words have several."""
    return sum(caption_text.tokens(line, "clip") for line in caption.splitlines())


def _tags(entry: Entry) -> list[str]:
    return [tag for line in entry.caption.splitlines() for tag in captions.tags(line)]


def _sized(number: Callable[[Entry], float]) -> Callable[[Entry], float | None]:
    """The number of an image whose size is known; None for one that cannot be read."""
    return lambda entry: number(entry) if entry.width and entry.height else None


_IS: Mapping[str, tuple[str, Callable[[Entry], bool]]] = {
    "keep": ("you chose to keep it", lambda entry: entry.choice == "keep"),
    "reject": ("you rejected it", lambda entry: entry.choice == "reject"),
    "undecided": ("neither kept nor rejected", lambda entry: not entry.choice),
    "captioned": ("it has a caption", lambda entry: bool(entry.caption.strip())),
    "uncaptioned": ("it has no caption", lambda entry: not entry.caption.strip()),
    "trained": ("the engine trains it", lambda entry: entry.is_trained),
    "untrained": ("the engine does not train it", lambda entry: not entry.is_trained),
    "duplicate": ("a better copy of it is in the dataset", lambda entry: bool(entry.copy_of)),
    "measured": ("its quality was measured", lambda entry: bool(entry.scores)),
    "unmeasured": ("its quality was not measured", lambda entry: not entry.scores),
    "selected": ("a selection contains it", lambda entry: bool(entry.selections)),
    "landscape": ("it is wider than high", lambda entry: entry.width > entry.height),
    "portrait": ("it is higher than wide", lambda entry: entry.height > entry.width),
    "square": ("it is as wide as high", lambda entry: entry.width == entry.height > 0),
}
_BY: Mapping[str, tuple[str, Callable[[Entry], bool]]] = {
    "none": ("not known who wrote the caption", lambda entry: not entry.author),
    "machine": ("a tagger or captioner wrote it", lambda entry: entry.author not in ("", "user")),
}
_PROBLEM: Mapping[str, tuple[str, Callable[[Entry], bool]]] = {
    "any": ("it has a defect", lambda entry: bool(entry.defects)),
    "none": ("it has no defect", lambda entry: not entry.defects),
    "error": ("a defect that stops the engine", lambda entry: _has(entry, "error")),
    "warning": ("a defect that may train something wrong", lambda entry: _has(entry, "warning")),
    "info": ("a remark that needs no action", lambda entry: _has(entry, "info")),
}


def _has(entry: Entry, severity: str) -> bool:
    return any(key in DEFECTS and DEFECTS[key].severity == severity for key in entry.defects)


FIELDS: Mapping[str, Field] = {
    one.name: one
    for one in (
        Field("", "text", "in the name or the caption", "beach", lambda entry: (entry.name, entry.caption)),
        Field("tag", "text", "a whole tag of the caption", 'tag:"red dress"', _tags, is_whole=True),
        Field("caption", "text", "in the caption", "caption:smiling", lambda entry: (entry.caption,)),
        Field("name", "text", "in the file name", "name:img_*.png", lambda entry: (entry.name,)),
        Field("path", "text", "in the path inside the dataset", "path:faces/", lambda entry: (entry.path,)),
        Field("width", "number", "width in pixels", "width:<768", _sized(lambda entry: entry.width)),
        Field("height", "number", "height in pixels", "height:>=1024", _sized(lambda entry: entry.height)),
        Field("side", "number", "shorter side in pixels", "side:<512", _sized(lambda entry: min(entry.width, entry.height))),
        Field("mp", "number", "megapixels", "mp:<0.5", _sized(lambda entry: entry.width * entry.height / 1e6)),
        Field("aspect", "number", "width divided by height", "aspect:>16:9", _sized(lambda entry: entry.width / entry.height)),
        Field("size", "number", "size of the file in bytes, or with kb, mb or gb", "size:>5mb", lambda entry: entry.bytes),
        Field("tokens", "number", "tokens of the caption", "tokens:>75"),
        Field("chars", "number", "characters of the caption", "chars:<20", lambda entry: len(entry.caption)),
        Field("tags", "number", "tags of the caption", "tags:>=13", lambda entry: len(_tags(entry))),
        Field("problem", "word", "a defect, by its key or severity", "problem:any", lambda entry: entry.defects, True, _PROBLEM),
        Field("by", "text", "who wrote the caption", "by:user", lambda entry: (entry.author,), True, _BY),
        Field("is", "word", "the state of the image", "is:uncaptioned", lambda _: (), True, _IS),
        Field("in", "text", "a selection that contains it", 'in:"best of"', lambda entry: entry.selections, is_whole=True),
        Field("copies", "text", "the path of the better copy of it", "copies:a.png", lambda entry: (entry.copy_of,), is_whole=True),
    )
}  # fmt: skip
"""The fields by name; "" is a word without a field. The scores are fields, too: `score.NAME`."""


def field(name: str) -> Field:
    """The field with this name.

    Raises:
        UnfitError: there is none.
    """
    if name in FIELDS and name:
        return FIELDS[name]
    if name.startswith(SCORE) and len(name) > len(SCORE):
        key = name[len(SCORE) :]
        if key not in MEASURES:
            raise UnfitError(f"there is no measure {printable(key, 40)!r}", f"There are {_scores()}.", is_field=True)
        return Field(name, "number", "a measured score", f"{name}:<1", lambda entry: entry.scores.get(key))
    close = difflib.get_close_matches(name, FIELDS, 1)
    meant = f", perhaps {close[0]}:" if close and close[0] else ""
    known = ", ".join(f"{one}:" for one in FIELDS if one)
    hint = f"There are {known}, and score.NAME:. To look for a text with a colon, write it in quotes."
    raise UnfitError(f"there is no field {printable(name, 40)!r}{meant}", hint, is_field=True)


def _scores() -> str:
    return ", ".join(f"{SCORE}{key}" for key in MEASURES)


def check_selection(value: str, names: Iterable[str]) -> None:
    """Checks that a value of `in:` fits the name of a selection.

    Raises:
        UnfitError: it fits none of them.
    """
    known = list(names)
    if not any(map(_fitting(value, is_whole=True), known)):
        told = ", ".join(printable(one, 64) for one in known)
        hint = f"There are: {told}." if told else "There are no selections yet."
        raise UnfitError(f"there is no selection {printable(value, 64)!r}", hint)


def tests(tokens: Count) -> Callable[[str, str], Callable[[Entry], bool]]:
    """What makes the test of an image from the name of a field and its value; it raises UnfitError."""

    def test(name: str, value: str) -> Callable[[Entry], bool]:
        found = field(name) if name else FIELDS[""]
        if found.kind == "number":
            read = (lambda entry: tokens(entry.caption)) if found.name == "tokens" else found.read
            return _number_test(found, read, value)
        if found.values and value.casefold() in found.values:
            return found.values[value.casefold()][1]
        if found.kind == "word":
            _check_word(found, value)
        return _text_test(found, value)

    return test


def _check_word(found: Field, value: str) -> None:
    values = list(found.values or ())
    if found.name == "problem":
        if any(map(_fitting(value, is_whole=True), DEFECTS)):
            return
        close = difflib.get_close_matches(value.casefold(), DEFECTS, 3)
        more = f", or a defect such as {', '.join(close or list(DEFECTS)[:3])}"
    else:
        more = ""
    raise UnfitError(f"{found.name}: has no {printable(value, 40)!r}", f"There are {', '.join(values)}{more}.")


def _text_test(found: Field, value: str) -> Callable[[Entry], bool]:
    fits, read = _fitting(value, is_whole=found.is_whole), found.read
    return lambda entry: any(map(fits, read(entry)))


def _fitting(value: str, *, is_whole: bool) -> Callable[[str], bool]:
    """Whether a text is this value or contains it; "*" stands for any text, "?" for one character."""
    wanted, pattern, is_wild, signs = "", "" if is_whole else "*", False, iter(_folded(value))
    for sign in signs:
        if sign == "\\":
            literal = next(signs, "\\")
            wanted += literal
            pattern += f"[{literal}]" if literal in "*?" else literal
        else:
            wanted += sign
            is_wild = is_wild or sign in "*?"
            pattern += "[[]" if sign == "[" else sign
    if not is_wild:
        return (lambda text: _folded(text) == wanted) if is_whole else (lambda text: wanted in _folded(text))
    matcher = re.compile(fnmatch.translate(pattern if is_whole else f"{pattern}*"))
    return lambda text: matcher.match(_folded(text)) is not None


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


# ---- numbers ----
_NUMBER = re.compile(
    r"(?P<sign><=|>=|!=|<|>|=|)(?P<value>-?\d{1,15}(?:\.\d{1,9})?)(?P<rest>:\d{1,6}(?:\.\d{1,9})?|[a-z]{0,2})"
)
_UNUSUAL = re.compile(r"(?:<=|>=|!=|<|>|=|)[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?[a-z]{0,2}")
"""What are numbers elsewhere."""
_UNITS = {
    "": 1,
    "b": 1,
    "k": 1_000,
    "kb": 1_000,
    "m": 1_000_000,
    "mb": 1_000_000,
    "g": 1_000_000_000,
    "gb": 1_000_000_000,
}


def _number_test(found: Field, read: Callable[[Entry], float | None], value: str) -> Callable[[Entry], bool]:
    if value.casefold() == "none":
        return lambda entry: read(entry) is None
    match = _NUMBER.fullmatch(value.casefold())
    hint = f"Such as {found.name}:>=13, {found.name}:<100, {found.name}:5, or {found.name}:none for an unknown one."
    if match is None and _UNUSUAL.fullmatch(value.casefold()):
        raise UnfitError(
            f"{printable(value, 40)!r} is not written as a number is here",
            f"Write at most 15 digits before the point and 9 after it, and no exponent such as 1e3. {hint}",
        )
    if match is None:
        raise UnfitError(f"{printable(value, 40)!r} is not a number", hint)
    number, near = _wanted(found, match, hint)
    compare: Mapping[str, Callable[[float], bool]] = {
        "<": lambda one: one < number,
        "<=": lambda one: one <= number,
        ">": lambda one: one > number,
        ">=": lambda one: one >= number,
        "": lambda one: abs(one - number) <= near,
        "=": lambda one: abs(one - number) <= near,
        "!=": lambda one: abs(one - number) > near,
    }
    fits = compare[match["sign"]]

    def test(entry: Entry) -> bool:
        one = read(entry)
        return one is not None and fits(one)

    return test


def _wanted(found: Field, match: re.Match[str], hint: str) -> tuple[float, float]:
    """The number that is asked for, and how near a number must be to equal it: as near as it was written."""
    number, rest = float(match["value"]), match["rest"]
    if rest.startswith(":"):
        other = float(rest[1:])
        if found.name != "aspect" or not other:
            raise UnfitError("this is not a number", hint)
        return number / other, number / other * 0.01
    if rest and (found.name != "size" or rest not in _UNITS):
        raise UnfitError(f"{found.name}: has no unit {rest!r}", hint)
    unit = _UNITS.get(rest, 1)
    digits = len(match["value"].partition(".")[2])
    is_exact = found.name not in ("mp", "aspect") and not found.name.startswith(SCORE) and not rest
    return number * unit, 0.0 if is_exact else unit * 0.5 * 10**-digits


# ---- orders ----
@functools.lru_cache(1 << 16)
def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key by which "img2" comes before "img10"."""
    parts = re.split(r"(\d{1,18})", _folded(text))
    return tuple((0, int(part), part) if part[:1].isdigit() and part.isdecimal() else (1, 0, part) for part in parts)


SORTS: Mapping[str, tuple[str, Callable[[Entry], Any]]] = {
    "path": ("path", lambda entry: natural(entry.path)),
    "name": ("file name", lambda entry: natural(entry.name)),
    "time": ("time of the last change", lambda entry: entry.time),
    "size": ("size of the file", lambda entry: entry.bytes),
    "width": ("width", FIELDS["width"].read),
    "height": ("height", FIELDS["height"].read),
    "side": ("shorter side", FIELDS["side"].read),
    "mp": ("megapixels", FIELDS["mp"].read),
    "aspect": ("width divided by height", FIELDS["aspect"].read),
    "chars": ("length of the caption", FIELDS["chars"].read),
    "tokens": ("tokens of the caption", lambda entry: counted(entry.caption)),
    "tags": ("number of tags", FIELDS["tags"].read),
    "caption": ("caption", lambda entry: natural(entry.caption[:200]) if entry.caption else None),
    "problems": ("number of defects", lambda entry: len(entry.defects)),
    "by": ("who wrote the caption", lambda entry: entry.author or None),
    "choice": ("kept, undecided, rejected", lambda entry: ("keep", "", "reject").index(entry.choice)),
}
"""The orders by key: what each is called, and the value of an image; None if it has none."""


def sort_value(key: str) -> Callable[[Entry], Any]:
    """The value of an image in an order; a score is an order, too: "score.blur".

    Raises:
        DatasetError: there is no such order.
    """
    if key in SORTS:
        return SORTS[key][1]
    if key.startswith(SCORE) and key[len(SCORE) :] in MEASURES:
        return lambda entry: entry.scores.get(key[len(SCORE) :])
    known = ", ".join(SORTS)
    raise DatasetError(f"Images cannot be sorted by {printable(key, 40)!r}.", f"There are {known}, {_scores()}.")

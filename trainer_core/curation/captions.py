"""Bulk edits of captions: pure functions of a text, and the changes that they make of the caption files of a dataset.

A caption is one text or tags with commas between them; a file with several lines has several captions, and each is edited.
Byte order mark, line ends and encoding of a file stay as they are.
"""

from __future__ import annotations

import codecs
import errno
import fnmatch
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from trainer_core.curation import contents
from trainer_core.curation.journal import Change
from trainer_core.datasets.captions import LARGEST_CAPTION_BYTES
from trainer_core.errors import DatasetError
from trainer_core.files import open_regular
from trainer_core.text import printable

Operation = Callable[[str], str]
"""What an edit does with one caption, a line without line end."""

LEADS_OUT = "it is a link that leads out of the dataset"
DEEPEST = 8
"""How many brackets around a word are taken away."""
_WEIGHT = re.compile(r"(?<!\\)\(([^()]*?):\s*[0-9.]+\s*\)|(?<!\\)\(\(([^()]*)\)\)|(?<!\\)\[([^\[\]|]+)\]")
_ESCAPED = re.compile(r"\\([()\[\]])")
_COMMA = re.compile(r"\s*[,\uff0c]\s*")


def tags(caption: str) -> list[str]:
    """The tags of a caption, without empty ones."""
    return [tag for tag in _COMMA.split(caption.strip()) if tag]


def joined(found: Iterable[str]) -> str:
    """A caption of these tags."""
    return ", ".join(found)


def _is(tag: str, other: str) -> bool:
    return tag.casefold() == other.casefold()


def add(wanted: str, where: Literal["start", "end"] = "end") -> Operation:
    """Adds the tags that a caption does not have yet."""
    more = list(_once(tags(wanted)))

    def edit(caption: str) -> str:
        had = tags(caption)
        missing = [tag for tag in more if not any(_is(tag, one) for one in had)]
        if not missing:
            return caption
        return joined([*missing, *had] if where == "start" else [*had, *missing])

    return edit


def remove(patterns: str) -> Operation:
    """Removes whole tags; "*" stands for any text, "?" for one character."""
    fits = matcher(patterns)

    def edit(caption: str) -> str:
        had = tags(caption)
        left = [tag for tag in had if not fits(tag)]
        return caption if len(left) == len(had) else joined(left)

    return edit


def remove_exactly(unwanted: Iterable[str]) -> Operation:
    """Removes these tags, which are no patterns."""
    folded = frozenset(map(str.casefold, unwanted))

    def edit(caption: str) -> str:
        had = tags(caption)
        left = [tag for tag in had if tag.casefold() not in folded]
        return caption if len(left) == len(had) else joined(left)

    return edit


def replace(find: str, by: str, *, whole_tags: bool = False, same_case: bool = False) -> Operation:
    """Replaces a text inside of captions, or whole tags that are this text or fit it with "*" and "?"."""
    if not find:
        return lambda caption: caption
    if not whole_tags:
        pattern = re.compile(re.escape(find), 0 if same_case else re.IGNORECASE)
        return lambda caption: pattern.sub(lambda _: by, caption)
    fits, new = matcher(find, same_case=same_case), tags(by)

    def edit(caption: str) -> str:
        had = tags(caption)
        if not any(map(fits, had)):
            return caption
        return joined(_once(one for tag in had for one in (new if fits(tag) else [tag])))

    return edit


def sort(first: str = "") -> Operation:
    """Sorts the tags by the alphabet; those in `first` stay in front, in its order."""
    ahead = [tag.casefold() for tag in tags(first)]

    def edit(caption: str) -> str:
        def place(tag: str) -> tuple[int, str]:
            folded = tag.casefold()
            return (ahead.index(folded), "") if folded in ahead else (len(ahead), folded)

        had = tags(caption)
        ordered = sorted(had, key=place)
        return caption if ordered == had else joined(ordered)

    return edit


def without_repeats() -> Operation:
    """Removes tags that a caption has twice, and empty ones."""

    def edit(caption: str) -> str:
        left = list(_once(tags(caption)))
        return caption if left == _COMMA.split(caption.strip()) else joined(left)

    return edit


def trigger_first(trigger: str) -> Operation:
    """Puts the trigger word first, and removes it from other places."""
    word = trigger.strip()

    def edit(caption: str) -> str:
        had = tags(caption)
        if not word or (had and had[0] == word and not any(_is(tag, word) for tag in had[1:])):
            return caption
        return joined([word, *(tag for tag in had if not _is(tag, word))])

    return edit


def without_weights() -> Operation:
    """Makes plain text of weights, such as (word:1.3), ((word)) and [word], and of backslashes before brackets."""

    def edit(caption: str) -> str:
        for _ in range(DEEPEST):
            plain = _WEIGHT.sub(lambda found: next(filter(None, found.groups()), ""), caption)
            if plain == caption:
                break
            caption = plain
        return _ESCAPED.sub(r"\1", caption)

    return edit


def set_to(text: str) -> Operation:
    """Gives every caption this text."""
    return lambda _: text


def frequent(captions: Sequence[str], share: float) -> list[tuple[str, int]]:
    """The tags that at least this share of the captions has, with their number, the most frequent first.

    A tag that nearly all images of a subject have describes the subject: without it in the captions, the trigger word learns it.
    """
    count = Counter(tag.casefold() for caption in captions for tag in set(map(str.casefold, tags(caption))))
    least = share * len(captions)
    return [(tag, number) for tag, number in count.most_common() if number >= least > 0]


@dataclass(frozen=True)
class CaptionChange:
    """A caption file before and after an edit; `path` is relative to the dataset, with "/"."""

    path: str
    before: str
    after: str
    change: Change


@dataclass(frozen=True)
class Preview:
    """What an edit would change. `refused` are the files that cannot be edited, as (path, reason)."""

    changes: tuple[CaptionChange, ...]
    unchanged: int
    refused: tuple[tuple[str, str], ...]


def preview(root: Path, paths: Iterable[str], operations: Sequence[Operation], *, makes: bool = False) -> Preview:
    """What these operations, one after the other, change in caption files of a dataset. Nothing is written.

    Args:
        root: the folder of the dataset.
        paths: the caption files, relative to the dataset, with "/".
        operations: what is done with each caption.
        makes: whether a caption file that does not exist, or is blank, gets one.

    Raises:
        DatasetError: a path leads out of the dataset.
    """
    changes, refused, unchanged = [], [], 0
    for path in dict.fromkeys(paths):
        place = contents.inside(root, path)
        try:
            data, seen = _read(root, place)
            text, encode = _decoded(data)
        except (OSError, ValueError) as error:
            reason = "it is not text" if isinstance(error, ValueError) else error.strerror or str(error)
            refused.append((path, printable(reason, 200)))
            continue
        after = _edited(text, operations, makes=makes)
        if after == text:
            unchanged += 1
            continue
        changes.append(CaptionChange(path, text, after, Change(path, encode(after), seen)))
    return Preview(tuple(changes), unchanged, tuple(refused))


def _edited(text: str, operations: Sequence[Operation], *, makes: bool) -> str:
    """The text of a file with each of its captions edited; line ends and blank lines stay."""
    lines = text.splitlines(keepends=True)
    if not any(line.strip() for line in lines):
        if not makes:
            return text
        made = _through("", operations)
        return made if made.strip() else text
    return "".join(_line(line, operations) for line in lines)


def _line(line: str, operations: Sequence[Operation]) -> str:
    body = line.rstrip("\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029")
    end = line[len(body) :]
    if not body.strip():
        return line
    edited = _through(body, operations)
    # A caption is one line, whatever was entered.
    return body + end if edited == body else " ".join(edited.splitlines()) + end


def _through(caption: str, operations: Sequence[Operation]) -> str:
    for operation in operations:
        caption = operation(caption)
    return caption


def _read(root: Path, path: Path) -> tuple[bytes, contents.Mark]:
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        # An edit would copy a file of this machine into the dataset, which may be published.
        raise OSError(errno.EPERM, LEADS_OUT)
    try:
        with open_regular(path) as file:
            data = file.read(LARGEST_CAPTION_BYTES + 1)
    except FileNotFoundError:
        return b"", contents.NOTHING
    if len(data) > LARGEST_CAPTION_BYTES:
        raise OSError(0, "it is too long for a caption")
    return data, contents.mark(path) if path.is_symlink() else contents.mark_of(data)


def _decoded(data: bytes) -> tuple[str, Callable[[str], bytes]]:
    """The text of a caption file, and how to encode it again in the same way."""
    forms = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF8, "utf-8"))
    sign, encoding = next((form for form in forms if data.startswith(form[0])), (b"", "utf-8"))
    return data[len(sign) :].decode(encoding), lambda text: sign + text.encode(encoding)


def _once(found: Iterable[str]) -> Iterable[str]:
    """Each tag once, at its first place."""
    kept: dict[str, str] = {}
    for tag in found:
        kept.setdefault(tag.casefold(), tag)
    return kept.values()


def matcher(patterns: str, *, same_case: bool = False) -> Callable[[str], bool]:
    """Whether a tag fits one of the patterns with commas between them; "*" stands for any text, "?" for one character."""
    folded = tags(patterns) if same_case else [one.casefold() for one in tags(patterns)]
    plain = {one for one in folded if not set(one) & set("*?")}
    # Square brackets are no pattern here: tags contain them.
    wild = [re.compile(fnmatch.translate(one.replace("[", "[[]"))) for one in folded if one not in plain]

    def fits(tag: str) -> bool:
        found = tag if same_case else tag.casefold()
        return found in plain or any(pattern.match(found) for pattern in wild)

    return fits


def place_of(image: str, ending: str = ".txt") -> str:
    """The path of the caption file that an image would get; both relative to the dataset, with "/"."""
    return PurePosixPath(image).with_suffix(ending).as_posix()


def text_of(root: Path, path: str) -> str | None:
    """The whole text of a caption file, "" without one; None if it is not text, cannot be read, or is a link out of the dataset.

    Raises:
        DatasetError: the path leads out of the dataset.
    """
    try:
        return _decoded(_read(root, contents.inside(root, path))[0])[0]
    except (OSError, ValueError):
        return None


def plain(text: str) -> str:
    """The text of a caption file as an editor shows it: plain line ends, none after the last line."""
    return text.replace("\r\n", "\n").rstrip("\n")


def written(root: Path, path: str, text: str) -> Change | None:
    """The change that gives a caption file this whole text; None if it has it already.

    Byte order mark, encoding, line ends, and the line end after the last line stay as they are.

    Raises:
        DatasetError: the path leads out of the dataset, the file is not text, so that writing would lose something, or it is a link
            out of the dataset.
    """
    try:
        data, seen = _read(root, contents.inside(root, path))
        before, encode = _decoded(data)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.strerror == LEADS_OUT:
            raise DatasetError(
                f"The caption {printable(path, 100)} is not written: {LEADS_OUT}.",
                "Put a copy of the file in place of the link.",
            ) from error
        raise DatasetError(
            f"The caption {printable(path, 100)} is not text that can be read, so it is not overwritten.",
            "Mend it first: see Check.",
        ) from error
    lines = plain(text).split("\n")
    end = "\r\n" if "\r\n" in before else "\n"
    last = end if before.endswith("\n") and before.strip() else ""
    after = end.join(lines) + last if text.strip() else ""
    if after == before or (seen == contents.NOTHING and not after):
        return None
    return Change(path, encode(after), seen)

"""A small language to choose images of a dataset: `tag:"red hat" and (tokens:>75 or is:uncaptioned) -name:test*`.

Parts that stand side by side must all be true; `not` (or `-`) binds closest, then `and`, then `or`. Upper and lower case are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trainer_core.curation import filter_fields
from trainer_core.curation.catalogue import Entry
from trainer_core.curation.filter_fields import FIELDS, SORTS, Count, Field, UnfitError, counted
from trainer_core.errors import DatasetError
from trainer_core.text import printable

__all__ = ["FIELDS", "SORTS", "Field", "Filter", "ordered", "parse", "quoted"]

LONGEST = 10_000
DEEPEST = 40
_KEYWORDS = frozenset({"and", "or", "not"})
_ENDS = frozenset("() \t\r\n")

Test = Callable[[Entry], bool]


@dataclass(frozen=True)
class Term:
    """One condition: a field ("" for a bare word), and what it must be, with a backslash before signs meant literally."""

    field: str
    value: str

    def __str__(self) -> str:
        value = _written(self.value, is_bare=not self.field)
        return f"{self.field}:{value}" if self.field else value


@dataclass(frozen=True)
class Not:
    """What must not be true."""

    part: Node

    def __str__(self) -> str:
        return f"not {_bracketed(self.part, (And, Or))}"


@dataclass(frozen=True)
class And:
    """What must all be true; without parts, everything is."""

    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " ".join(_bracketed(part, (And, Or)) for part in self.parts)


@dataclass(frozen=True)
class Or:
    """Of which one must be true."""

    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return " or ".join(_bracketed(part, (Or,)) for part in self.parts)


Node = Term | Not | And | Or


@dataclass(frozen=True)
class Filter:
    """A filter that was understood. Its text says the same as the one it was read from, written in one way."""

    node: Node
    test: Test

    def matches(self, entry: Entry) -> bool:
        """Whether an image fits the filter."""
        return self.test(entry)

    def __str__(self) -> str:
        return str(self.node)


def parse(text: str, tokens: Count = counted, selections: Iterable[str] | None = None) -> Filter:
    """The filter that a text says; an empty one fits every image.

    Args:
        text: the filter.
        tokens: counts the tokens of a caption.
        selections: the names of all selections, so that another one is a mistake; None if they are not known.

    Raises:
        DatasetError: it is not understood; the message names the place in the text, the hint what is allowed.
    """
    if len(text) > LONGEST:
        raise DatasetError(f"The filter is longer than {LONGEST:,} characters.")
    node = _Reader(text, None if selections is None else tuple(selections)).read()
    return Filter(node, _test(node, filter_fields.tests(tokens)))


def ordered(entries: Iterable[Entry], key: str = "path", descending: bool = False) -> list[Entry]:
    """The images in the order of one of `SORTS`, or of a score ("score.blur"); those without a value are last.

    Raises:
        DatasetError: there is no such order.
    """
    value = filter_fields.sort_value(key)
    found = sorted(entries, key=lambda entry: filter_fields.natural(entry.path))
    known = [entry for entry in found if value(entry) is not None]
    rest = [entry for entry in found if value(entry) is None]
    return [*sorted(known, key=value, reverse=descending), *rest]


def quoted(text: str) -> str:
    """A text as a filter that looks for exactly it, such as a tag that was clicked."""
    return _written("".join(f"\\{sign}" if sign in '*?"\\' else sign for sign in text), is_bare=True, always=True)


def _test(node: Node, makers: Callable[[str, str], Test]) -> Test:
    if isinstance(node, Term):
        return makers(node.field, node.value)
    if isinstance(node, Not):
        inner = _test(node.part, makers)
        return lambda entry: not inner(entry)
    tests = [_test(part, makers) for part in node.parts]
    if isinstance(node, And):
        return lambda entry: all(test(entry) for test in tests)
    return lambda entry: any(test(entry) for test in tests)


def _bracketed(node: Node, kinds: tuple[type, ...]) -> str:
    return f"({node})" if isinstance(node, kinds) else str(node)


def _written(value: str, *, is_bare: bool, always: bool = False) -> str:
    """A value as it is written in a filter: in quotes, where it would be read as something else without."""
    is_plain = value and not any(sign in _ENDS or sign.isspace() for sign in value) and '"' not in value
    is_word = not is_bare or (value.casefold() not in _KEYWORDS and ":" not in value and not value.startswith("-"))
    return value if is_plain and is_word and not always else f'"{value}"'


class _Reader:
    """Reads a filter from left to right."""

    def __init__(self, text: str, selections: tuple[str, ...] | None) -> None:
        self.text, self.at, self.depth = text, 0, 0
        self.selections = selections

    def read(self) -> Node:
        self._skip()
        if self.at == len(self.text):
            return And(())
        node = self._either()
        if self.at < len(self.text):
            raise self._error(self.at, "this bracket closes nothing")
        return node

    def _either(self) -> Node:
        parts = [self._all()]
        while self._keyword("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self) -> Node:
        parts = [self._one()]
        while True:
            if not self._keyword("and") and (self._is_at_end() or self._keyword("or", peek=True)):
                return parts[0] if len(parts) == 1 else And(tuple(parts))
            parts.append(self._one())

    def _one(self) -> Node:
        self._skip()
        start = self.at
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._error(start, f"brackets and negations are nested more than {DEEPEST} deep")
        node = self._inner(start)
        self.depth -= 1
        return node

    def _inner(self, start: int) -> Node:
        if self._is_at_end():
            raise self._error(start, "a condition is missing here")
        if self._keyword("not"):
            return Not(self._one())
        if self.text[start] == "-" and self.text[start + 1 : start + 2].strip(" \t\r\n)"):
            self.at += 1
            return Not(self._one())
        if self.text[start] == "(":
            self.at += 1
            node = self._either()
            if self.text[self.at : self.at + 1] != ")":
                raise self._error(start, "this bracket is not closed")
            self.at += 1
            self._skip()
            return node
        for word in ("and", "or"):
            if self._keyword(word, peek=True):
                raise self._error(
                    start,
                    f'"{word}" must stand between two conditions',
                    "To look for the word itself, write it in quotes.",
                )
        return self._term(start)

    def _term(self, start: int) -> Term:
        name, has_field = "", False
        value, is_quoted = self._piece(stops_at=":")
        if self.text[self.at : self.at + 1] == ":" and not is_quoted:
            name, has_field = value.casefold(), True
            self.at += 1
            value_at = self.at
            value, is_quoted = self._piece()
        else:
            value_at = start
        try:
            if has_field:
                filter_fields.field(name)
            if not value.strip():
                raise UnfitError("there is nothing to look for")
            filter_fields.tests(counted)(name, value)
            if name == "in" and self.selections is not None:
                filter_fields.check_selection(value, self.selections)
        except UnfitError as error:
            raise self._error(start if error.is_field else value_at, str(error), error.hint) from error
        self._skip()
        return Term(name, value)

    def _piece(self, stops_at: str = "") -> tuple[str, bool]:
        """A word up to a space, a bracket or this sign, and whether a part of it is in quotes."""
        found, is_quoted = [], False
        while self.at < len(self.text):
            sign = self.text[self.at]
            if sign in _ENDS or sign.isspace() or (sign == stops_at and not is_quoted):
                break
            if sign == '"':
                is_quoted = True
                found.append(self._quoted())
            else:
                found.append(self._sign())
        return "".join(found), is_quoted

    def _quoted(self) -> str:
        start = self.at
        self.at += 1
        found = []
        while self.at < len(self.text) and self.text[self.at] != '"':
            found.append(self._sign())
        if self.at >= len(self.text):
            raise self._error(start, "this quotation mark is not closed", 'For the sign itself, write \\".')
        self.at += 1
        return "".join(found)

    def _sign(self) -> str:
        """The next sign; after a backslash with the backslash, if it has a meaning otherwise."""
        sign = self.text[self.at]
        self.at += 1
        if sign != "\\":
            return sign
        if self.at < len(self.text) and self.text[self.at] in '*?"\\':
            self.at += 1
            return f"\\{self.text[self.at - 1]}"
        return "\\\\"

    def _keyword(self, word: str, *, peek: bool = False) -> bool:
        """Whether this keyword comes next; it is read, unless only asked for."""
        end = self.at + len(word)
        after = self.text[end : end + 1]
        if self.text[self.at : end].casefold() != word or (after and after not in _ENDS and not after.isspace()):
            return False
        if not peek:
            self.at = end
            self._skip()
        return True

    def _is_at_end(self) -> bool:
        return self.at >= len(self.text) or self.text[self.at] == ")"

    def _skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _error(self, place: int, reason: str, hint: str = "") -> DatasetError:
        near = printable(self.text[place : place + 30], 40)
        where = f'at "{near}" (character {place + 1})' if near.strip() else "at its end"
        return DatasetError(f"The filter is not understood {where}: {reason}.", hint)

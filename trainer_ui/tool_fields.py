"""The fields of a tool, declared as rows. Not: their controls on the page, and what their values mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainer_ui import browsing

Values = Mapping[str, Any]
Fits = Callable[[Values], bool]


@dataclass(frozen=True, kw_only=True)
class Field:
    """A value that the user gives. `name` is its key; `when` says for which other values it is shown."""

    name: str
    title: str
    help: str = ""
    more: str = ""
    default: Any = ""
    option: str = ""
    """The option of the command line that stands for it in sentences; the page shows its title in place of that."""
    when: Fits = lambda _: True

    def paths(self, values: Values) -> tuple[str, ...]:
        """The files that its value names, for which is said what they are."""
        del values
        return ()


@dataclass(frozen=True)
class Card:
    """Fields under a heading. A card with `folds` is opened by a button."""

    title: str
    fields: tuple[Field, ...]
    folds: bool = False
    text: str = ""

    def paths(self, values: Values) -> tuple[str, ...]:
        """The files that its fields name."""
        return tuple(path for each in self.fields if each.when(values) for path in each.paths(values))


@dataclass(frozen=True, kw_only=True)
class Words(Field):
    """A text, such as a name."""

    placeholder: str = ""


@dataclass(frozen=True, kw_only=True)
class Number(Field):
    """A number, whole or not, in bounds."""

    low: float | None = None
    high: float | None = None
    whole: bool = False
    default: Any = 0.0


@dataclass(frozen=True, kw_only=True)
class Choice(Field):
    """One of several values, as (words, value); `told` explains the one that is chosen."""

    options: tuple[tuple[str, Any], ...]
    told: Mapping[Any, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Switch(Field):
    """Yes or no."""

    default: Any = False


@dataclass(frozen=True, kw_only=True)
class File(Field):
    """A file or folder of a model; what it is, is said below. `roles` are those of the files on this machine that are offered."""

    roles: tuple[str, ...] = ()
    wants: str = "either"
    extensions: tuple[str, ...] = browsing.MODELS
    is_input: bool = True

    def paths(self, values: Values) -> tuple[str, ...]:
        """The path, if there is one."""
        return (values[self.name],) if self.is_input and values[self.name] else ()


@dataclass(frozen=True, kw_only=True)
class Files(Field):
    """Several files, each with numbers of its own; the value is a tuple of rows, each {"path": ..., name: number}."""

    roles: tuple[str, ...] = ()
    numbers: tuple[tuple[str, str, float], ...] = ()
    """The numbers of each row: name, title and default."""
    least: int = 1
    default: Any = ()

    def empty(self) -> tuple[dict[str, Any], ...]:
        """The rows of an empty form."""
        return tuple({"path": "", **{name: number for name, _, number in self.numbers}} for _ in range(self.least))

    def paths(self, values: Values) -> tuple[str, ...]:
        """The paths of all rows."""
        return tuple(row["path"] for row in values[self.name] if row["path"])


@dataclass(frozen=True, kw_only=True)
class Blocks(Field):
    """Weights by block. `of` is the field with the file; the value has a number for each block that was changed."""

    of: str

"""What Easel decides about every option of an engine: the `options.toml` beside its `backend.toml`.

owned      follow from a setting of the plan, or are fixed by Easel
[native]   topic = options that may be set natively
[refused]  option, or a pattern of names = the reason
[[ignored]] options, programs (patterns of names), reason: taken by the parsers of these programs, and of no use there
[bounds]   option = the least and the most that make sense
weights    those of them that name files of weights
[dataset] and [launch] are tables of the same shape, for the description of the dataset and for the launcher; `records`
are the names of their records.
program    what in `backend.toml` names the program of a cell, where there are several
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

Kind = Literal["owned", "native", "refused", "ignored", "other family", "unaccounted"]


@dataclass(frozen=True)
class Decision:
    """What is decided about one option in one program; `reason` is the topic of a native one."""

    kind: Kind
    reason: str = ""


def decide(
    rules: Mapping[str, Any],
    name: str,
    program: str = "",
    families: tuple[str, ...] = (),
    trained: frozenset[str] = frozenset(),
) -> Decision:
    """The decision about the option `name` of `program`.

    `families` are the model families that have the option, `trained` those in question, both in the engine's words; either
    may be empty, which means all.
    """
    if reason := refusal(rules, name):
        return Decision("refused", reason)
    if reason := uselessness(rules, name, program):
        return Decision("ignored", reason)
    if name in rules.get("owned", ()):
        return Decision("owned")
    if families and trained and not trained.intersection(families):
        return Decision(
            "other family", f"it belongs to {', '.join(families[:4])}{' and others' * (len(families) > 4)}."
        )
    topic = next((topic for topic, names in rules.get("native", {}).items() if name in names), None)
    return Decision("native", topic) if topic else Decision("unaccounted")


def refusal(rules: Mapping[str, Any], name: str) -> str:
    """Why an option is refused, or ""."""
    refused = rules.get("refused", {})
    if name in refused:
        return refused[name]
    return next((reason for pattern, reason in refused.items() if "*" in pattern and fnmatchcase(name, pattern)), "")


def uselessness(rules: Mapping[str, Any], name: str, program: str) -> str:
    """Why an option is of no use in a program, or ""."""
    return next((row["reason"] for row in ignoring(rules, program) if name in row["options"]), "")


def ignoring(rules: Mapping[str, Any], program: str) -> Iterator[Mapping[str, Any]]:
    """The rows of [[ignored]] that speak of a program."""
    for row in rules.get("ignored", ()):
        if any(fnmatchcase(program, pattern) for pattern in row["programs"]):
            yield row


def part(rules: Mapping[str, Any], record: str) -> Mapping[str, Any]:
    """The rules for the options of one record, by the `records` (patterns of names) of [dataset] and [launch]."""
    if _named(rules.get("launch", {}), record):
        return rules["launch"]
    own = rules.get("dataset", {})
    if not _named(own, record):
        return rules
    # What the description of a dataset does not say, the engine takes from the program's option of that name.
    refused = {name: why for name, why in rules.get("refused", {}).items() if name not in own.get("owned", ())}
    return {
        **rules,
        "owned": [*rules.get("owned", ()), *own.get("owned", ())],
        "refused": {**refused, **own.get("refused", {})},
    }


def is_program(rules: Mapping[str, Any], record: str) -> bool:
    """Whether a record is that of a training program, not of its launcher or its dataset."""
    return not any(_named(rules.get(table, {}), record) for table in ("dataset", "launch"))


def _named(table: Mapping[str, Any], record: str) -> bool:
    return any(fnmatchcase(record, pattern) for pattern in table.get("records", ()))

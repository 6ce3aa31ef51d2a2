"""What Easel decides about every option of an engine: its `options.toml`, next to `backend.toml`. Standard library only.

owned      options that a setting of the plan or Easel itself determines
[settings] owned option = the setting that determines it; Easel itself determines those without an entry
[native]   topic = options that users may set as native settings
[refused]  option, or a pattern of names = the reason
[[ignored]] options, programs (patterns of names), reason: the parsers of these programs accept them, but ignore them
[bounds]   option = its lowest and highest useful value
weights    native options that name files of weights
added      those of `weights` that name networks which are added to the model while another one is trained
lists      native options that are a list of key=value: see `arguments`
help       files of the installed engine in which the help texts of the options are, as patterns of paths below its folder
[parts]    option = the package that it needs and that the engine's environment does not have by default
[needs]    option = the option or setting without which it is not read, and a list of its values if only some of them count
[dataset] and [launch] are tables with the same keys, for the description of the dataset and for the launcher; `records`
are the names of their records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal

Kind = Literal["owned", "native", "refused", "ignored", "other family", "unaccounted"]


@dataclass(frozen=True)
class Ignored:
    """Options that some programs' parsers accept, but the programs ignore; `source` is where the source code shows it."""

    options: tuple[str, ...]
    programs: tuple[str, ...]
    reason: str
    source: str = ""


@dataclass(frozen=True)
class Decisions:
    """The decisions about the options of one kind of program."""

    owned: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    native: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[Ignored, ...] = ()
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    weights: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecordDecisions(Decisions):
    """The decisions about the options in `records` (patterns of names) that are not training programs.

    `called` maps a program's option to its name in these records.
    """

    records: tuple[str, ...] = ()
    called: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OptionRules(Decisions):
    """A whole `options.toml`."""

    help: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, tuple[str | tuple[str, ...], ...]] = field(default_factory=dict)
    dataset: RecordDecisions = RecordDecisions()
    launch: RecordDecisions = RecordDecisions()


@dataclass(frozen=True)
class Decision:
    """The decision about one option in one program.

    `reason` is the topic of a native option, and the setting that determines an owned one, or "".
    """

    kind: Kind
    reason: str = ""


def decide(
    rules: Decisions,
    name: str,
    program: str = "",
    families: tuple[str, ...] = (),
    trained: frozenset[str] = frozenset(),
) -> Decision:
    """The decision about the option `name` of `program`.

    `families` are the model families that have the option, `trained` those that matter here, both by the engine's names;
    an empty one means all.
    """
    if reason := refusal(rules, name):
        return Decision("refused", reason)
    if reason := ignored_reason(rules, name, program):
        return Decision("ignored", reason)
    if name in rules.owned:
        return Decision("owned", rules.settings.get(name, ""))
    if families and trained and not trained.intersection(families):
        return Decision("other family", f"it is for {', '.join(families[:4])}{' and others' * (len(families) > 4)}.")
    topic = next((topic for topic, names in rules.native.items() if name in names), None)
    return Decision("native", topic) if topic else Decision("unaccounted")


def refusal(rules: Decisions, name: str) -> str:
    """Why an option is refused, or ""."""
    if name in rules.refused:
        return rules.refused[name]
    patterns = ((pattern, reason) for pattern, reason in rules.refused.items() if "*" in pattern)
    return next((reason for pattern, reason in patterns if fnmatchcase(name, pattern)), "")


def ignored_reason(rules: Decisions, name: str, program: str) -> str:
    """Why a program ignores an option, or ""."""
    return next((row.reason for row in ignored_rows(rules, program) if name in row.options), "")


def ignored_rows(rules: Decisions, program: str) -> Iterator[Ignored]:
    """The rows of [[ignored]] that apply to a program."""
    for row in rules.ignored:
        if any(fnmatchcase(program, pattern) for pattern in row.programs):
            yield row


def part(rules: OptionRules, record: str) -> Decisions:
    """The rules for the options of one record, by the `records` of [dataset] and [launch]."""
    if _named(rules.launch, record):
        return rules.launch
    own = rules.dataset
    if not _named(own, record):
        return rules
    # If the description of a dataset lacks a key, the engine uses the program's option of that name.
    refused = {name: why for name, why in rules.refused.items() if name not in own.owned}
    return replace(
        rules,
        owned=(*rules.owned, *own.owned),
        settings={**rules.settings, **own.settings},
        refused={**refused, **own.refused},
    )


def is_program(rules: OptionRules, record: str) -> bool:
    """Whether a record belongs to a training program, not to the launcher or the dataset."""
    return not any(_named(table, record) for table in (rules.dataset, rules.launch))


def _named(table: RecordDecisions, record: str) -> bool:
    return any(fnmatchcase(record, pattern) for pattern in table.records)

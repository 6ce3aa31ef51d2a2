"""Reads the plan in the header of a result again. The header is untrusted: each value is checked like one in a plan file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer_core.errors import PlanError
from trainer_core.plan import fields
from trainer_core.plan.prompts import texts
from trainer_core.plan.subsets import LIST
from trainer_core.text import printable
from trainer_core.training.metadata import keys
from trainer_core.training.metadata.shared import canonical, digest

LONGEST_PLAN = 1 << 20
MOST_NOTES = 20


@dataclass(frozen=True)
class Recorded:
    """A plan from a header.

    `values` are its settings by dotted path, without paths to files. `asked` has the file or folder name of each path that
    must be chosen again. `is_unchanged` says whether the plan's text still has its SHA-256. `facts` are the other keys of
    Easel's. `notes` are sentences about what was left out.
    """

    values: Mapping[str, Any]
    engine: str = ""
    asked: Mapping[str, str] = field(default_factory=dict)
    is_unchanged: bool = True
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read(metadata: Mapping[str, str]) -> Recorded:
    """The plan in the metadata of a file.

    Raises:
        PlanError: it contains no plan of Easel's, or one that cannot be read.
    """
    text = metadata.get(keys.PLAN, "")
    if not text:
        raise PlanError("The file contains no plan of Easel's.", "Only results that Easel delivered contain one.")
    stated_plan = tables(text)
    values: dict[str, Any] = {}
    asked: dict[str, str] = {}
    notes: list[str] = []
    known = fields.all_fields()
    for path, value in fields.flatten(stated_plan).items():
        if path == "native":
            continue
        if path not in known:
            notes.append(f"{printable(path, 60)} is not a setting of this Easel and was left out.")
        elif known[path].about.path:
            asked |= {path: printable(value, 200)} if isinstance(value, str) and value else {}
        elif path == LIST:
            # Of the folders only their names are known, so the list must be made again.
            asked |= {path: printable(", ".join(names), 200)} if (names := _names(value)) else {}
        elif known[path].is_shared or known[path].owner in ("job", "machine"):
            _take(path, value, values, notes)
    native = stated_plan.get("native")
    if isinstance(native, Mapping) and native and all(isinstance(table, Mapping) for table in native.values()):
        values["native"] = native
        notes.append("It also contains options of the engine's own (native settings); check them before you train.")
    stated = metadata.get(keys.PLAN_DIGEST, "")
    facts = {key: printable(metadata[key], 200) for key in keys.KEYS if key in metadata and key != keys.PLAN}
    more = [f"{len(notes) - MOST_NOTES} more entries were left out."] if len(notes) > MOST_NOTES else []
    return Recorded(
        values=values,
        engine=printable(metadata.get(keys.ENGINE, ""), 60),
        asked=asked,
        is_unchanged=stated == digest(text) and text == canonical(stated_plan),
        facts=facts,
        notes=(*notes[:MOST_NOTES], *more),
    )


def tables(text: str) -> dict[str, Any]:
    """The tables in the text of a plan, without a check of its values.

    Raises:
        PlanError: the text is not that of a plan.
    """
    if len(text) > LONGEST_PLAN:
        raise PlanError(f"The plan in the file is longer than {LONGEST_PLAN >> 10} kB, so it is not one of Easel's.")
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise PlanError("The plan in the file is not JSON.", "The metadata of the file is damaged.") from error
    if not isinstance(found, dict) or not all(isinstance(table, dict) for table in found.values()):
        raise PlanError("The plan in the file has no tables of settings.", "The metadata of the file is damaged.")
    return found


def _names(folders: Any) -> list[str]:
    found = (each.get("path") for each in folders if isinstance(each, Mapping)) if isinstance(folders, tuple) else ()
    return [name for name in found if isinstance(name, str) and name]


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _take(path: str, value: Any, values: dict[str, Any], notes: list[str]) -> None:
    taken, sentence = fields.check(path, value)
    if not sentence and any(len(text) > 10_000 or not _is_plain(text) for text in texts(taken)):
        sentence = f"{fields.all_fields()[path].title}: it contains control characters."
    if sentence:
        notes.append(f"{path} was left out: {printable(sentence, 200)}")
    else:
        values[path] = taken


def _is_plain(text: str) -> bool:
    return text == printable(text, len(text), keep="\n\t")

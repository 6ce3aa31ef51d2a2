"""The tool that writes a copy of a model file without personal metadata, for publishing, and the kind of job that runs it.

`python -m trainer_core.tools.scrub` is the program of such a job: see `making`. The tensors are copied bit by bit.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trainer_core import places
from trainer_core.errors import PlanError, RenamingError
from trainer_core.files import from_table, read_toml
from trainer_core.jobs import own_program
from trainer_core.jobs.job import Job
from trainer_core.models import header, tensor_copy
from trainer_core.models.header import Header
from trainer_core.plan import fields
from trainer_core.text import printable
from trainer_core.tools import making
from trainer_core.training import metadata as own
from trainer_core.training.metadata import keys, privacy
from trainer_core.weights import new_names, writing

KIND = "scrub"
ENDING = "-public"
"""The ending of the copy's name."""
SHOWN = 60
"""How many characters of a value are shown."""
_HASH = re.compile(r"(?:0x)?[0-9a-fA-F]{8,64}")
"""A hash of a file or a commit, which looks like a token and is none."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a scrub: the file, the file to write ("": next to it, with an ending), and what to keep.

    `keep` are groups of scrub.toml or metadata keys.
    """

    file: str
    target: str = ""
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """One group of scrub.toml."""

    reason: str
    keys: tuple[str, ...] = ()
    inside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    plan: bool = False


@dataclass(frozen=True)
class Finding:
    """What happens to one metadata key: the reason, the group ("" for a key that no group has), and what is lost of its value."""

    key: str
    action: Literal["removed", "shortened"]
    reason: str
    group: str
    shown: str


@functools.cache
def groups() -> Mapping[str, Group]:
    """The groups of scrub.toml by id."""
    return {name: from_table(Group, row, f"scrub.toml [{name}]") for name, row in _rules()["groups"].items()}


def scrubbed(metadata: Mapping[str, str], keep: Collection[str] = ()) -> tuple[dict[str, str], list[Finding]]:
    """The metadata for publishing, and what was removed from it or shortened, in the order of the keys.

    Raises:
        RenamingError: `keep` names neither a group nor a key of the file.
    """
    if unknown := [name for name in keep if name not in groups() and name not in metadata]:
        raise RenamingError(
            f"{printable(unknown[0], 60)} is neither a group nor a metadata key of this file.",
            f"Groups: {', '.join(groups())}.",
        )
    kept: dict[str, str] = {}
    findings: list[Finding] = []
    for key, value in metadata.items():
        left, found = (value, []) if key in keep else _cleaned(key, value, keep)
        findings += found
        if left is not None:
            kept[key] = left
    if keys.PLAN in kept and kept[keys.PLAN] != metadata[keys.PLAN]:
        # The new plan is as Easel would have written it, so it gets its own digest.
        kept[keys.PLAN_DIGEST] = own.digest(kept[keys.PLAN])
    return kept, findings


def _cleaned(key: str, value: str, keep: Collection[str]) -> tuple[str | None, list[Finding]]:
    """The value that stays, None if the key is removed, and the findings."""
    findings: list[Finding] = []
    for name, group in groups().items():
        if name in keep:
            continue
        if key in group.keys:
            return None, [Finding(key, "removed", group.reason, name, _shown(value))]
        left = value
        if key in group.inside:
            left = _without(value, group.inside[key])
        elif group.plan and key == keys.PLAN:
            left = _public_plan(value)
        if left != value:
            findings.append(Finding(key, "shortened", group.reason, name, _lost(value, left)))
            value = left
    return _checked(key, value, findings)


def _checked(key: str, value: str, findings: list[Finding]) -> tuple[str | None, list[Finding]]:
    """The value of a key that no group removes: what identifies somebody is cut out of a known key, and removes an unknown one."""
    what = "" if _HASH.fullmatch(value) else privacy.private(value)
    if not what:
        return value, findings
    left = privacy.without_paths(value) if _is_known(key) else ""
    if left and not privacy.private(left):
        return left, [*findings, Finding(key, "shortened", f"it contains {what}", "", _shown(value))]
    return None, [*findings, Finding(key, "removed", f"it contains {what}", "", _shown(value))]


def _is_known(key: str) -> bool:
    known = _rules()["known"]
    return key in known["keys"] or key.startswith(tuple(known["prefixes"]))


def _without(text: str, names: Collection[str]) -> str:
    """A JSON text without the entries of these names, at any depth; the text itself if it is not JSON or has none of them."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    left = _pruned(found, names)
    return text if left == found else json.dumps(left)


def _pruned(value: Any, names: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(entry, names) for key, entry in value.items() if key not in names}
    return [_pruned(entry, names) for entry in value] if isinstance(value, list) else value


def _public_plan(text: str) -> str:
    """Easel's plan without the settings that are declared as a path or a prompt, and without an engine's own options."""
    try:
        tables = own.tables(text)
    except PlanError:
        return text
    known = fields.all_fields()
    flat = {
        path: value
        for path, value in fields.flatten(tables).items()
        if path in known and not known[path].about.path and not known[path].about.prompt
    }
    return own.canonical(fields.nest(flat))


def _lost(before: str, after: str) -> str:
    """A few words of what is in one text and not in the other."""
    return _shown(f"{len(before) - len(after)} characters of {len(before)}")


def _shown(value: str) -> str:
    return printable(value, SHOWN)


@functools.cache
def _rules() -> Mapping[str, Any]:
    return read_toml(Path(__file__).with_name("scrub.toml"), RenamingError, "Install Easel again.")


def preview(settings: Settings) -> tuple[dict[str, str], list[Finding], Header]:
    """The metadata that the copy would have, what it would lose, and the header of the file.

    Raises:
        RenamingError: the file is not a .safetensors file, or `keep` names something that does not exist.
        HeaderError: the file cannot be read.
    """
    found = header.read_file(making.source(settings.file))
    if found.format != "safetensors":
        raise RenamingError("Only the metadata of a .safetensors file can be removed.", "Convert it first.")
    return *scrubbed(found.metadata, settings.keep), found


def target(settings: Settings) -> Path:
    """The path of the copy.

    Raises:
        RenamingError: a file exists there.
    """
    source = places.typed(settings.file).absolute()
    path = (
        new_names.chosen(settings.target, source.parent) if settings.target else source.with_stem(source.stem + ENDING)
    )
    if path.exists() or path.is_symlink():
        raise RenamingError(f"{path} already exists.", "Choose another name for the copy.")
    return path


def start(settings: Settings) -> Job:
    """The job that writes the copy, started now.

    Raises:
        RenamingError, HeaderError: the copy cannot be made.
        JobError: the job cannot be started.
    """
    preview(settings)
    # The program runs in the folder of its job.
    source = str(places.typed(settings.file).absolute())
    return own_program.started(KIND, __name__, dataclasses.replace(settings, file=source, target=str(target(settings))))


def run(settings: Settings, report: Callable[[str], None]) -> Path:
    """Writes the copy and returns its path.

    Raises:
        RenamingError: the copy cannot be made.
        WeightsError: the disk is too full.
        OSError: a file cannot be read or written.
    """
    report("Reading the header")
    kept, _, found = preview(settings)
    path = target(settings)
    entries = writing.copies(found.path, tensor_copy.whole(found.tensors))
    report("Copying")
    writing.write(path, entries, kept, making.Meter(report, "Copied"), writing.unchanged(found.path))
    return path


def described(findings: Collection[Finding]) -> Iterator[tuple[str, str, str, str]]:
    """The rows of a table: the key, what happens to it, why, and what its value was."""
    return ((each.key, each.action, each.reason, each.shown) for each in findings)


kind = making.WeightsTool(KIND, "Removing personal metadata", Settings, start)


if __name__ == "__main__":
    sys.exit(making.program(Settings, run))

"""What the constructor of an engine's optimizer takes: the record of it, and the checks of the arguments that a user adds.

`optimizers.json` next to a `backend.toml` is the record of the pinned version (scripts/record_optimizers.py). A trial of the
installed engine reads the same from its own environment, and counts more.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer_core import catalog
from trainer_core.engines import arguments, needs, python_literal
from trainer_core.engines.arguments import Argument
from trainer_core.problems import Problem
from trainer_core.text import nearest

if TYPE_CHECKING:
    from pathlib import Path

    from trainer_core.engines.manifest import BackendManifest
    from trainer_core.engines.status import EngineStatus
    from trainer_core.plan.sections import TrainingPlan

FILE = "optimizers.json"
NOT_ARGUMENTS = ("params", "lr")
"""What every optimizer takes, and the engine passes itself."""


@dataclass(frozen=True)
class Taken:
    """What one optimizer takes: its class, the file of its class in the packages, and {argument: {"default": its default}}."""

    kind: str
    file: str
    takes: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Notation:
    """How an engine writes an argument: how a value is shown, and what is wrong with a text for a default, "" if nothing."""

    shown: Callable[[Any], str]
    wrong: Callable[[str, Any], str]


def recorded(manifest: BackendManifest) -> Mapping[str, Taken]:
    """What each optimizer of an engine takes, by Easel's name; {} without a record."""
    return _read(manifest.folder / FILE)


@functools.cache
def _read(file: Path) -> Mapping[str, Taken]:
    if not file.is_file():
        return {}
    rows = json.loads(file.read_text("utf-8"))["optimizers"]
    return {name: Taken(row["class"], row["file"], row["takes"]) for name, row in rows.items()}


def taken(manifest: BackendManifest, name: str, status: EngineStatus) -> Taken | None:
    """What an optimizer takes: as read in the installed engine, else as recorded; None if neither is there."""
    row, trial = recorded(manifest).get(name), status.trials.optimizers.get(name)
    if row is not None and trial is not None and trial.takes is not None:
        return Taken(row.kind, row.file, trial.takes)
    return row


def of_optimizer(
    manifest: BackendManifest,
    name: str,
    status: EngineStatus,
    option: str,
    follows: Mapping[str, tuple[str, ...]],
    refused: Mapping[str, str],
    notation: Notation,
) -> Iterator[Argument]:
    """The arguments of an optimizer, then those that only other optimizers of the engine take.

    `follows` are those that Easel sets itself, with the settings that each follows from. `refused` are those that
    cannot be set, with the reason.
    """
    own = taken(manifest, name, status)
    if own is None:
        return
    for key, about in own.takes.items():
        if key in NOT_ARGUMENTS:
            continue
        why_not = refused.get(key, "")
        if key in follows and not follows[key]:
            why_not = "Easel determines it, and no setting changes it."
        if follows.get(key):
            yield from (Argument(option, key, own.kind, setting=path) for path in follows[key])
            continue
        yield Argument(
            option=option,
            key=key,
            reader=own.kind,
            wanted=wanted(about.get("default")),
            choices=("True", "False") if isinstance(about.get("default"), bool) else (),
            default=notation.shown(about["default"]) if "default" in about else "",
            file=own.file,
            why_not=why_not,
        )
    for key, names in _of_others(manifest, own).items():
        titles = [catalog.optimizers()[each].title for each in names[:3]]
        yield Argument(option, key, own.kind, why_not=f"{title(name)} does not take it; {_listed(titles)} does.")


def settings(
    option: str, manifest: BackendManifest, follows: Callable[[str], Mapping[str, tuple[str, ...]]]
) -> Iterator[Argument]:
    """The arguments of all optimizers of an engine that follow from settings of the plan."""
    pairs = {
        (key, path)
        for name in manifest.optimizers
        if name in catalog.optimizers()
        for key, paths in follows(name).items()
        for path in paths
    }
    yield from (Argument(option, key, "", setting=path) for key, path in sorted(pairs))


def _listed(titles: Sequence[str]) -> str:
    return titles[0] if len(titles) == 1 else f"each of {', '.join(titles)}"


def title(name: str) -> str:
    """The title of an optimizer."""
    found = catalog.optimizers().get(name)
    return found.title if found else name


def _of_others(manifest: BackendManifest, own: Taken) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, other in recorded(manifest).items():
        for key in other.takes.keys() - own.takes.keys():
            if key not in NOT_ARGUMENTS and name in catalog.optimizers():
                found.setdefault(key, []).append(name)
    return dict(sorted(found.items()))


def wanted(default: Any) -> str:
    """What the value of an argument with this default must be."""
    if isinstance(default, bool):
        return "True or False"
    if isinstance(default, list):
        return f"{len(default)} numbers in brackets, such as {python(default)}"
    if isinstance(default, int | float) or default == "inf":
        return "a number"
    return "a text" if isinstance(default, str) else "a value of the kind that the optimizer expects"


def problems(
    plan: TrainingPlan,
    path: str,
    given: Any,
    known: Sequence[Argument],
    defaults: Mapping[str, Any],
    notation: Notation,
) -> Iterator[Problem]:
    """The Problems of the arguments that a user adds to those of an optimizer; `known` are all from `of_optimizer`.

    `path` is that of the native setting that has them. `defaults` are those of the arguments by key.
    """
    (_, engine, option), name = path.split("."), plan.optimizer.name
    of_key: dict[str, list[Argument]] = {}
    for one in known:
        of_key.setdefault(one.key, []).append(one)
    free = [one.key for one in known if not one.setting and not one.why_not]
    named = [arguments.key_of(entry) for entry in arguments.entries(given)]
    for entry in {arguments.key_of(entry): entry for entry in arguments.entries(given)}.values():
        key, separator, value = (part.strip() for part in entry.partition("="))
        found = of_key.get(key, [])
        settings = [one.setting for one in found if one.setting]
        said = ""
        if key in NOT_ARGUMENTS:
            said = f"{key} is set by the plan: change optimizer.learning_rate instead."
        elif settings:
            said = f"{key} is set by the plan: change {' and '.join(settings)} instead."
        elif not found:
            near = nearest(key, free)
            said = f"{title(name)} does not take {key!r:.60}.{f' Did you mean {near}?' if near else ''}"
        elif found[0].why_not:
            said = f"{key} cannot be set: {found[0].why_not}"
        elif not separator or not value:
            said = f"{entry!r:.80} must have the form key=value."
        elif named.count(key) > 1:
            said = f"{key} is there twice: remove one of them."
        else:
            wrong = notation.wrong(value, defaults.get(key))
            said = f"{key} {wrong}" if wrong else ""
        if said:
            yield Problem(path, "error", said, needs.remove_entry(plan, engine, option, arguments.key_of(entry)))


def python(value: Any) -> str:
    """A default in Python's notation."""
    if isinstance(value, list):
        return f"({', '.join(map(python, value))})"
    return str(value) if isinstance(value, str) else repr(value)


def wrong_in_python(text: str, default: Any) -> str:
    """What is wrong with a text for an argument with this default, in Python's notation, as the rest of a sentence."""
    try:
        value = python_literal.value_of(text)
    except ValueError:
        return f"must be {wanted(default)} in Python's notation, not {text!r:.60}."
    if "=" in text:
        return "must not contain an equals sign: the engine divides the text there."
    return "" if fits(value, default) else f"must be {wanted(default)}, not {text!r:.60}."


def fits(value: Any, default: Any) -> bool:
    """Whether a value is of the kind of a default."""
    if default is None:
        return True
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, list):
        return isinstance(value, list | tuple) and len(value) == len(default) and all(map(_is_number, value))
    if isinstance(default, int | float) or default == "inf":
        return _is_number(value)
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

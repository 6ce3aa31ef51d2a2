"""A pasted command or configuration of an engine for a job: what would be taken over is listed first, then applied, and undone if wanted."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.child import is_secret
from trainer_core.engines import arguments, pasted
from trainer_core.engines.pasted import Item, ReadsCommands
from trainer_core.errors import PlanError
from trainer_core.plan import fields
from trainer_core.prepare import entering, length, preview
from trainer_core.prepare.own_settings import program_of
from trainer_core.prepare.setting_row import safe
from trainer_core.prepare.workbench import NO_POLICY, PLAIN
from trainer_core.problems import blocking
from trainer_core.text import amount

if TYPE_CHECKING:
    from pathlib import Path

    from trainer_core.engines.seam import Backend
    from trainer_core.prepare.workbench import Workbench

LARGEST_BYTES = 1024**2
"""A file that a command names and that is larger is not read."""
READ_ENDINGS = (".toml", ".json", ".txt")
MOST_FOLDERS = 10_000
WORDS: Mapping[str, str] = {
    "setting": "Taken over as settings",
    "epochs": "Taken over as settings",
    "share": "Taken over as settings",
    "native": "Taken over as own options of the engine",
    "same": "Easel does this by itself",
    "refused": "Cannot be used",
}
"""The heading above what becomes of the options."""
DEFAULTS = "Not in the text: the engine's own defaults"


@dataclass(frozen=True)
class Offer:
    """What would be taken over from a text: the engine, the training method, and what becomes of each option."""

    engine: str
    title: str
    method: str
    items: tuple[Item, ...]

    @property
    def values(self) -> dict[str, Any]:
        """The settings that would be set, by path."""
        return {one.path: one.value for one in self.items if one.kind == "setting"}

    @property
    def sentence(self) -> str:
        """How many options are taken over."""
        given = {one.option for one in self.items if not one.is_default}
        refused = {one.option for one in self.items if one.kind == "refused"}
        more = sum(one.is_default for one in self.items)
        told = f"{len(given - refused)} of {len(given)} options are taken over."
        what = "1 more setting gets" if more == 1 else f"{more} more settings get"
        return f"{told} {what} the default of {self.title}, which differs from Easel's." if more else told

    def grouped(self) -> dict[str, list[Item]]:
        """The items below their headings; what cannot be used comes first."""
        order = ("refused", "setting", "epochs", "share", "native", "same")
        found: dict[str, list[Item]] = {}
        for one in sorted(self.items, key=lambda each: (each.is_default, order.index(each.kind))):
            found.setdefault(DEFAULTS if one.is_default else WORDS[one.kind], []).append(one)
        return found

    def as_dict(self) -> dict[str, Any]:
        """The offer as JSON data."""
        items = [
            {
                "option": one.option,
                "value": one.shown,
                "becomes": one.kind,
                "path": one.path,
                "setting": entering.shown(one.value) if one.path else "",
                "reason": one.reason,
                "is_default": one.is_default,
            }
            for one in self.items
        ]
        return {"engine": self.engine, "method": self.method, "sentence": self.sentence, "options": items}


class Here:
    """The files and folders on this machine that a command names: only small files of text are read."""

    def text(self, path: str) -> str:
        """The text of a file."""
        found = _place(path)
        if found.suffix.lower() not in READ_ENDINGS:
            raise PlanError(f"{found.name} is not read: only {', '.join(READ_ENDINGS)} are.")
        try:
            if not found.is_file():
                raise PlanError(f"{found} is not here.")
            if found.stat().st_size > LARGEST_BYTES:
                raise PlanError(f"{found} is larger than 1 MiB.")
            return found.read_text("utf-8-sig")
        except (OSError, ValueError) as error:
            raise PlanError(f"{found} cannot be read.") from error

    def folders(self, path: str) -> tuple[str, ...]:
        """The names of the folders in a folder."""
        found = _place(path)
        try:
            if not found.is_dir():
                raise PlanError(f"The folder {found} is not here.")
            return tuple(
                sorted(
                    each.name for each, _ in zip(found.iterdir(), range(MOST_FOLDERS), strict=False) if each.is_dir()
                )
            )
        except (OSError, ValueError) as error:
            raise PlanError(f"{found} cannot be read.") from error


def as_sentence(reason: str) -> str:
    """A reason with a capital letter, unless it begins with a name, such as that of an option or a file."""
    first = reason.partition(" ")[0].rstrip(",:;.")
    return reason[:1].upper() + reason[1:] if first.isalpha() else reason


def _place(path: str) -> Path:
    if os.name != "nt" and pasted.of_windows(path):
        raise PlanError(f"{path:.80} is a path of Windows, which this machine cannot open.")
    try:
        return places.typed(path).absolute()
    except (OSError, ValueError, RuntimeError) as error:
        raise PlanError(f"{path!r:.80} is no path.") from error


def look(bench: Workbench, text: str) -> Offer:
    """What would be taken over from a text for the job of a workbench, which is not changed.

    Raises:
        PlanError: the text is neither a command nor a configuration, or of no engine that Easel has.
    """
    given = pasted.parse(text)
    readers = [engine for engine in bench.state.engines if isinstance(engine, ReadsCommands)]
    engine = next((one for one in readers if one.reads(given)), None)
    if engine is None:
        known = " or ".join(one.manifest.title for one in readers)
        name = f" {given.program!r:.60}" if given.program else ""
        raise PlanError(f"This{name} is no training command and no configuration of {known}.", pasted.HOW)
    reading = engine.read_command(given, bench.state.family, Here())
    about = engine.manifest
    return _checked(bench, Offer(about.id, about.title, reading.method, _once(reading.items)), reading.family)


def _once(items: Iterable[Item]) -> tuple[Item, ...]:
    """The items, with a default only where no option of the text has set the same."""
    found = tuple(items)
    given = {one.path for one in found if one.path and not one.is_default}
    return tuple(one for one in found if not (one.is_default and one.path in given))


def _checked(bench: Workbench, offer: Offer, family: str) -> Offer:
    """The offer after a trial: epochs counted, and own options that Easel sets anyway, or that have a Problem, marked as such."""
    offer = replace(offer, items=tuple(_present(bench, _without_secret(one)) for one in offer.items))
    trial = copy.copy(bench)
    _begin(trial, offer)
    if not trial.state.family:
        trial.set({"model.family": family})
    items = [_counted(trial, one) for one in offer.items]
    trial.set({one.path: one.value for one in items if one.kind == "setting"})
    items = [_shared(trial, one) for one in items]
    trial.set({one.path: one.value for one in items if one.kind == "setting"})
    written = preview.written(trial.state, program_of(trial.state))
    items = [_as_written(one, written) for one in items]
    trial.set(_native(trial, items))
    problems = {one.path: one.message for one in blocking(trial.problems)}
    engine = trial.state.backend
    items = [_refused(one, problems, engine) for one in items]
    # A reason is a sentence of its own in a list.
    return replace(offer, items=tuple(map(_said, items)))


def _said(one: Item) -> Item:
    """An item as it is shown."""
    text = safe(one.option, one.shown)
    if one.kind == "refused" and text != one.shown:
        one = replace(one, path="", value=None)
    return replace(one, shown=text, reason=as_sentence(one.reason))


def _without_secret(one: Item) -> Item:
    """An option whose value is a token, or an address with a password, is not taken over, whatever its name is."""
    values = one.value if isinstance(one.value, list | tuple) else [one.value]
    if not any(isinstance(each, str) and is_secret("", each.strip()) for each in values):
        return one
    return replace(one, kind="refused", path="", value=None, reason="secrets do not belong in a plan.")


def _present(bench: Workbench, one: Item) -> Item:
    """A file or folder that is not here is not taken over where the job has one: it is that of another machine."""
    field = fields.all_fields().get(one.path) if one.kind == "setting" else None
    if field is None or not field.about.path:
        return one
    if os.name != "nt" and pasted.of_windows(str(one.value)):
        return replace(
            one, kind="refused", reason=f"it is a path of Windows: choose it on this machine ({field.title})."
        )
    if field.about.written or not bench.state.draft.text(one.path):
        return one
    if places.is_there(_place(str(one.value))):
        return one
    return replace(one, kind="refused", reason=f"It is not here, so your own choice stays ({field.title}).")


def _begin(bench: Workbench, offer: Offer) -> None:
    """Chooses the engine and the method; what the text does not say has plain defaults, and not those of a profile."""
    bench.use_engine(offer.engine)
    bench.use_preset("")
    bench.use_policy(NO_POLICY)
    bench.use_profile(PLAIN)
    # The paths decide what else is known, such as how many images make an epoch.
    known = fields.all_fields()
    first = {
        path: value for path, value in offer.values.items() if known[path].about.path or known[path].about.said_by_model
    }
    bench.set({"model.method": offer.method, **first})
    bench.set({path: value for path, value in offer.values.items() if path not in first})


def _counted(bench: Workbench, one: Item) -> Item:
    """An option in epochs as a number of steps."""
    if one.kind != "epochs":
        return one
    try:
        (steps,) = length.from_epochs(bench.state, one.path, str(one.value)).values()
    except PlanError as error:
        return replace(one, kind="refused", reason=f"{error.message} {error.hint}".strip())
    return replace(one, kind="setting", value=steps, reason=_in_steps(one.shown, steps))


def _in_steps(epochs: str, steps: int) -> str:
    first = "1 epoch is" if epochs.strip() == "1" else f"{epochs} epochs are"
    return f"{first} {amount(steps, 'step')} here."


def _shared(bench: Workbench, one: Item) -> Item:
    """An option that is a share of the steps as a number of steps."""
    if one.kind != "share":
        return one
    steps = round(one.value * int(bench.state.draft.usable_values["schedule.steps"]))
    return replace(one, kind="setting", value=steps, reason=f"{one.value:g} of the steps are {steps:,} steps here.")


def _as_written(one: Item, written: Mapping[str, Any]) -> Item:
    if one.kind == "native" and one.path.count(".") == 2 and written.get(one.path.rpartition(".")[2]) == one.value:
        return replace(one, kind="same", reason="Easel sets it so.")
    return one


def _refused(one: Item, problems: Mapping[str, str], engine: Backend | None) -> Item:
    """An own option that the checks refuse, with their reason."""
    if one.kind != "native" or engine is None:
        return one
    pair = arguments.named(engine.manifest.id, one.path, engine.manifest)
    path = one.path if pair is None else f"native.{engine.manifest.id}.{pair[0]}"
    message = problems.get(path, "")
    if not message or (pair is not None and not any(word in message for word in (pair[1], repr(pair[1])))):
        return one
    return replace(one, kind="refused", reason=message)


def _native(bench: Workbench, items: Iterable[Item]) -> dict[str, Any]:
    """The change that sets the own options of an offer; {} if it has none."""
    trial = copy.copy(bench)
    for one in items:
        if one.kind != "native":
            continue
        engine = trial.state.backend
        pair = arguments.named(engine.manifest.id, one.path, engine.manifest) if engine else None
        if pair is None:
            trial.set(entering.set_native(trial, one.path, one.value))
            continue
        option, key = pair
        program = program_of(trial.state)
        many = program is None or option not in program.options or program.options[option].many
        own = entering.own_native(trial).get(engine.manifest.id, {}).get(option) if engine else None
        changed = arguments.with_entry(own, key, str(one.value), many=many)
        trial.set(entering.set_native(trial, one.path.rpartition(f".{key}")[0], changed))
    found = entering.own_native(trial)
    return {"native": found} if found else {}


def take(bench: Workbench, offer: Offer) -> None:
    """Applies an offer: every value becomes one of the user. To undo it, keep the state of the workbench before."""
    _begin(bench, offer)
    bench.set(_native(bench, offer.items))

"""The image folders of a job for people: what each of them trains in an epoch, what is wrong with it, and changes of the list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.engines import batches
from trainer_core.errors import PlanError
from trainer_core.plan import fields
from trainer_core.plan.subsets import CLASS, CONTROLS, FIRST, LIST, MOST_SUBSETS, OWN, ImageFolder, of_path
from trainer_core.prepare import length
from trainer_core.problems import Fix, Problem
from trainer_core.text import plain_number, printable

if TYPE_CHECKING:
    from trainer_core.datasets.scan import Dataset
    from trainer_core.prepare.state import State

SHARE, EVERY = "dataset.validation_share", "dataset.validate_every"
EFFECTS = {"caption_choices": "wildcards", "alpha_masks": "alpha"}
"""What a folder can have of its own without a setting for all folders, and the effect of the engine's option for it."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What an image folder of a job trains. Numbers are of images; `used` counts how often images are used in an epoch.

    `own` is what an entry of the list sets itself, `selections` the sizes of the selections that the folder has.
    """

    folder: ImageFolder
    images: int = 0
    captions: int = 0
    masks: int = 0
    pairs: int = 0
    held_out: int = 0
    used: int = 0
    error: str = ""
    own: Mapping[str, Any] = field(default_factory=dict)
    selections: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def title(self) -> str:
        """The name of the folder; "Class images" for those of the setting."""
        return "Class images" if self.folder.setting == CLASS else printable(Path(self.folder.path).name, 80)

    @property
    def sum(self) -> str:
        """How often its images are used in an epoch, as a calculation."""
        if self.error:
            return "cannot be read"
        if not self.folder.is_trained:
            return f"{counted(self.held_out)}, none trained"
        if not self.images:
            return "no images"
        plain = self.images * self.folder.repeats == self.used
        if plain and self.folder.repeats > 1:
            return f"{counted(self.images)}, each {self.folder.repeats} times: {self.used:,}"
        if plain:
            return counted(self.images)
        if not self.folder.is_regularisation:
            return f"{counted(self.images)}, used {self.used:,} times"
        of_class = f"{self.images:,} class {'image' if self.images == 1 else 'images'}"
        if self.used < self.images:
            return f"{of_class}, {self.used:,} of them used: there are no more of the subject"
        return f"{of_class}, repeated to {self.used:,} to match the subject"

    @property
    def notes(self) -> tuple[str, ...]:
        """What else is known of it, in a few words each."""
        folder, without = self.folder, self.images - self.captions
        return tuple(
            filter(
                None,
                (
                    "class images" if folder.is_regularisation and folder.setting != CLASS else "",
                    f"selection {printable(folder.selection, 60)}" if folder.selection else "",
                    f"{without:,} without a caption" if without and not self.error else "",
                    f"{self.masks:,} masks" if folder.masks else "",
                    f"{self.pairs:,} pairs" if folder.controls_given else "",
                    f"{self.held_out:,} held out" if self.held_out and folder.is_trained else "",
                ),
            )
        )

    def as_dict(self) -> dict[str, Any]:
        """The part as JSON data."""
        folder = self.folder
        numbers = {
            name: getattr(self, name) for name in ("images", "captions", "masks", "pairs", "held_out", "used", "error")
        }
        kind = "regularisation" if folder.is_regularisation else "images"
        own = {name: getattr(folder, name) for name in OWN}
        return {"setting": folder.setting, "path": folder.path, "kind": kind, **own, **numbers}


def counted(number: int) -> str:
    """A number of images in words."""
    return f"{number:,} {'image' if number == 1 else 'images'}"


def parts(state: State, problems: Iterable[Problem] = ()) -> tuple[Part, ...]:
    """What each image folder of a job trains; each further folder has those of the Problems that are about it.

    () as long as there is no dataset that can be read.
    """
    dataset, plan = state.facts.dataset, state.draft.sketch()
    if dataset is None:
        return ()
    seen = dataset.folders
    manifest = state.backend.manifest if state.backend else None
    used = batches.uses(plan, {name: len(found.images) for name, found in seen.items()}, manifest)
    of_list = [one for one in problems if one.path == LIST]
    tables = [dict(one.model_dump()) for one in plan.dataset.subsets]
    found = []
    for folder in plan.folders:
        read, error = seen.get(folder.name), dataset.more.get(folder.name)
        known: dict[str, Any] = (
            _counts(read) if read is not None else {"error": error if isinstance(error, str) else "not read yet"}
        )
        if folder.setting == CLASS and read is None:
            known = {"error": dataset.class_error or "not read yet"}
        found.append(
            Part(
                folder=folder,
                used=sum(many * times for many, times in used.get(folder.name, ())),
                own=tables[folder.index] if folder.setting == LIST else {},
                problems=tuple(_about(folder, one) for one in of_list if _names(folder, one)),
                **known,
            )
        )
    return tuple(found)


def _counts(found: Dataset) -> dict[str, Any]:
    return {
        "images": len(found.images),
        "captions": sum(bool(image.caption) for image in found.images),
        "masks": sum(image.name in found.masks for image in found.images),
        "pairs": sum(all(image.name in each for each in found.controls) for image in found.images)
        if found.controls
        else 0,
        "held_out": len(found.validation.images) if found.validation is not None else 0,
        "selections": found.selections,
    }


def _names(folder: ImageFolder, problem: Problem) -> bool:
    """Whether a Problem of the list of folders is about this one: rules begin with its label or its number."""
    return folder.setting == LIST and problem.message.startswith(f"Image folder {folder.index + 2} ")


def _about(folder: ImageFolder, problem: Problem) -> Problem:
    """The Problem without the label of the folder, for a place that names it."""
    message = problem.message.removeprefix(folder.label).removeprefix(f"Image folder {folder.index + 2}")
    message = message.removeprefix(":").strip()
    return Problem(problem.path, problem.severity, f"{message[:1].upper()}{message[1:]}", problem.fix)


def epoch(state: State, found: Iterable[Part]) -> str:
    """How many images an epoch of all folders uses, and how many steps it has."""
    used = [f"{part.used:,}" for part in found if part.used]
    each = length.steps_of_epoch(state)
    if not used or each is None:
        return ""
    total = sum(int(one.replace(",", "")) for one in used)
    images = f"{' + '.join(used)} = {total:,} images" if len(used) > 1 else f"{used[0]} images"
    return f"One epoch uses {images}. {length.sentence(state)}"


def offered(state: State) -> tuple[str, ...]:
    """What a further folder of this job can have of its own; everything as long as no engine is chosen."""
    scope, known = state.scope, fields.all_fields()
    if scope.claim is None or scope.manifest is None:
        return ("path", "kind", *OWN)
    effects = set(scope.manifest.dataset.native.values())
    found = [name for name in OWN if name in EFFECTS and EFFECTS[name] in effects]
    # A further folder can have several control images where the first one has none.
    of_settings = {name: CONTROLS[0] if name in CONTROLS else name for name in OWN if f"dataset.{name}" in known}
    found += [name for name, setting in of_settings.items() if scope.applies(f"dataset.{setting}")]
    kinds = ("kind",) if scope.applies(CLASS) else ()
    return ("path", *kinds, "caption", *(name for name in OWN if name in found))


# ---- changes ----
def added(state: State, tables: Iterable[Mapping[str, Any]], at: int | None = None) -> dict[str, Any]:
    """The change that adds these folders to the list, at the end or before a place in it.

    Raises:
        PlanError: there would be too many.
    """
    now = _tables(state)
    place = len(now) if at is None else at
    return _checked([*now[:place], *map(dict, tables), *now[place:]])


def removed(state: State, index: int) -> dict[str, Any]:
    """The change that takes a folder out of the list. The folder itself stays.

    Raises:
        PlanError: there is none with this number.
    """
    now = _tables(state)
    _at(now, index)
    return _checked([*now[:index], *now[index + 1 :]])


def copied(state: State, index: int) -> dict[str, Any]:
    """The change that adds a folder once more behind itself, so that the copy can have other values.

    Raises:
        PlanError: there is none with this number, or there would be too many.
    """
    return added(state, [_at(_tables(state), index)], index + 1)


def changed(state: State, index: int, name: str, value: Any) -> dict[str, Any]:
    """The change that gives a folder a value of its own, or with "" or None that of the dataset's settings.

    Raises:
        PlanError: there is no such folder or value, or the value is refused.
    """
    now = _tables(state)
    table = dict(_at(now, index))
    if name not in fields.folder_fields():
        raise PlanError(f"An image folder has nothing called {printable(name, 60)!r}.")
    if value in ("", None):
        if name == "path":
            raise PlanError("A folder is needed.", "Choose one, or remove the entry.")
        table.pop(name, None)
    else:
        table[name] = value
    now[index] = table
    return _checked(now)


def below(path: str) -> tuple[dict[str, Any], ...]:
    """The entries for the folders inside a folder whose names say their repeats, as 10_elena; () without such folders.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    from trainer_core.datasets import sub_folders

    return sub_folders.entries(places.typed(places.unquoted(path)))


def entry(path: str) -> dict[str, Any]:
    """The entry for one folder; a name as 10_elena gives it repeats and a caption."""
    return of_path(places.unquoted(path.strip()))


def whole_layout(problems: Iterable[Problem]) -> Fix | None:
    """The fix that trains all sub-folders of the dataset, each with the repeats of its name; None if it has no such ones."""
    return next(
        (one.fix for one in problems if one.fix is not None and FIRST in one.fix.changes and LIST in one.fix.changes),
        None,
    )


def _tables(state: State) -> list[dict[str, Any]]:
    return [dict(one.model_dump()) for one in state.draft.sketch().dataset.subsets]


def _at(tables: list[dict[str, Any]], index: int) -> dict[str, Any]:
    if not 0 <= index < len(tables):
        raise PlanError("There is no such image folder any more.")
    return tables[index]


def _checked(tables: list[dict[str, Any]]) -> dict[str, Any]:
    if len(tables) > MOST_SUBSETS:
        raise PlanError(f"There can be {MOST_SUBSETS} further image folders, and not {len(tables)}.")
    value, sentence = fields.check(LIST, tables)
    if sentence:
        raise PlanError(sentence)
    return {LIST: value}


# ---- held-out images ----
def held_out(state: State) -> str:
    """What the held-out share costs in images of all folders, and how often their loss is measured; "" without one."""
    values, dataset = state.draft.values, state.facts.dataset
    share = values[SHARE]
    if dataset is None or not isinstance(share, float) or not share:
        return ""
    if dataset.validation is None:
        return f"No image can be held out of {len(dataset.images)}."
    shown = [
        found
        for folder in state.draft.sketch().folders
        if not folder.is_regularisation and (found := dataset.folders.get(folder.name)) is not None
    ]
    held = sum(len(found.validation.images) for found in shown if found.validation is not None)
    first = f"{counted(held)} held out, {sum(len(found.images) for found in shown):,} trained."
    first = f"{first} A share of {plain_number(share, 6)} is {plain_number(100 * share)} %."
    every, steps, each = values[EVERY], values["schedule.steps"], length.steps_of_epoch(state)
    if not isinstance(every, int) or not isinstance(steps, int) or (not every and each is None):
        return first
    between = every or max(1, round(each or 1))
    times = steps // between
    often = f"every {every:,} steps" if every else f"after each epoch ({between:,} steps)"
    return f"{first} Their loss is measured {often}: {times:,} {'time' if times == 1 else 'times'} in {steps:,} steps."

"""Applies the rules for the images of one folder to the further folders of a plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import FIRST, LIST, OWN, ImageFolder
from trainer_core.problems import Fix, Problem


def alone(plan: TrainingPlan, folder: ImageFolder) -> TrainingPlan:
    """The plan as if this were its only image folder."""
    known = type(plan.dataset).model_fields
    own = {name: getattr(folder, name) for name in ("path", *OWN) if name in known}
    return plan.model_copy(update={"dataset": plan.dataset.model_copy(update={**own, "subsets": ()})})


def problems(plan: TrainingPlan, check: Callable[[TrainingPlan], Iterable[Problem]]) -> Iterator[Problem]:
    """The Problems that the further folders have and the first one does not, as Problems of the list of folders."""
    more = [folder for folder in plan.folders if folder.setting == LIST]
    if not more:
        return
    said = {(problem.path, problem.message) for problem in check(plan)}
    for folder in more:
        for problem in check(alone(plan, folder)):
            if (problem.path, problem.message) not in said:
                yield of_folder(plan, folder, problem)


def of_folder(plan: TrainingPlan, folder: ImageFolder, problem: Problem) -> Problem:
    """A Problem of a folder that was looked at alone, as a Problem of the setting that the folder comes from."""
    section, _, name = problem.path.partition(".")
    path = folder.setting if section == "dataset" and name in ("path", *OWN) else problem.path
    message = f"{folder.label}: {problem.message}" if folder.label else problem.message
    return dataclasses.replace(problem, path=path, message=message, fix=_fix(plan, folder, problem.fix))


def _fix(plan: TrainingPlan, folder: ImageFolder, fix: Fix | None) -> Fix | None:
    """The fix with its changes made to the folder; None if it would change the other folders."""
    if fix is None or folder.setting == FIRST:
        return fix
    if folder.setting != LIST:
        return Fix(fix.label, {_of_class(path): value for path, value in fix.changes.items()})
    own = {path.partition(".")[2]: value for path, value in fix.changes.items() if path.startswith("dataset.")}
    own = {name: value for name, value in own.items() if name in ("path", *OWN)}
    others = {path: value for path, value in fix.changes.items() if path.partition(".")[2] not in own}
    if LIST in others:
        return None
    return Fix(fix.label, {**others, **(changed(plan, folder, own) if own else {})})


def _of_class(path: str) -> str:
    """The setting of the class images that stands for a setting of the first folder, as class_repeats for repeats."""
    section, _, name = path.partition(".")
    own = f"{section}.class_{name}"
    return own if own in fields.all_fields() else path


def changed(plan: TrainingPlan, folder: ImageFolder, values: Mapping[str, Any]) -> dict[str, Any]:
    """The change of the list of folders that sets these values of one of them; None, or no path or name, leaves a value out."""
    tables = [dict(each.model_dump()) for each in plan.dataset.subsets]
    tables[folder.index] = {
        name: value
        for name, value in {**tables[folder.index], **values}.items()
        if value is not None and (value != "" or name == "caption")
    }
    return {LIST: tuple(tables)}


def removed(plan: TrainingPlan, folder: ImageFolder) -> Fix:
    """The fix that leaves a folder out."""
    rest = (each.model_dump() for index, each in enumerate(plan.dataset.subsets) if index != folder.index)
    return Fix("Leave this folder out", {LIST: tuple(dict(each) for each in rest)})

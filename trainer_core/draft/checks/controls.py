"""Rules for control images: an edit model has them, and no other model gets any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core.draft.checks.case import Case
from trainer_core.draft.checks.subsets import in_each
from trainer_core.plan import more_folders
from trainer_core.plan.subsets import CONTROLS, LIST, ImageFolder
from trainer_core.problems import Fix, Problem
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.engines.claim import Cell, Controls

FIRST_CONTROLS = "dataset.controls"
SHAPES_DIFFER = 1.03
"""How much one aspect ratio may be of another: less than this is lost where sizes are rounded to whole pixels of a latent."""
NAMED = 3


def controls_suit_the_model(case: Case) -> Iterator[Problem]:
    """Each image folder has as many control images as the engine shows this variant of the model."""
    plan, claim = case.plan, case.claim
    if claim is None or case.backend is None or plan.model.method not in claim.methods:
        return
    cell = claim.cell(plan.model.method)
    allowed = cell.controls_of(_variant(case))
    for folder in plan.folders:
        given = folder.controls_given
        if folder.is_regularisation and (given or allowed.least):
            yield _without_pairs(case, folder)
        elif len(given) > allowed.most and (cell.controls or folder.setting == LIST):
            yield _too_many(case, folder, allowed, cell)
        elif len(given) < allowed.least:
            yield _too_few(case, folder, allowed)
        if given and folder.validation_share:
            setting = LIST if folder.setting == LIST else "dataset.validation_share"
            message = f"{_start(folder)}images with control images cannot be held out of the training."
            yield Problem(setting, "error", _sentence(message), _changing(case, folder, {"validation_share": 0.0}))
        if (lost := [name for name in CONTROLS if getattr(folder, name)]) and not given and folder.setting == LIST:
            message = f"{folder.label}: it has second control images, but no first ones."
            yield Problem(LIST, "error", message, _changing(case, folder, dict.fromkeys(lost, "")))


def captions_are_instructions(case: Case) -> bool:
    """Whether the captions say what an edit does: the model is shown control images, or is one that edits images."""
    plan, claim = case.plan, case.claim
    if any(folder.controls_given for folder in plan.folders):
        return True
    if claim is None or plan.model.method not in claim.methods:
        return False
    return claim.cell(plan.model.method).controls_of(_variant(case)).least > 0


def _variant(case: Case) -> str | None:
    """The variant that is trained: the one in the plan, which the user or the name of the file says, or that of the header."""
    detection = case.facts.detection
    return case.plan.model.variant or (detection.variant if detection is not None else None)


def _without_pairs(case: Case, folder: ImageFolder) -> Problem:
    message = f"{_start(folder)}class images have no control images, and this model is trained on pairs only."
    if folder.controls_given:
        message = f"{_start(folder)}regularisation images cannot have control images."
    is_in_list = folder.setting == LIST
    fix = more_folders.removed(case.plan, folder) if is_in_list else Fix("Use none", {folder.setting: ""})
    return Problem(folder.setting, "error", _sentence(message), fix)


def _too_many(case: Case, folder: ImageFolder, allowed: Controls, cell: Cell) -> Problem:
    engine = case.backend.manifest.title if case.backend else "The engine"
    kept = allowed.most
    others = sorted(name for name in cell.controls if name)
    possible = [name for name in others if name in _alike(case)]
    reads = f"reads at most {kept} control {'image' if kept == 1 else 'images'} with this model"
    message = f"{engine} {reads if kept else 'shows this model no control images'}."
    if not kept and others:
        message = f"{message} It shows them to {'this variant' if len(others) == 1 else 'these variants'}: {', '.join(others)}."
    if not kept and possible:
        message = f"{message} No header can show these: if it is one of them, set model.variant."
    names = list(folder.controls_given)[kept:]
    setting = LIST if folder.setting == LIST else f"dataset.{names[0]}"
    label = f"Use {kept}" if kept else "Train without them"
    fix = _changing(case, folder, dict.fromkeys(names, ""), label)
    return Problem(setting, "error", f"{folder.label}: {message}" if folder.label else message, fix)


def _alike(case: Case) -> tuple[str, ...]:
    """The variants that the model can be as far as its header shows; a folder names its pipeline."""
    from trainer_core.models.families import load_families

    family, found, claim = load_families().get(case.plan.model.family), case.facts.detection, case.claim
    if family is None or claim is None or not claim.single_file or found is None or found.family != family.id:
        return ()
    return family.alike(found.variant, found.layout)


def _too_few(case: Case, folder: ImageFolder, allowed: Controls) -> Problem:
    needed, there = allowed.least, len(folder.controls_given)
    numbers = "a control image" if needed == 1 else f"{needed} control images"
    message = f"This model edits images: for each image it needs {numbers}, which it is shown, and there is {there or 'none'}."
    advice = "Choose the folder with the images before the edit; each has the name of its result."
    found = _folder_below(case, folder) if not there else ""
    fix = _changing(case, folder, {"controls": found}, f"Use {printable(Path(found).name, 60)}") if found else None
    setting = LIST if folder.setting == LIST else FIRST_CONTROLS
    return Problem(setting, "error", f"{_label(folder)}{message} {advice}", fix)


def _folder_below(case: Case, folder: ImageFolder) -> str:
    """The folder in the dataset whose name is one of control images; "" if there is none, or several."""
    found = case.images_of(folder)
    if found is None or isinstance(found, str):
        return ""
    there = {path.parent for path in found.defects.get("condition", ())}
    return str(there.pop()) if len(there) == 1 else ""


def _changing(case: Case, folder: ImageFolder, values: Mapping[str, object], label: str = "Leave it out") -> Fix:
    if folder.setting != LIST:
        return Fix(label, {f"dataset.{name}": value for name, value in values.items()})
    empty = {name: None if value == "" else value for name, value in values.items()}
    return Fix(label, more_folders.changed(case.plan, folder, empty))


def _label(folder: ImageFolder) -> str:
    return f"{folder.label}: " if folder.label else ""


def _start(folder: ImageFolder) -> str:
    return f"{folder.label}: " if folder.label and folder.setting == LIST else ""


def _sentence(message: str) -> str:
    return message[0].upper() + message[1:]


@in_each
def controls_are_good(case: Case) -> Iterator[Problem]:
    """The control images have the shape of their image where the engine cuts both alike, and are not much too small."""
    dataset, claim = case.facts.dataset, case.claim
    if dataset is None or not dataset.controls or claim is None:
        return
    allowed = claim.cell(case.plan.model.method).controls_of(_variant(case))
    names = [f"dataset.{name}" for name in CONTROLS if getattr(case.plan.dataset, name)]
    sizes = {image.name: (image.width, image.height) for image in dataset.images}
    for setting, controls in zip(names, dataset.controls, strict=False):
        pairs = [(name, sizes[name], (each.width, each.height)) for name, each in controls.items() if name in sizes]
        odd = [name for name, own, shown in pairs if _shapes_differ(own, shown)]
        if odd and allowed.same_shape and case.backend is not None:
            engine = case.backend.manifest.title
            message = f"{engine} cuts a control image as it cuts its image, but these have another aspect ratio: {_named(odd)}."
            yield Problem(setting, "error", f"{message} Crop them to the same content, or leave these images out.")
        small = [name for name, _, shown in pairs if 4 * shown[0] * shown[1] < case.plan.dataset.resolution**2]
        if small:
            message = f"The control images of {_named(small)} have less than a quarter of the pixels of the resolution"
            yield Problem(setting, "warning", f"{message}, so the model is shown enlarged ones. Use larger ones.")


def _shapes_differ(one: tuple[int, int], other: tuple[int, int]) -> bool:
    if not min(*one, *other):
        return False
    ratio = (one[0] / one[1]) / (other[0] / other[1])
    return max(ratio, 1 / ratio) > SHAPES_DIFFER


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} {'image' if len(names) == 1 else 'images'} ({', '.join(names[:NAMED])}{more})"

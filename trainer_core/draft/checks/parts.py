"""Rules for the companion files of a model: whether they are set, and have the right kind and form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING

from trainer_core import catalog
from trainer_core.draft.checks.case import Case
from trainer_core.engines import parts
from trainer_core.models import formats
from trainer_core.plan import fields
from trainer_core.problems import Fix, Problem, Task, download

if TYPE_CHECKING:
    from trainer_core.models.detection import Detection
    from trainer_core.models.renaming import Form


def parts_are_there(case: Case) -> Iterator[Problem]:
    """The companion files that a model needs are set and exist, and none is set that the engine does not read."""
    claim = case.claim
    detection = case.facts.detection
    needed = claim.needed_parts(detection.parts if detection else ()) if claim else ()
    for setting in fields.parts():
        part, path, title = setting.name, setting.path, setting.title
        value = getattr(case.plan.model, part)
        if value and claim is not None and part not in claim.parts:
            message = f"{title} has no effect: with this engine, models of this family do not use this file."
            yield Problem(path, "warning", message, Fix("Remove it", {path: ""}))
        elif value and (seen := case.at(path)) is not None and not seen.exists:
            yield Problem(path, "error", f"The {title} {value} does not exist.", Fix("Remove it", {path: ""}))
        elif claim is None:
            continue
        elif not value and part in needed:
            message = f"This model needs {kinds_wanted(case, part) or title} as a separate file, and none is set."
            if (fix := _from_model(case, part)) is None:
                fix = _get(case, part)
            elif fix.task is not None and case.backend is not None:
                message = f"The file contains the {title}, but {case.backend.manifest.title} reads it only from a separate file."
            yield Problem(path, "error", message, fix)


def parts_are_what_they_should_be(case: Case) -> Iterator[Problem]:
    """The header of each companion file shows the kind of file that this model needs."""
    claim, engine = case.claim, case.backend.manifest.title if case.backend else ""
    if not case.facts.parts or claim is None:
        return
    from trainer_core.models.families import load_families

    family = load_families().get(case.plan.model.family)
    variant = case.facts.detection.variant if case.facts.detection else ""
    for part, seen in case.facts.parts.items():
        if part not in claim.parts:
            continue  # `parts_are_there` reports that it has no effect
        path, value = f"model.{part}", getattr(case.plan.model, part)
        wanted = family.parts_of(variant).get(part, ()) if family else ()
        there = case.at(path)
        if not value or not wanted or there is None or not there.exists or there.is_elsewhere:
            continue
        name, fix = PurePath(there.path).name, Fix("Remove it", {path: ""})
        if there.path == case.model_path and part in parts.own(case.facts.detection, claim):
            continue
        if isinstance(seen, str):
            yield Problem(path, "error", f"{name} could not be recognised: {seen}", fix)
        elif reason := formats.unread(seen):
            yield Problem(path, "error", f"{name} cannot be used. {reason}", fix)
        elif seen.variant not in wanted:
            kinds = " or ".join(catalog.parts()[kind].title for kind in wanted)
            is_known = seen.role != "unknown" and seen.variant in catalog.parts()
            severity = "error" if is_known or seen.role not in ("vae", "text_encoder") else "warning"
            yield Problem(path, severity, f"{name} is {_kind(seen)}, but this model was made with {kinds}.", fix)
        elif not there.is_folder and (reason := parts.unread(seen, part, claim, engine)):
            to = parts.wanted(seen.variant, seen, part, claim)
            other = renaming_fix(path, there.path, seen.variant, to) if to else fix
            yield Problem(
                path,
                "error",
                f"{name} is the right kind of file, but the engine cannot read this form of it. {reason}",
                other,
            )


def kinds_wanted(case: Case, part: str) -> str:
    """The kinds of file that fit a part of this model; "" if unknown."""
    from trainer_core.models.families import load_families

    family, found = load_families().get(case.plan.model.family), case.facts.detection
    kinds = family.parts_of(found.variant).get(part, ()) if family and found and found.family == family.id else ()
    return " or ".join(catalog.parts()[kind].title for kind in kinds)


def _from_model(case: Case, part: str) -> Fix | None:
    """The fix that takes a part from the model's own file, if it contains it; else None."""
    from trainer_core.models import renaming
    from trainer_core.models.families import load_families

    found, claim, path = case.facts.detection, case.claim, case.model_path
    if found is None or claim is None or part not in found.part_prefixes or not path:
        return None
    if part in parts.own(found, claim):
        return Fix("Use the one in the model", {f"model.{part}": path})
    kinds = load_families()[case.plan.model.family].parts_of(found.variant).get(part, ())
    layouts, prefixes = claim.part_layouts.get(part), claim.part_prefixes.get(part, ("",))
    known = renaming.layouts(kinds[0]) if len(kinds) == 1 else {}
    layout = layouts[0] if layouts else next(iter(known), "")
    return (
        renaming_fix(f"model.{part}", path, kinds[0], renaming.Form(layout, prefixes[0])) if layout in known else None
    )


def renaming_fix(setting: str, file: str, kind: str, to: Form) -> Fix:
    """The fix that makes a copy of a file with other tensor names, and uses the copy."""
    arguments = {"file": file, "kind": kind, "layout": to.layout, **({"prefix": to.prefix} if to.prefix else {})}
    return Fix("Make a copy that the engine reads", task=Task("rename", arguments, setting))


def _kind(seen: Detection) -> str:
    known = catalog.parts().get(seen.variant)
    if known is not None:
        return known.title
    return "not recognised" if seen.role == "unknown" else f"a {seen.role.replace('_', ' ')} of an unknown kind"


def _get(case: Case, part: str) -> Fix | None:
    """The fix that downloads a file that the library does not have; None if it is not known from where."""
    missing = case.facts.companions.missing if case.facts.companions else ()
    lacks = next((each for each in missing if each.setting == part and each.sources), None)
    if lacks is None:
        return None
    source = lacks.sources[0]
    # Where several kinds fit, the name of the file says which one it is.
    what = source.file.rpartition("/")[2] if " or " in lacks.title else lacks.title
    return download(f"Download {what}", f"hf:{source.repo}/{source.file}", f"model.{part}")

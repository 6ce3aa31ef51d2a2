"""All Problems of a job: with its values, its files, its engine, its profile and its preset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.catalog import methods, presets
from trainer_core.draft import fixes
from trainer_core.draft.layers import Source
from trainer_core.errors import PlanError
from trainer_core.plan import fields
from trainer_core.prepare.state import over_profile
from trainer_core.problems import Fix, Problem, blocking

if TYPE_CHECKING:
    from trainer_core.catalog.presets import Preset
    from trainer_core.engines.seam import Backend
    from trainer_core.plan.sections import TrainingPlan
    from trainer_core.prepare.state import State


def problems(state: State) -> tuple[Problem, ...]:
    """All Problems of a job, each with its fix if that helps and brings no error."""

    def by(engine: str) -> tuple[Problem, ...]:
        other = next((one for one in state.engines if one.manifest.id == engine), None)
        return untried(state.use_engine(other), finds_fixes=False)

    return tuple(fixes.sound(untried(state), lambda changes: untried(state.set(changes), finds_fixes=False), by))


def plan(state: State, backend: Backend) -> TrainingPlan:
    """The plan of a job.

    Raises:
        PlanError: there is a blocking Problem; its fixes are those that help.
    """
    try:
        return state.draft.plan(backend)
    except PlanError as error:
        raise PlanError(error.message, error.hint, blocking(problems(state)) or error.problems) from error


def untried(state: State, *, finds_fixes: bool = True) -> tuple[Problem, ...]:
    """The same Problems with fixes that were not tried, which takes much less time; some without a fix that takes time to be found."""
    notes = state.prefilled.notes if state.prefilled else ()
    own = (
        *engine_problems(state),
        *_preset_problems(state, finds_fixes),
        *_profile_problems(state),
        *_notes_of_profile(state),
    )
    return (*own, *notes, *state.draft.problems(state.backend))


def engine_problems(state: State) -> list[Problem]:
    """The Problem of an engine that is not installed where it would train."""
    backend = state.backend
    if backend is None:
        return []
    title, name = backend.manifest.title, backend.manifest.id
    status = state.facts.engine(name)
    if status.installed or not (backend.manifest.needs_installation or status.machine):
        return []
    if status.machine:
        lacks = f"{title} is not installed on {status.machine}."
        install = Fix(f"Install it there: {status.command}")
        if status.is_coming:
            return [Problem("", "warning", f"{lacks} The start installs it there first.", install)]
        return [Problem("", "error", lacks, install)]
    fix = Fix(f"Install it in a terminal: {places.engine_command('install', name)}")
    return [Problem("", "error", f"{title} is not installed.", fix)]


def _preset_problems(state: State, finds_fixes: bool) -> list[Problem]:
    preset, family = state.preset, state.family
    method = state.draft.text("model.method")
    if preset is None or not family:
        return []
    if preset.suits(family, method):
        from trainer_core.prepare import preset_fit

        return [
            each for each in (preset_fit.shortfall(state, finds_fix=finds_fixes), preset_fit.sample_note(state)) if each
        ]
    if not preset.suits(family):
        families = " and ".join(preset.families)
        return [Problem("", "warning", f"The preset {preset.id} is for {families}, not for {family}.")]
    made_for = " and ".join(methods.shipped()[name].title for name in preset.methods)
    return [Problem("", "warning", f"The preset {preset.id} is for {made_for}: the training may need more memory.")]


def offered_presets(state: State) -> tuple[list[Preset], dict[str, str]]:
    """The memory presets for the family that bring no error, and for each other one (by id) the error that it would bring."""
    without = {(each.path, each.message) for each in blocking(untried(state.use_preset(None), finds_fixes=False))}
    offered, refused = [], {}
    method = state.draft.text("model.method")
    for preset in presets.for_family(state.family, method) if state.family else ():
        brought = [
            each
            for each in blocking(untried(state.use_preset(preset), finds_fixes=False))
            if (each.path, each.message) not in without
        ]
        if brought:
            refused[preset.id] = brought[0].message
        else:
            offered.append(preset)
    return offered, refused


def _profile_problems(state: State) -> list[Problem]:
    """The Problem of a profile that is for another family or prediction type than the model's."""
    profile, found, family = state.profile, state.facts.detection, state.family
    if profile is None or found is None or not family:
        return []
    predicts = state.draft.text("model.prediction") or found.prediction or ""
    if profile.family != family:
        return [Problem("", "warning", f"The profile {profile.title} is for {profile.family}, not for {family}.")]
    if profile.prediction and predicts and profile.prediction != predicts:
        message = f"The profile {profile.title} is for the prediction type {profile.prediction}, not for {predicts}."
        return [Problem("", "warning", message)]
    return []


def _notes_of_profile(state: State) -> list[Problem]:
    """What does not suit the dataset, and what is not taken from the profile for samples of a distilled model."""
    return [*_image_notes(state), *_sample_notes(state)]


def _sample_notes(state: State) -> list[Problem]:
    """The note that samples of a distilled model have other values than those of the profile."""
    given, values = state.draft.layers.get(Source.PROFILE, {}), state.draft.usable_values
    changed = {path: value for path, value in over_profile(state).items() if values[path] == value}
    if not changed or not values["sampling.every_steps"] or state.profile is None:
        return []
    titles = {path: fields.all_fields()[path].title.lower() for path in changed}
    instead = " and ".join(f"{titles[path]} {value:g} instead of {given[path]:g}" for path, value in changed.items())
    message = (
        f"This model is distilled to few steps, so its samples are made with {instead}: "
        f"the values of the profile {state.profile.title} are for the model that it was made from."
    )
    return [Problem(next(iter(changed)), "info", message)]


def _image_notes(state: State) -> list[Problem]:
    """The note that the dataset has fewer or more images than the profile is for."""
    profile, count = state.profile, len(state.facts.dataset.images) if state.facts.dataset else 0
    if profile is None or not profile.images or not count:
        return []
    least, *most = profile.images
    if least <= count <= max(most, default=count):
        return []
    numbers = f"{least} to {most[0]}" if most else f"{least} or more"
    message = f"The profile {profile.title} is for {numbers} images, and this dataset has {count}."
    return [Problem("dataset.path", "info", message)]


def without_misfits(state: State) -> tuple[State, tuple[str, ...]]:
    """The job without a profile or preset for another family than its model's, and a sentence about each one removed."""
    profile, preset, family = state.profile, state.preset, state.family
    said = []
    if profile and family and profile.family != family:
        state = state.use_profile(None, None)
        said.append(f"The profile {profile.title} is for {profile.family}, so it was removed.")
    method = state.draft.text("model.method")
    if preset and family and not preset.suits(family, method):
        state = state.use_preset(None)
        for_what = preset.methods if preset.suits(family) else preset.families
        said.append(f"The memory preset {preset.title} is for {', '.join(for_what)}, so it was removed.")
    return state, tuple(said)

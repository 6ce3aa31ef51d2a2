"""The profiles for a model, and the one for a use, such as a character or a style."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer_core.prepare.state import State
    from trainer_core.profiles import Profile

USES = {
    "character": ("Character", "person or figure"),
    "style": ("Style", "a visual look"),
    "concept": ("Concept", "object or idea"),
    "photorealism": ("Photorealism", "real photos"),
    "anime": ("Anime", "drawn figures"),
}
"""The uses that are offered as buttons: title, and what the LoRA learns."""
METHOD_USES = {"full": "finetune", "dreambooth": "dreambooth", "textual_inversion": "textual-inversion"}
"""The use of the profiles for a method that trains no network."""


def title(use: str) -> str:
    """The title of a use, or of the method that it belongs to."""
    from trainer_core.catalog import methods

    method = next((name for name, its in METHOD_USES.items() if its == use), "")
    return methods.shipped()[method].title if method else USES[use][0]


ICONS = {"character": "person", "style": "brush", "concept": "cube", "photorealism": "camera", "anime": "spark"}
"""The sign of each use, by its name in cards.js."""


def is_own(profile: Profile) -> bool:
    """Whether a profile is one of the user's own."""
    from trainer_core import profiles

    return profile.id not in profiles.shipped()


def offered(state: State) -> list[Profile]:
    """The profiles for the model and the method of a job, the most fitting first; none without a model.

    The profiles are imported here, so that the start of a notebook does not wait for them.
    """
    if not state.family:
        return []
    from trainer_core import profiles

    found = state.facts.detection
    guess = found.guess.id if found and found.guess else ""
    predicts = str(state.draft.values["model.prediction"] or (found and found.prediction) or "")
    method = state.draft.values["model.method"]
    return [one for one in profiles.for_family(state.family, guess, predicts) if one.method == method]


def for_use(state: State, use: str) -> Profile | None:
    """The most fitting profile with this use; None if there is none for the model."""
    return next((one for one in offered(state) if one.use == use), None)


def own() -> list[Profile]:
    """The user's own profiles."""
    from trainer_core import profiles

    return list(profiles.own()[0].values())


def named(known: Iterable[Profile]) -> list[tuple[str, str]]:
    """Profiles as options: their titles, with the id where two have the same."""
    known = list(known)
    titles = [one.title for one in known]
    return [
        (printable(one.title if titles.count(one.title) == 1 else f"{one.title} ({one.id})", 80), one.id)
        for one in known
    ]

"""The training methods that a model can be trained with: what each makes, why it is not possible, and what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer_core.catalog import methods

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trainer_core.catalog.methods import Method
    from trainer_core.engines.seam import Backend
    from trainer_core.estimate import Estimate
    from trainer_core.prepare.state import State
    from trainer_core.profiles import Profile


@dataclass(frozen=True)
class Offer:
    """A method for a job: `why_not` is the reason why the model cannot be trained with it, "" if it can or is not known yet.

    `families` are the titles of the model families that can be trained with it, if others cannot; only before a model is chosen.
    `estimate` is what it takes with its first profile and the user's values; None without a model, or if it is not possible.
    """

    method: Method
    why_not: str = ""
    families: tuple[str, ...] = ()
    estimate: Estimate | None = None

    def as_dict(self) -> dict[str, Any]:
        """The offer as JSON data."""
        return {
            "method": self.method.id,
            "title": self.method.title,
            "makes": self.method.makes,
            "images": self.method.images,
            "size": self.method.size,
            "why_not": self.why_not,
            "families": list(self.families),
            "estimate": self.estimate.as_dict() if self.estimate else None,
        }


def offers(state: State, ids: Iterable[str] = ()) -> tuple[Offer, ...]:
    """The methods with these ids (by default all) for a job."""
    known = methods.shipped()
    return tuple(_offer(state, known[name]) for name in (ids or known))


def _offer(state: State, method: Method) -> Offer:
    if not state.family:
        return Offer(method, families=_only_for(state, method.id))
    if reason := why_not(state, method.id):
        return Offer(method, reason)
    return Offer(method, estimate=_estimate(state, method))


def why_not(state: State, method: str) -> str:
    """The sentence that the job's model cannot be trained with a method, and which families can; "" if it can."""
    from trainer_core.models.families import load_families

    able = _families(_engines(state), method)
    if state.family in able:
        return ""
    titles, trained = load_families(), methods.shipped()[method].title
    family = titles[state.family].title if state.family in titles else state.family
    who = state.engine.manifest.title if state.engine else "Easel"
    if not able:
        return f"{who} has no {trained}."
    return f"{who} has no {trained} for {family}. It is possible with {listed([titles[name].title for name in able])}."


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names in a sentence: "A, B and C"; with more than `most`, as many of them "and 5 more"."""
    if len(names) > most:
        names = (*names[:most], f"{len(names) - most} more")
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _engines(state: State) -> tuple[Backend, ...]:
    """The engine that the user chose, else all that users see."""
    return (state.engine,) if state.engine else tuple(e for e in state.engines if not e.manifest.hidden)


def _only_for(state: State, method: str) -> tuple[str, ...]:
    """The titles of the families that a method is possible with; () if it is possible with every family that is trained."""
    engines = _engines(state)
    able = _families(engines, method)
    if all(name in able for one in engines for name in one.manifest.families):
        return ()
    from trainer_core.models.families import load_families

    titles = load_families()
    return tuple(titles[name].title for name in able)


def _families(engines: Iterable[Backend], method: str) -> list[str]:
    """The families that one of these engines trains with a method, each once."""
    found = (name for one in engines for name, claim in one.manifest.families.items() if method in claim.methods)
    return list(dict.fromkeys(found))


def _estimate(state: State, method: Method) -> Estimate | None:
    """What a method takes with the user's values; None if one of these is invalid, or no model is recognised."""
    profile = _profile(state, method.id)
    other = state.set({"model.method": method.id}).use_profile(profile, None, plain=state.plain)
    backend, draft = other.backend, other.draft
    if backend is None or draft.facts.detection is None or draft.value_problems():
        return None
    from trainer_core.estimate import estimate

    return estimate(draft.sketch(), draft.facts, (), backend.manifest)


def _profile(state: State, method: str) -> Profile | None:
    """The first profile for the job's model and a method; None if there is none."""
    from trainer_core import profiles

    found = state.facts.detection
    guess = found.guess.id if found and found.guess else ""
    known = profiles.for_family(state.family, guess, (found and found.prediction) or "")
    return next((one for one in known if one.method == method), None)

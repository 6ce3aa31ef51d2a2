"""Makes a profile from a plan: the values worth sharing, without anything personal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer_core.errors import ProfileError, wrong_use
from trainer_core.plan import fields
from trainer_core.plan.prompts import texts, with_texts
from trainer_core.profiles import checks, shelf
from trainer_core.profiles.profile import Profile
from trainer_core.profiles.reading import bad_text
from trainer_core.text import plain_letters, printable

_PATH_LIKE = re.compile(r"[\\/~][\w.-]+[\\/]|[A-Za-z]:\\|://")


@dataclass(frozen=True)
class Draft:
    """A profile made from a plan or a LoRA, and notes about what was left out."""

    profile: Profile
    notes: tuple[str, ...] = ()


def from_plan(
    plan: Mapping[str, Any],
    *,
    title: str,
    wanted_id: str,
    use: str = "",
    based_on: str = "",
    family: str = "",
    explanation: str = "",
) -> Draft:
    """A profile with the values of a plan (its tables) that are not the defaults.

    Paths, names, the trigger word, native settings and tokens are left out. `based_on` is the id of the profile that the
    plan was made with: its reasons are kept for the values that did not change. `family` is needed if the plan does not
    contain it. `explanation` says what the profile is for.

    Raises:
        ProfileError: the plan contains a value that a profile must not contain, its family is unknown, or the id is invalid.
    """
    flat = fields.flatten(plan)
    base = shelf.known().get(based_on)
    family = family or str(flat.get("model.family", "")) or (base.family if base else "")
    if not family:
        raise ProfileError("The plan does not contain the family of its model.", "Set it with --family, such as sdxl.")
    trigger = str(flat.get("dataset.trigger", "")).strip()
    settings: dict[str, Any] = {}
    notes = ["Native settings were left out."] if flat.pop("native", None) else []
    for path, setting in fields.all_fields().items():
        value = flat.get(path, setting.default)
        if not setting.is_shared or value is None or value == setting.default:
            continue
        value = with_texts(value, lambda text: without_trigger(text, trigger))
        if any(_is_private(text, trigger if setting.about.prompt else "") for text in texts(value)):
            notes.append(f"{setting.title} was left out: it contains private data.")
            continue
        settings[path] = value
    kept = {
        path: base.reasons[path]
        for path in settings
        if base and base.settings.get(path) == settings[path] and path in base.reasons
    }
    profile = Profile(
        id=wanted_id,
        title=title,
        family=family,
        method=str(flat.get("model.method", "lora")),
        use=use or (base.use if base else "other"),
        explanation=explanation
        or (f"Made from a training run. {base.explanation}" if base else "Made from a training run."),
        sources=base.sources if base and kept else (),
        settings=settings,
        reasons=kept,
        lineage=base.lineage if base else "",
        prediction=base.prediction if base else "",
    )
    return Draft(checked(profile), tuple(notes))


def _is_private(text: str, trigger: str) -> bool:
    """Whether a text has what is not shared: a path, a token, or the trigger word."""
    has_trigger = bool(trigger) and trigger.lower() in text.lower().replace("{trigger}", "")
    return bool(bad_text(text) or _PATH_LIKE.search(text) or has_trigger)


def without_trigger(text: str, trigger: str) -> str:
    """A prompt in which {trigger} stands for the trigger word."""
    if not trigger:
        return text
    return re.sub(rf"(?<!\w){re.escape(trigger)}(?!\w)", "{trigger}", text, flags=re.IGNORECASE)


def checked(profile: Profile) -> Profile:
    """The profile as it would be read from its file.

    Raises:
        ProfileError: its file would be refused.
    """
    return shelf.loads(shelf.dumps(profile), f"{printable(profile.id, 64)}.toml")


def plain_id(text: str, otherwise: str = "profile") -> str:
    """An id made from a text: lower-case letters, digits and hyphens; never that of a shipped profile or a Windows device."""
    made = re.sub(r"[^a-z0-9]+", "-", plain_letters(text).lower())[:48].strip("-") or otherwise
    return f"my-{made}" if made in shelf.shipped() or not checks.slug(made) else made


def by_name(name: str) -> Profile:
    """A profile by its id, or from a .toml file.

    Raises:
        ProfileError: there is no such profile, or the file is refused.
    """
    from trainer_core import places

    found = shelf.known().get(name)
    if found is not None:
        return found
    path = places.typed(name)
    if path.suffix == ".toml" or places.is_there(path):
        return shelf.load(path)
    known = ", ".join(sorted(shelf.known()))
    raise wrong_use(ProfileError(f"There is no profile called {printable(name, 80)!r}.", f"Known: {known}."))

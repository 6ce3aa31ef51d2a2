"""Makes a profile from the tables of its file: only known keys, every value checked by the declaration of its setting."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trainer_core import policies
from trainer_core.errors import ProfileError
from trainer_core.models.families import load_families
from trainer_core.plan import fields
from trainer_core.profiles import migration
from trainer_core.profiles.profile import FORMAT, Profile, Reference, Trial
from trainer_core.profiles.reading import refused

REQUIRED_TEXTS = {"id": 64, "title": 120, "family": 40, "method": 40, "use": 40, "explanation": 600}
OPTIONAL_TEXTS = {"lineage": 40, "prediction": 40, "policy": 64, "author": 120, "licence": 80}
"""The texts of a profile, and the maximum length of each in characters."""
SLUGS = ("id", "use", "lineage", "policy")
TABLES = ("format", "images", "sources", "settings", "reasons", "tested_on", "unknown")
KNOWN = frozenset((*REQUIRED_TEXTS, *OPTIONAL_TEXTS, *TABLES))
SOURCE_TEXTS = {"id": 40, "title": 400, "url": 300, "licence": 80, "notes": 300}
TRIAL_TEXTS = {"engine": 40, "version": 40, "card": 80, "notes": 300}
LONGEST_REASON = 400
MOST_SOURCES = 24
MOST_IMAGES = 1_000_000

# The id of a profile is also its file name, and Windows reserves some names for devices.
_SLUG = re.compile(r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])\Z)[a-z0-9]+(?:-[a-z0-9]+)*")
_URL = re.compile(r"https?://[^\s/?#@]+(?:[/?#]\S*)?")


def profile_of(data: Mapping[str, Any], name: str) -> Profile:
    """The profile in the tables of a file.

    Raises:
        ProfileError: a key is missing, unknown or of the wrong type, or a setting does not accept its value.
    """
    data, found_format = migration.migrated(data, name)
    if unknown := sorted(set(data) - KNOWN):
        raise refused(name, unknown[0], "this is not a key of a profile.", f"Known keys: {', '.join(sorted(KNOWN))}.")
    texts = {
        **{key: _text(name, data, key, most, is_required=True) for key, most in REQUIRED_TEXTS.items()},
        **{key: _text(name, data, key, most) for key, most in OPTIONAL_TEXTS.items()},
    }
    _check_names(name, texts)
    settings = {"model.method": texts["method"], **_settings(name, data.get("settings", {}))}
    return Profile(
        **texts,
        sources=_sources(name, data.get("sources", [])),
        settings=settings,
        images=_images(name, data.get("images", [])),
        reasons=_reasons(name, data.get("reasons", {}), settings),
        tested_on=tuple(
            Trial(**_texts(name, "tested_on", table, TRIAL_TEXTS, ("engine",)))
            for table in _list_of_tables(name, "tested_on", data.get("tested_on", []))
        ),
        unknown=_unknown(name, data.get("unknown", []), settings),
        format=found_format,
    )


def slug(text: str) -> bool:
    """Whether a text can be an id: lower-case letters, digits, and single hyphens between them."""
    return _SLUG.fullmatch(text) is not None


def _text(
    name: str, data: Mapping[str, Any], key: str, most: int, above: str = "", *, is_required: bool = False
) -> str:
    where = f"{above}.{key}" if above else key
    value = data.get(key, "")
    if not isinstance(value, str) or (is_required and not value.strip()):
        raise refused(name, where, "this is missing, or is not a text.")
    if len(value) > most:
        raise refused(name, where, f"the text is longer than {most} characters.")
    return value.strip()


def _check_names(name: str, texts: Mapping[str, str]) -> None:
    for key in SLUGS:
        if texts[key] and not slug(texts[key]):
            hint = "Use lower-case letters, digits, and hyphens between them, such as sdxl-style."
            raise refused(name, key, f"{texts[key]!r:.60} is not a valid name.", hint)
    if texts["family"] not in load_families():
        known = ", ".join(load_families())
        raise refused(name, "family", f"Easel does not know the family {texts['family']!r:.60}.", f"Known: {known}.")
    if texts["policy"] and texts["policy"] not in policies.shipped():
        hint = f"Known: {', '.join(policies.shipped())}."
        raise refused(name, "policy", f"Easel does not know the policy {texts['policy']!r:.60}.", hint)
    for key in ("method", "prediction"):
        if sentence := fields.check(f"model.{key}", texts[key])[1]:
            raise refused(name, key, sentence)


def _settings(name: str, found: Any) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for path, value in _flat(name, "settings", found).items():
        key = f"settings.{path}"
        setting = fields.all_fields().get(path)
        if path.partition(".")[0] == "native" or (setting and setting.is_the_jobs):
            raise refused(name, key, "this belongs to a job, not to a profile.", "Remove it.")
        if setting is None:
            raise refused(name, key, "there is no such setting.")
        checked[path], sentence = fields.check(path, value)
        if sentence:
            raise refused(name, key, sentence)
    return checked


def _reasons(name: str, found: Any, settings: Mapping[str, Any]) -> dict[str, str]:
    checked: dict[str, str] = {}
    for path, text in _flat(name, "reasons", found).items():
        key = f"reasons.{path}"
        if path not in settings:
            raise refused(name, key, "it gives a reason for a setting that the profile does not set.")
        if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_REASON:
            raise refused(name, key, f"a reason must be a text of at most {LONGEST_REASON} characters.")
        checked[path] = text.strip()
    return checked


def _flat(name: str, key: str, found: Any) -> dict[str, Any]:
    """Tables by section as {dotted path: value}."""
    if not isinstance(found, Mapping):
        raise refused(name, key, f"{key} must be tables, such as [{key}.network].")
    for section, table in found.items():
        if not isinstance(table, Mapping):
            raise refused(name, f"{key}.{section}", f"{key} must be tables, such as [{key}.network].")
    return {f"{section}.{path}": value for section, table in found.items() for path, value in table.items()}


def _sources(name: str, found: Any) -> tuple[Reference, ...]:
    checked = [
        Reference(**_texts(name, "sources", table, SOURCE_TEXTS, ("id", "title")))
        for table in _list_of_tables(name, "sources", found)
    ]
    ids = [source.id for source in checked]
    for source in checked:
        if not slug(source.id) or ids.count(source.id) > 1:
            raise refused(name, "sources.id", f"{source.id!r:.60} is not a valid name, or is used twice.")
        if source.url and not _URL.fullmatch(source.url):
            raise refused(name, "sources.url", "it must be an address that begins with https:// or http://.")
    return tuple(checked)


def _list_of_tables(name: str, key: str, found: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(table, Mapping) for table in found):
        raise refused(name, key, f"{key} must be a list of tables, each under [[{key}]].")
    if len(found) > MOST_SOURCES:
        raise refused(name, key, f"there are more than {MOST_SOURCES} entries.")
    return found


def _texts(
    name: str, above: str, table: Mapping[str, Any], known: Mapping[str, int], required: Sequence[str]
) -> dict[str, str]:
    if unknown := sorted(set(table) - set(known)):
        raise refused(
            name, f"{above}.{unknown[0]}", "this is not a key of this table.", f"Known keys: {', '.join(known)}."
        )
    return {key: _text(name, table, key, most, above, is_required=key in required) for key, most in known.items()}


def _images(name: str, found: Any) -> tuple[int, ...]:
    is_list = isinstance(found, list) and len(found) <= 2 and all(type(one) is int for one in found)
    if not is_list or sorted(found) != found or any(not 0 < one <= MOST_IMAGES for one in found):
        raise refused(name, "images", "images must be the least and the most images, such as [10, 50], or only [10].")
    return tuple(found)


def _unknown(name: str, found: Any, settings: Mapping[str, Any]) -> tuple[str, ...]:
    if not isinstance(found, list):
        raise refused(name, "unknown", "unknown must be a list of settings.")
    for path in found:
        setting = fields.all_fields().get(path) if isinstance(path, str) else None
        if setting is None or setting.is_the_jobs or path in settings:
            raise refused(name, "unknown", f"{path!r:.60} is not a setting, or the profile sets it.")
    return tuple(found)


def uncited(profile: Profile) -> list[ProfileError]:
    """The errors for values without a reason, or with a reason that cites no source: shipped profiles must have none."""
    found, sources = [], {source.id for source in profile.sources}
    for path in profile.settings:
        cited = set(re.findall(r"\[([a-z0-9-]+)\]", profile.reasons.get(path, "")))
        if path != "model.method" and (not cited or not cited <= sources):
            found.append(
                refused(profile.id, f"reasons.{path}", "it is missing, or does not cite a source of the profile.")
            )
    return found


__all__ = ["FORMAT", "profile_of", "slug", "uncited"]

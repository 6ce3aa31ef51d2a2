"""Profiles: curated training settings as data files, one TOML file each.

A profile is untrusted (communities share them): it is data only, and cannot name paths, the trigger word, outputs or
native engine keys.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import ProfileError
from trainer_core.plan import fields
from trainer_core.plan.sections import PARTS

LARGEST_FILE_BYTES = 64 * 1024
REQUIRED_TEXTS = ("id", "title", "family", "method", "use", "explanation")
JOB_FIELDS = frozenset(
    {
        "model.path",
        "model.family",
        "model.prediction",
        "model.method",
        *(f"model.{part}" for part in PARTS),
        "dataset.path",
        "dataset.trigger",
        "output.name",
        "output.prefix",
        "output.folder",
        "output.copy_to",
    }
)
"""Settings that belong to a person's job and not to shared knowledge."""


@dataclass(frozen=True)
class Profile:
    """One profile: what it is for, where its values come from, and the values by dotted path."""

    id: str
    title: str
    family: str
    method: str
    use: str
    explanation: str
    sources: tuple[str, ...]
    settings: Mapping[str, Any]


def load(path: Path) -> Profile:
    """The profile in a TOML file.

    Raises:
        ProfileError: the file is too large, no TOML, or holds a key or value that a profile must not hold.
    """
    data = _read(path)
    known = {*REQUIRED_TEXTS, "sources", "settings"}
    if unknown := sorted(set(data) - known):
        raise ProfileError(
            f"{path.name}: {unknown[0]!r:.80} is not a key of a profile.", f"Known keys: {', '.join(sorted(known))}."
        )
    for key in REQUIRED_TEXTS:
        if not isinstance(data.get(key), str) or not data[key].strip():
            raise ProfileError(f"{path.name}: {key} is missing or is not text.")
    sources = data.get("sources", [])
    if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
        raise ProfileError(f"{path.name}: sources must be a list of texts.")
    texts = {key: data[key].strip() for key in REQUIRED_TEXTS}
    method, sentence = fields.check("model.method", texts["method"])
    if sentence:
        raise ProfileError(f"{path.name}: {sentence}")
    settings = {"model.method": method, **_settings(path, data.get("settings", {}))}
    return Profile(**texts, sources=tuple(sources), settings=settings)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise ProfileError(f"{path.name} is larger than {LARGEST_FILE_BYTES // 1024} kB: that is no profile.")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{path.name} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path.name} is not UTF-8 text.") from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path.name} is not TOML: {error}.") from error
    except RecursionError as error:
        raise ProfileError(f"{path.name} is nested too deeply.") from error


def _settings(path: Path, tables: Any) -> dict[str, Any]:
    if not isinstance(tables, Mapping) or not all(isinstance(table, Mapping) for table in tables.values()):
        raise ProfileError(f"{path.name}: settings must be tables, such as [settings.network].")
    checked = {}
    for key, value in fields.flatten(tables).items():
        if key in JOB_FIELDS or key.startswith("native"):
            raise ProfileError(f"{path.name}: {key} belongs to a job, not to a profile.", "Take it out.")
        if key not in fields.all_fields():
            raise ProfileError(f"{path.name}: there is no setting called {key!r:.80}.")
        checked[key], sentence = fields.check(key, value)
        if sentence:
            raise ProfileError(f"{path.name}: {key}: {sentence}")
    return checked


def shipped_folder() -> Path:
    """The folder of the profiles that come with Easel."""
    beside = places.CHECKOUT / "profiles"
    return beside if places.in_checkout() else Path(__file__).parent / "_resources" / "profiles"


@functools.cache
def shipped() -> Mapping[str, Profile]:
    """The profiles that come with Easel, by id."""
    return {profile.id: profile for profile in map(load, sorted(shipped_folder().glob("*/*.toml")))}


def for_family(family: str | None) -> list[Profile]:
    """The shipped profiles of a family, in the order of their titles."""
    return sorted((p for p in shipped().values() if p.family == family), key=lambda profile: profile.title)

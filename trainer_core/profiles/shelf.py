"""The profiles there are: those that come with Easel, and a person's own."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from trainer_core import places
from trainer_core.errors import ProfileError
from trainer_core.profiles.checks import profile_of
from trainer_core.profiles.profile import Profile
from trainer_core.profiles.reading import read, refused, tables
from trainer_core.profiles.writing import dumps
from trainer_core.text import printable

V_PREDICTION = "_vpred"
"""What the id of a guess ends with, where its models predict velocity. Source: detection/guesses.toml."""


def load(path: Path) -> Profile:
    """The profile in a TOML file.

    Raises:
        ProfileError: the file cannot be read, or holds a key or value that a profile must not hold.
    """
    return _parsed(read(path), path.name)


def loads(text: str | bytes, name: str = "profile.toml") -> Profile:
    """The profile in the text of a file; `name` is what an error calls it.

    Raises:
        ProfileError: as `load`.
    """
    return _parsed(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text, name)


def _parsed(raw: bytes, name: str) -> Profile:
    return profile_of(tables(raw, name), name)


def shipped_folder() -> Path:
    """The folder of the profiles that come with Easel."""
    return places.resource("profiles")


def own_folder() -> Path:
    """The folder of a person's own profiles, which may not exist."""
    return places.home() / "profiles"


@functools.cache
def shipped() -> Mapping[str, Profile]:
    """The profiles that come with Easel, by id."""
    return {profile.id: profile for profile in map(load, sorted(shipped_folder().glob("*/*.toml")))}


def own() -> tuple[dict[str, Profile], tuple[ProfileError, ...]]:
    """A person's own profiles by id, and why each other file of that folder is none."""
    found: dict[str, Profile] = {}
    errors: list[ProfileError] = []
    for path in sorted(own_folder().glob("*.toml")):
        try:
            profile = _loaded(path, path.stat().st_mtime_ns, path.stat().st_size)
        except ProfileError as error:
            errors.append(error)
            continue
        except OSError:
            continue  # it went away, or leads nowhere
        if profile.id in shipped() or profile.id in found:
            reason = f"there is another profile with the id {profile.id}."
            errors.append(refused(path.name, "id", reason, "Give it an id of its own."))
        else:
            found[profile.id] = profile
    return found, tuple(errors)


@functools.lru_cache(maxsize=256)
def _loaded(path: Path, _modified_ns: int, _size_bytes: int) -> Profile:
    return load(path)


def known() -> Mapping[str, Profile]:
    """The profiles that come with Easel and a person's own, by id; a shipped one is never covered."""
    return {**own()[0], **shipped()}


def for_family(family: str | None, lineage: str = "", prediction: str = "") -> list[Profile]:
    """The profiles of a family: those for this lineage of it first, then the family's own, and finetuning last.

    `lineage` is the id of what a model is guessed to be ("pony", "noobai_vpred"), `prediction` what it predicts.
    """
    made_of = plain_lineage(lineage)
    predicts = "v_prediction" if made_of != lineage else prediction

    def order(profile: Profile) -> tuple[bool, bool, bool, str, str]:
        is_near = bool(made_of) and profile.lineage == made_of and profile.prediction in ("", predicts)
        return profile.method != "lora", not is_near, bool(profile.lineage), profile.lineage, profile.title

    return sorted((profile for profile in known().values() if profile.family == family), key=order)


def plain_lineage(guess: str) -> str:
    """The lineage that the id of a guess stands for: what a model predicts is told apart from it."""
    return guess.removesuffix(V_PREDICTION)


def save(profile: Profile) -> Path:
    """Writes a profile among a person's own, whole or not at all; one with the same id is replaced.

    Raises:
        ProfileError: its id is that of a shipped profile, or the file cannot be written.
    """
    text = dumps(profile)
    again = loads(text, f"{profile.id}.toml")
    refuse_shipped_id(again, f"{again.id}.toml")
    folder = own_folder()
    target = folder / f"{again.id}.toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(scratch).replace(target)
        finally:
            Path(scratch).unlink(missing_ok=True)
    except OSError as error:
        raise ProfileError(f"{printable(str(target), 200)} cannot be written: {error.strerror}.") from error
    return target


def refuse_shipped_id(profile: Profile, name: str) -> None:
    """Raises for a profile whose id is that of a shipped one.

    Raises:
        ProfileError: it is.
    """
    if profile.id in shipped():
        reason = f"a profile that comes with Easel has the id {profile.id}."
        raise refused(name, "id", reason, "Give it another id: change it in the file, or import it with --id.")

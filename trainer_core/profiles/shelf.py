"""The available profiles: those that come with Easel, and the user's own."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from trainer_core import places
from trainer_core.errors import ProfileError, wrong_use
from trainer_core.files import set_aside, write_whole
from trainer_core.profiles.checks import profile_of, slug
from trainer_core.profiles.profile import Profile
from trainer_core.profiles.reading import read, refused, tables
from trainer_core.profiles.writing import dumps
from trainer_core.text import printable

REMOVED = "removed"
"""The folder in that of the user's own profiles in which removed ones are kept."""
V_PREDICTION = "_vpred"
"""The ending of a guess's id if its models predict velocity. Source: detection/guesses.toml."""


def load(path: Path) -> Profile:
    """The profile in a TOML file.

    Raises:
        ProfileError: the file cannot be read, or contains a key or value that a profile must not contain.
    """
    return _parsed(read(path), path.name)


def loads(text: str | bytes, name: str = "profile.toml") -> Profile:
    """The profile in the text of a file; `name` is its name in error messages.

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
    """The folder of the user's own profiles, which may not exist."""
    return places.home() / "profiles"


@functools.cache
def shipped() -> Mapping[str, Profile]:
    """The profiles that come with Easel, by id."""
    return {profile.id: profile for profile in map(load, sorted(shipped_folder().glob("*/*.toml")))}


def own() -> tuple[dict[str, Profile], tuple[ProfileError, ...]]:
    """The user's own profiles by id, and an error for each other file in that folder."""
    found: dict[str, Profile] = {}
    errors: list[ProfileError] = []
    for path in sorted(own_folder().glob("*.toml")):
        try:
            profile = _loaded(path, path.stat().st_mtime_ns, path.stat().st_size)
        except ProfileError as error:
            errors.append(error)
            continue
        except OSError:
            continue  # it was deleted, or is a broken link
        if profile.id in shipped() or profile.id in found:
            reason = f"there is another profile with the id {profile.id}."
            errors.append(refused(path.name, "id", reason, "Give it another id."))
        else:
            found[profile.id] = profile
    return found, tuple(errors)


@functools.lru_cache(maxsize=256)
def _loaded(path: Path, _modified_ns: int, _size_bytes: int) -> Profile:
    return load(path)


def known() -> Mapping[str, Profile]:
    """The profiles that come with Easel and the user's own, by id; the user's own never replace shipped ones."""
    return {**own()[0], **shipped()}


def for_family(family: str | None, lineage: str = "", prediction: str = "") -> list[Profile]:
    """The profiles of a family: first those for this lineage, then those for the original model, and finetuning last.

    `lineage` is the id of a guess ("pony", "noobai_vpred"), `prediction` is what the model predicts.
    """
    made_of = plain_lineage(lineage)
    predicts = "v_prediction" if made_of != lineage else prediction

    def order(profile: Profile) -> tuple[bool, bool, bool, str, str]:
        is_near = bool(made_of) and profile.lineage == made_of and profile.prediction in ("", predicts)
        return profile.method != "lora", not is_near, bool(profile.lineage), profile.lineage, profile.title

    return sorted((profile for profile in known().values() if profile.family == family), key=order)


def plain_lineage(guess: str) -> str:
    """The lineage in the id of a guess, without the ending for the prediction type."""
    return guess.removesuffix(V_PREDICTION)


def save(profile: Profile) -> Path:
    """Saves a profile among the user's own, whole or not at all; one with the same id is replaced.

    Raises:
        ProfileError: its id is that of a shipped profile, or the file cannot be written.
    """
    text = dumps(profile)
    again = loads(text, f"{profile.id}.toml")
    refuse_shipped_id(again, f"{again.id}.toml")
    folder = own_folder()
    target = folder / f"{again.id}.toml"
    try:
        if target.exists():
            try:
                load(target)
            except ProfileError:
                # Kept: it may be a profile with one typing error, or of a newer Easel.
                set_aside(target)
        write_whole(target, text, personal=True)
    except OSError as error:
        raise ProfileError(f"{printable(str(target), 200)} cannot be written: {error.strerror}.") from error
    return target


def remove(name: str) -> Path:
    """Removes one of the user's own profiles, and returns where its file is kept: `put_back` restores it.

    Raises:
        ProfileError: the user has no such profile, or its file cannot be moved.
    """
    source = _file_of(name)
    if source is None:
        reason = "It comes with Easel and stays." if name in shipped() else "`easel profiles list` shows yours."
        raise ProfileError(f"You have no profile called {printable(name, 80)!r}.", reason)
    target = own_folder() / REMOVED / f"{name}.toml"
    try:
        target.parent.mkdir(exist_ok=True)
        source.replace(target)
    except OSError as error:
        raise ProfileError(f"{printable(str(source), 200)} cannot be removed: {error.strerror}.") from error
    return target


def put_back(name: str) -> Path:
    """Restores a profile that `remove` took away, and returns its file.

    Raises:
        ProfileError: it is not there any more, or there is another one with its id by now.
    """
    source = own_folder() / REMOVED / f"{name}.toml"
    if not slug(name) or not source.is_file():
        raise wrong_use(ProfileError(f"There is no removed profile called {printable(name, 80)!r}."))
    if name in known():
        raise ProfileError(
            f"There is another profile with the id {printable(name, 80)} by now.", "Remove that one first."
        )
    target = own_folder() / source.name
    try:
        source.replace(target)
    except OSError as error:
        raise ProfileError(f"{printable(str(source), 200)} cannot be put back: {error.strerror}.") from error
    return target


def _file_of(name: str) -> Path | None:
    """The file of one of the user's own profiles, whatever it is called; None if there is none."""
    if name not in own()[0]:
        return None
    return next((path for path in sorted(own_folder().glob("*.toml")) if _has_id(path, name)), None)


def _has_id(path: Path, name: str) -> bool:
    try:
        return load(path).id == name
    except ProfileError:
        return False


def refuse_shipped_id(profile: Profile, name: str) -> None:
    """Refuses a profile with the id of a shipped one.

    Raises:
        ProfileError: a shipped profile has this id.
    """
    if profile.id in shipped():
        reason = f"a profile that comes with Easel has the id {profile.id}."
        raise refused(name, "id", reason, "Give it another id: change it in the file, or import it with --id.")

"""Values remembered for a subject, one file each: <home>/subjects/<slug>.toml.

version = 1
subject = "mika"
empty = ["optimizer.beta1"]     settings the user left empty on purpose

[settings.schedule]
steps = 1200

A subject is what is trained: the trigger word, else the name of the dataset's folder. Only settings are kept: no paths,
no names of files, nothing in an engine's own words, no secrets.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import tomllib
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import SubjectError
from trainer_core.plan import fields
from trainer_core.text import printable

LARGEST_FILE_BYTES = 64 * 1024
VERSION = 1
KEYS = frozenset({"version", "subject", "empty", "settings"})


def subject_of(values: Mapping[str, Any]) -> str:
    """The subject of a job by its values: the trigger word, else the name of the dataset's folder; "" without both."""
    trigger, folder = (str(values.get(path) or "") for path in ("dataset.trigger", "dataset.path"))
    return _same(trigger) or (_same(Path(folder).name) if folder.strip() else "")


def kept_in(subject: str) -> Path:
    """The file for a subject. Subjects that differ in capitals or spaces alone are one."""
    name = _same(subject)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40]
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return places.home() / "subjects" / f"{f'{readable}-' if readable else ''}{digest}.toml"


def remember(subject: str, values: Mapping[str, Any]) -> Path:
    """Keeps these values for a subject, in place of those kept before, and returns the file.

    What belongs to a single job (paths, names, native settings), what is no valid setting and what holds a token is left out. Two writers
    at once leave the whole file of one of them.

    Raises:
        SubjectError: the subject is empty, or the file cannot be written.
    """
    import tomli_w

    if not _same(subject):
        raise SubjectError("There is nothing to remember values for.", "Give a trigger word, or choose a dataset.")
    kept = {
        path: value
        for path, value in values.items()
        if _belongs(path) and not fields.check(path, value)[1] and not _is_secret(value)
    }
    settings = fields.nest({path: value for path, value in kept.items() if value is not None})
    empty = sorted(path for path, value in kept.items() if value is None)
    shown = _same(subject).encode("utf-8", "replace").decode()
    data = {"version": VERSION, "subject": shown, "empty": empty, "settings": settings}
    path = kept_in(subject)
    try:
        _write(path, tomli_w.dumps(data))
    except (OSError, UnicodeError) as error:
        raise SubjectError(f"{path} cannot be written: {error}.", "Check its permissions and free space.") from error
    return path


def recall(subject: str) -> dict[str, Any]:
    """The values kept for a subject, by dotted path; none where nothing was kept.

    Raises:
        SubjectError: the file is no list of settings as `remember` writes it; it names file, key and reason.
    """
    path = kept_in(subject)
    data = _read(path)
    if data is None:
        return {}
    if unknown := sorted(set(data) - KEYS):
        raise _refused(path, f"{printable(unknown[0], 60)!r} is not a key of it")
    if data.get("version") != VERSION or isinstance(data["version"], bool):
        raise _refused(path, f"its version is not {VERSION}")
    if data.get("subject") != _same(subject).encode("utf-8", "replace").decode():
        raise _refused(path, "it is for another subject")
    tables, empty = data.get("settings", {}), data.get("empty", [])
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise _refused(path, "settings must be tables, such as [settings.network]")
    if not isinstance(empty, list) or not all(isinstance(name, str) for name in empty):
        raise _refused(path, "empty must be a list of settings")
    return {key: _value(path, key, value) for key, value in {**fields.flatten(tables), **dict.fromkeys(empty)}.items()}


def forget(subject: str) -> bool:
    """Whether something was kept for a subject; it is deleted.

    Raises:
        SubjectError: the file cannot be deleted.
    """
    path = kept_in(subject)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SubjectError(f"{path} cannot be deleted: {error.strerror}.", "Check its permissions.") from error
    return True


def _same(subject: str) -> str:
    """A subject in the one spelling it is known by."""
    return " ".join(unicodedata.normalize("NFC", subject).casefold().split())


def _belongs(path: str) -> bool:
    from trainer_core.profiles import JOB_FIELDS

    return path in fields.all_fields() and path not in JOB_FIELDS


def _is_secret(value: Any) -> bool:
    from trainer_core.profiles.reading import holds_token

    return isinstance(value, str) and holds_token(value)


def _value(path: Path, key: str, value: Any) -> Any:
    if not _belongs(key):
        raise _refused(path, f"{printable(key, 60)!r} is no setting that is kept for a subject")
    checked, sentence = fields.check(key, value)
    if sentence:
        raise _refused(path, f"{key}: {sentence.rstrip('.')}")
    return checked


def _read(path: Path) -> dict[str, Any] | None:
    """The data of a file; None where there is none."""
    try:
        if not path.exists():
            return None
        if not path.is_file():  # A pipe would keep the reader waiting.
            raise _refused(path, "it is not a plain file")
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE_BYTES + 1)
        if len(raw) > LARGEST_FILE_BYTES:
            raise _refused(path, f"it is larger than {LARGEST_FILE_BYTES // 1024} kB")
        return tomllib.loads(raw.decode("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(path, f"it cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise _refused(path, "it is not UTF-8 text") from error
    except RecursionError as error:
        raise _refused(path, "it is nested too deeply") from error
    except ValueError as error:
        raise _refused(path, f"it is not TOML: {printable(str(error), 200)}") from error


def _refused(path: Path, reason: str) -> SubjectError:
    return SubjectError(f"{path.name} is refused: {reason}.", f"Mend or delete {printable(str(path), 300)}.")


def _write(path: Path, text: str) -> None:
    """Writes a file by rename, beside it under a name of its own: a reader sees a whole file, the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".part", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)

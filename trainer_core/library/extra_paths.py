"""The folders that ComfyUI's extra_model_paths.yaml names. The file is a stranger's: whatever it holds, this goes on.

Source: ComfyUI, utils/extra_config.py, load_extra_path_config: a section has an optional `base_path` (with ~ and
variables; relative to the file), an optional `is_default`, and for each kind of model a path or several, one a line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import LibraryError
from trainer_core.text import printable

LONGEST_BYTES = 64 * 1024
MOST_ALIASES = 10
"""With more, YAML's merges can grow a small file into gigabytes."""
MOST_LEVELS = 10
"""With many, reading YAML takes time by the square of its length."""
MOST_PATHS = 500
NO_MODELS = frozenset({"base_path", "is_default", "custom_nodes", "configs", "download_model_base"})
"""What a section names beside folders of models."""


def read(path: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The folders of models that the file names, those of a default section first, and notices about what is wrong with it."""
    try:
        sections = _sections(path)
    except LibraryError as error:
        return (), (str(error),)
    notices: list[str] = []
    first: list[Path] = []
    others: list[Path] = []
    for name, section in sections.items():
        if section is None:
            continue
        if not isinstance(section, dict):
            notices.append(f"{path}: the section {printable(str(name), 80)} is no table, so it is left out.")
            continue
        found = list(_folders(path, name, section, notices))
        (first if section.get("is_default") else others).extend(found)
    folders = tuple(dict.fromkeys((*first, *others)))
    if len(folders) > MOST_PATHS:
        notices.append(f"{path} names {len(folders)} folders: only the first {MOST_PATHS} are looked at.")
    return folders[:MOST_PATHS], tuple(notices[:MOST_PATHS])


def _sections(path: Path) -> dict[Any, Any]:
    """The table in the file.

    Raises:
        LibraryError: there is none; the message names the file and the reason.
    """
    import yaml

    mend = "Mend the file; Easel goes on without it."
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_BYTES + 1)
        if len(data) > LONGEST_BYTES:
            raise LibraryError(f"{path} is longer than {LONGEST_BYTES // 1024} KiB, so it is not read.", mend)
        text = data.decode("utf-8-sig")
        if _is_tangled(text):
            raise LibraryError(f"{path} is nested or tangled by aliases, so it is not read.", mend)
        sections = yaml.safe_load(text)
    except OSError as error:
        raise LibraryError(f"{path} cannot be read: {error.strerror or error}.", mend) from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = printable(" ".join(str(error).split()), 300)
        raise LibraryError(f"{path} is not valid YAML: {reason}.", mend) from error
    if sections is None:
        return {}
    if not isinstance(sections, dict):
        raise LibraryError(f"{path} holds no table of sections.", mend)
    return sections


def _is_tangled(text: str) -> bool:
    """Whether a YAML text is nested too deep, or has too many aliases, to be built; only its events are looked at."""
    import yaml

    level = aliases = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if level > MOST_LEVELS or aliases > MOST_ALIASES:
            return True
    return False


def _folders(path: Path, name: Any, section: dict[Any, Any], notices: list[str]) -> Iterator[Path]:
    where = f"{path}, section {printable(str(name), 80)}"
    base = section.get("base_path")
    if base is not None and not isinstance(base, str):
        notices.append(f"{where}: base_path is no text, so the section is left out.")
        return
    start = _joined(path.parent, base) if base else path.parent
    for kind, value in section.items():
        if kind in NO_MODELS:
            continue
        if not isinstance(value, str):
            notices.append(f"{where}: {printable(str(kind), 80)} is no path, so it is left out.")
            continue
        lines = (line.strip() for line in value.splitlines())
        yield from (_joined(start, line) for line in lines if line)


def _joined(start: Path, text: str) -> Path:
    """A path as the file gives it, absolute; an unknown variable stays as it is written."""
    return Path(os.path.normpath(os.path.join(start, places.typed(os.path.expandvars(text)))))  # noqa: PTH118 - Path keeps ".."

"""Reads the folders in ComfyUI's extra_model_paths.yaml. The file is untrusted: its content never raises an error.

Source: ComfyUI, utils/extra_config.py, load_extra_path_config: a section has an optional `base_path` (with ~ and
variables; relative to the file), an optional `is_default`, and for each kind of model one or more paths, one per line.
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
"""With more aliases, YAML merges can expand a small file to gigabytes."""
MOST_LEVELS = 10
"""With deep nesting, the time to read YAML grows with the square of its length."""
MOST_PATHS = 500
NO_MODELS = frozenset({"base_path", "is_default", "custom_nodes", "configs", "download_model_base"})
"""The keys of a section that are not model folders."""


def read(path: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The model folders in the file, those of a default section first, and notices about what is wrong with it."""
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
            notices.append(f"{path}: the section {printable(str(name), 80)} is not a table, so it is skipped.")
            continue
        found = list(_folders(path, name, section, notices))
        (first if section.get("is_default") else others).extend(found)
    folders = tuple(dict.fromkeys((*first, *others)))
    if len(folders) > MOST_PATHS:
        notices.append(f"{path} lists {len(folders)} folders: only the first {MOST_PATHS} are searched.")
    return folders[:MOST_PATHS], tuple(notices[:MOST_PATHS])


def _sections(path: Path) -> dict[Any, Any]:
    """The table in the file.

    Raises:
        LibraryError: it contains none; the message names the file and the reason.
    """
    import yaml

    hint = "Fix the file; Easel continues without it."
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_BYTES + 1)
        if len(data) > LONGEST_BYTES:
            raise LibraryError(f"{path} is longer than {LONGEST_BYTES // 1024} KiB, so it is not read.", hint)
        text = data.decode("utf-8-sig")
        if _is_too_complex(text):
            raise LibraryError(f"{path} is nested too deep or has too many aliases, so it is not read.", hint)
        sections = yaml.safe_load(text)
    except OSError as error:
        raise LibraryError(f"{path} cannot be read: {error.strerror or error}.", hint) from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = printable(" ".join(str(error).split()), 300)
        raise LibraryError(f"{path} is not valid YAML: {reason}.", hint) from error
    if sections is None:
        return {}
    if not isinstance(sections, dict):
        raise LibraryError(f"{path} contains no table of sections.", hint)
    return sections


def _is_too_complex(text: str) -> bool:
    """Whether a YAML text is nested too deep or has too many aliases. Only its events are parsed."""
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
        notices.append(f"{where}: base_path is not text, so the section is skipped.")
        return
    start = _joined(path.parent, base) if base else path.parent
    for kind, value in section.items():
        if kind in NO_MODELS:
            continue
        if not isinstance(value, str):
            notices.append(f"{where}: {printable(str(kind), 80)} is not a path, so it is skipped.")
            continue
        lines = (line.strip() for line in value.splitlines())
        yield from (_joined(start, line) for line in lines if line)


def _joined(start: Path, text: str) -> Path:
    """The absolute path of a path in the file; an unknown variable stays as it is written."""
    return Path(os.path.normpath(os.path.join(start, places.typed(os.path.expandvars(text)))))  # noqa: PTH118 - Path keeps ".."

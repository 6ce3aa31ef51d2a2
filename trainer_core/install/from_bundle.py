"""Installing from a bundle, without a connection: it is checked, then uv is told to use nothing else. Standard library only."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import __version__, places
from trainer_core.errors import InstallError
from trainer_core.install import wheelhouse
from trainer_core.install.bundling import HUB, RECORD, SCHEMA, SOURCES, UV, WHEELS
from trainer_core.install.hub_files import TOKENIZERS

Report = Callable[[str], None]


@dataclass(frozen=True)
class Bundle:
    """A checked bundle. `python` is the version that Easel's packages are for; `engines` says the same of each engine."""

    folder: Path
    python: str
    engines: Mapping[str, Mapping[str, str]]

    def source(self, engine: str) -> str | None:
        """The archive with the source code of an engine; None if it has none."""
        archive = self.folder / SOURCES / f"{engine}.tar.gz"
        return str(archive) if archive.is_file() else None


def use(folder: Path, report: Report = print) -> Bundle:
    """The bundle in a folder. From now on this process and its tools install from it only, and ask no server.

    Raises:
        InstallError: it is incomplete, damaged, or for another kind of machine or another Easel.
    """
    folder = folder.expanduser().resolve()
    record = _read(folder)
    report(f"Checking the bundle in {folder}.")
    _check(folder, record["files"])
    if "," in str(folder):
        raise InstallError("uv cannot read a folder with a comma in its path.", f"Move {folder}.")
    os.environ.update(UV_FIND_LINKS=str(folder / WHEELS), UV_OFFLINE="1", HF_HUB_OFFLINE="1")
    _bring_uv(folder)
    _bring_hub_files(folder)
    return Bundle(folder, record["python"], record["engines"])


def _read(folder: Path) -> Mapping[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        if not {"schema", "easel", "system", "machine", "python", "engines", "files"} <= record.keys():
            raise KeyError(RECORD)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InstallError(
            f"{folder} is no complete bundle: it has no readable {RECORD}.",
            "Make one on a machine with a connection: python installer.py bundle FOLDER --engine ENGINE",
        ) from error
    if record["schema"] != SCHEMA or record["easel"] != __version__:
        raise InstallError(
            f"The bundle was made by Easel {record['easel']}, and this is {__version__}.",
            "Take the folder of that Easel along with the bundle, or make a new bundle.",
        )
    if (record["system"], record["machine"]) != (platform.system(), platform.machine()):
        raise InstallError(
            f"The bundle is for {record['system']} {record['machine']}, and this is {platform.system()} {platform.machine()}.",
            "Make it on a machine of this kind.",
        )
    return record


def _check(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Every file is the recorded one, and there is no other: torch is pinned without a hash."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {RECORD}
    if missing := sorted(files.keys() - there):
        raise InstallError(
            f"The bundle is incomplete: {missing[0]} is missing ({len(missing)} in all).", "Copy it again."
        )
    if more := sorted(there - files.keys()):
        raise InstallError(f"The bundle has files that do not belong to it, such as {more[0]}.", "Copy it again.")
    for name, about in files.items():
        if wheelhouse.sha256_of(folder / name) != about.get("sha256"):
            raise InstallError(f"The bundle is damaged: {name} is not what was packed.", "Copy it again.")


def _bring_uv(folder: Path) -> None:
    own = places.home() / "tools" / "uv" / "bin" / "uv"
    if not own.exists():
        own.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / UV, own)
        own.chmod(0o755)


def _bring_hub_files(folder: Path) -> None:
    kept = folder / HUB
    for each in sorted(kept.iterdir()) if kept.is_dir() else ():
        target = places.models() / TOKENIZERS / each.name
        if not os.path.lexists(target):
            fresh = target.with_name(f".new-{each.name}-{os.getpid()}")
            shutil.copytree(each, fresh)
            fresh.rename(target)

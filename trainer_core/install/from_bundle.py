"""Installing from a bundle, without a connection: it is checked, then uv is told to use nothing else. Standard library only."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import __version__, places
from trainer_core.errors import InstallError
from trainer_core.install import bundle_files, packed_uv, wheelhouse
from trainer_core.install.bundle_files import HUB, RECORD, SOURCES, WHEELS
from trainer_core.install.hub_files import TOKENIZERS
from trainer_core.text import printable

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
    folder = Path(os.path.realpath(places.typed(folder)))
    record = _read(folder)
    report(f"Checking the bundle in {folder}.")
    try:
        _check(folder, record["files"])
        if "," in str(folder):
            raise InstallError("uv cannot read a folder with a comma in its path.", f"Move {folder}.")
        packed_uv.unpack(folder / WHEELS, places.home() / "tools" / "uv" / "bin" / "uv")
        _bring_hub_files(folder, record["files"])
    except OSError as error:
        where = f" ({printable(str(error.filename))})" if error.filename else ""
        raise InstallError(
            f"The bundle in {folder} cannot be used: {error.strerror or error}{where}.",
            "Check the disk of the bundle, and that there is room for Easel's folder.",
        ) from error
    os.environ.update(UV_FIND_LINKS=str(folder / WHEELS), UV_OFFLINE="1", HF_HUB_OFFLINE="1")
    return Bundle(folder, record["python"], record["engines"])


def _read(folder: Path) -> Mapping[str, Any]:
    record = bundle_files.read_record(folder)
    if record is None or not _is_complete(record):
        raise InstallError(
            f"{folder} is no complete bundle: it has no readable {RECORD}.",
            "Make one on a machine with a connection: python installer.py bundle FOLDER --engine ENGINE",
        )
    if record["easel"] != __version__:
        raise InstallError(
            f"The bundle was made by Easel {_shown(record['easel'])}, and this is {__version__}.",
            "Take the folder of that Easel along with the bundle, or make a new bundle.",
        )
    if (record["system"], record["machine"]) != (platform.system(), platform.machine()):
        made_for = f"{_shown(record['system'])} {_shown(record['machine'])}"
        raise InstallError(
            f"The bundle is for {made_for}, and this is {platform.system()} {platform.machine()}.",
            "Make it on a machine of this kind.",
        )
    return record


def _is_complete(record: Mapping[str, Any]) -> bool:
    """Whether all that is used has the form that it is packed with. The names of engines and Pythons become paths and arguments."""
    if not {"system", "machine", "python", "engines"} <= record.keys() or not isinstance(record["engines"], dict):
        return False
    return _is_python(record["python"]) and all(
        re.fullmatch(r"[A-Za-z0-9][\w-]*", engine) and isinstance(about, dict) and _is_engine(about)
        for engine, about in record["engines"].items()
    )


def _is_engine(about: Mapping[str, Any]) -> bool:
    return all(isinstance(value, str) for value in about.values()) and _is_python(about.get("python"))


def _is_python(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"\d+\.\d+[\w.+]*", text) is not None


def _shown(value: object) -> str:
    return printable(str(value), 200)


def _check(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Every file is the recorded one, and there is no other: torch is pinned without a hash."""
    there = set(bundle_files.names(folder)) - {RECORD}
    if missing := sorted(files.keys() - there):
        raise InstallError(
            f"The bundle is incomplete: {_shown(missing[0])} is missing ({len(missing)} in all).", "Copy it again."
        )
    if more := sorted(there - files.keys()):
        raise InstallError(
            f"The bundle has files that do not belong to it, such as {_shown(more[0])}.", "Copy it again."
        )
    for name, about in files.items():
        if wheelhouse.sha256_of(folder / name) != about.get("sha256"):
            raise InstallError(f"The bundle is damaged: {_shown(name)} is not what was packed.", "Copy it again.")


def _bring_hub_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    inside = [name.split("/") for name in files if name.startswith(f"{HUB}/")]
    if alone := [parts for parts in inside if len(parts) < 3]:
        raise InstallError(
            f"The bundle is damaged: {_shown('/'.join(alone[0]))} should be a folder.", "Make a new bundle."
        )
    for name in sorted({parts[1] for parts in inside}):
        target = places.models() / TOKENIZERS / name
        if os.path.lexists(target):
            continue
        fresh = target.with_name(f".new-{name}-{os.getpid()}")
        try:
            shutil.copytree(folder / HUB / name, fresh)
            fresh.rename(target)
        except shutil.Error as error:
            raise OSError(f"{name} could not be copied") from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(fresh)

"""What a `backend.toml` says about an engine's environment. Standard library only.

[upstream]             name; for engines that are run from their sources also repository, commit, digest, exclude, optional;
                       licence_notice is shown before anything is installed
[optimizers]           Easel's name for an optimizer, and the engine's; [optimizer_arguments] what it is always told
[[environment]]        version, python, lock, disk_gib, imports, imports_thorough; best first
[[environment.torch]]  the builds of torch for it: see trainer_core.torch_choice
[options]              dump: a file that lists the engine's own options, run by its own Python: see trainer_core/engine_dump.py
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.errors import InstallError
from trainer_core.places import CHECKOUT, resource

ENTRY_POINTS = "trainer_core.backends"


@dataclass(frozen=True)
class Variant:
    """One way to make an engine's environment: a version with the Pythons, pins and builds of torch that go with it."""

    version: str
    python: Sequence[str]
    lock: Path
    torch_lock: Path
    disk_gib: float
    imports: Sequence[str]
    imports_thorough: Sequence[str]
    torch: Sequence[Mapping[str, Any]]

    def fingerprint(self, build: str, pins: Mapping[str, str], commit: str) -> str:
        """What an environment made this way is known by: it changes when any pin does."""
        whole = hashlib.sha256(json.dumps([self.version, build, dict(pins), commit], sort_keys=True).encode())
        for lock in (self.lock, self.torch_lock):
            whole.update(lock.read_bytes())
        return whole.hexdigest()


@dataclass(frozen=True)
class EngineTable:
    """An engine as the installer sees it."""

    id: str
    title: str
    upstream: Mapping[str, Any]
    variants: Sequence[Variant]
    folder: Path
    optimizers: Mapping[str, str]
    optimizer_arguments: Mapping[str, Sequence[str]]
    dump: Path | None = None

    @property
    def has_source(self) -> bool:
        """True for an engine that is run from a folder of its sources."""
        return "repository" in self.upstream

    @property
    def commit(self) -> str:
        """The pinned commit, or "" for an engine that comes from the package registry."""
        return self.upstream.get("commit", "")


def installable() -> list[str]:
    """The ids of the engines in this checkout or wheel that have an environment of their own, in alphabetical order."""
    files = sorted((CHECKOUT / "backends").glob("*/backend.toml"))
    return [file.parent.name for file in files if "environment" in tomllib.loads(file.read_text("utf-8"))]


def read(engine: str) -> EngineTable:
    """The table of `engine`.

    Raises:
        InstallError: there is no such engine, or it has no environment of its own.
    """
    file = _file(engine)
    if file is None:
        raise InstallError(f"There is no engine called {engine}.", f"Easel has: {', '.join(installable())}.")
    table = tomllib.loads(file.read_text("utf-8"))
    if "environment" not in table:
        raise InstallError(
            f"{table.get('title', engine)} needs no environment of its own.", "There is nothing to install."
        )
    variants = [_variant(row, file.parent) for row in table["environment"]]
    return EngineTable(
        id=engine,
        title=table["title"],
        upstream=table.get("upstream", {}),
        variants=variants,
        folder=file.parent,
        optimizers=table.get("optimizers", {}),
        optimizer_arguments=table.get("optimizer_arguments", {}),
        dump=file.parent / dump if (dump := table.get("options", {}).get("dump")) else None,
    )


def _file(engine: str) -> Path | None:
    """The `backend.toml` of an engine of Easel's own, else of a third party's package."""
    own = CHECKOUT / "backends" / engine / "backend.toml"
    if own.is_file():
        return own
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS, name=engine):
        found = importlib.util.find_spec(entry.module)
        for folder in found.submodule_search_locations or () if found else ():
            if Path(folder, "backend.toml").is_file():
                return Path(folder, "backend.toml")
    return None


def _variant(row: Mapping[str, Any], folder: Path) -> Variant:
    def lock(name: str) -> Path:
        own = folder / f"{name}.txt"
        return own if own.is_file() else resource("requirements") / f"{name}.txt"

    return Variant(
        version=row["version"],
        python=row["python"],
        lock=lock(row["lock"]),
        torch_lock=lock(f"{row['lock']}-torch"),
        disk_gib=row["disk_gib"],
        imports=row["imports"],
        imports_thorough=row.get("imports_thorough", ()),
        torch=row["torch"],
    )

"""A bundle: a folder with all that a machine without a connection needs to install Easel and engines. Standard library only.

<folder>/wheels                packages, as they are in the registry
<folder>/uv                    the program that installs them
<folder>/sources/<id>.tar.gz   the source code of an engine, at its commit
<folder>/hub/<name>            files of the Hub that an engine needs
<folder>/bundle.json           for which machine it is, and the hash of each file; written last
"""

from __future__ import annotations

import json
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import __version__, hardware
from trainer_core.engines import manifest
from trainer_core.engines.manifest import BackendManifest
from trainer_core.errors import InstallError
from trainer_core.files import write_whole
from trainer_core.install import build, hub_files, interpreters, mirrors, suite, upstream, wheelhouse
from trainer_core.install.installed import installed
from trainer_core.install.torch_choice import REGISTRY, TorchChoice
from trainer_core.install.uv import ensure_uv, uv_environment
from trainer_core.places import resource

Report = Callable[[str], None]

RECORD, SCHEMA = "bundle.json", 1
WHEELS, SOURCES, HUB, UV = "wheels", "sources", "hub", "uv"
_LOG = "bundle.log"


@dataclass(frozen=True)
class _Bundle:
    """What is being made, and with what."""

    folder: Path
    uv: Path
    report: Report

    def packages(
        self,
        python: Path,
        requirements: Sequence[Path],
        options: Sequence[str] = ("--no-deps",),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Adds the packages of requirement files, and what builds those that are sources."""
        log, wheels = self.folder / _LOG, self.folder / WHEELS
        files = wheelhouse.wanted(self.uv, python, requirements, log, options=options, variables=variables)
        wheelhouse.fetch(files, wheels, self.report)
        if needed := wheelhouse.build_requirements(wheels / file.name for file in files if file.is_source):
            with tempfile.TemporaryDirectory() as scratch:
                builders = Path(scratch, "builders.txt")
                builders.write_text("\n".join(needed), encoding="utf-8")
                # With what they need themselves.
                self.packages(python, [builders], ())


def make(
    folder: Path,
    engines: Sequence[str],
    accelerator: str = "auto",
    sources: Mapping[str, str] | None = None,
    python: str | None = None,
    report: Report = print,
) -> Path:
    """The folder with the bundle of Easel and these engines, for machines like this one with this kind of device.

    Raises:
        InstallError: the folder has other files, or something cannot be fetched; the same call again continues.
    """
    tables, device = [manifest.read(engine) for engine in engines], hardware.chosen(accelerator)
    _prepare(folder)
    uv = ensure_uv(report)
    making = _Bundle(folder, uv, report)
    shutil.copy(uv, folder / UV)
    found = interpreters.find([python] if python else list(suite.PYTHONS), uv, uv_environment(), report)
    report(f"Packages of Easel for {found}:")
    requirements = resource("requirements")
    making.packages(found.path, [requirements / "suite.txt"])
    making.packages(found.path, [requirements / "build.txt"])
    about = {table.id: _add_engine(making, table, device, (sources or {}).get(table.id)) for table in tables}
    write_record(folder, found.minor, about)
    return folder


def write_record(folder: Path, python: str, engines: Mapping[str, Mapping[str, str]]) -> None:
    """Completes a bundle: what it is for, and the hash of each file."""
    (folder / _LOG).unlink(missing_ok=True)
    record = {
        "schema": SCHEMA,
        "easel": __version__,
        "system": platform.system(),
        "machine": platform.machine(),
        "python": python,
        "engines": engines,
        "files": _files(folder),
    }
    write_whole(folder / RECORD, json.dumps(record, indent=1) + "\n")


def _prepare(folder: Path) -> None:
    """Makes the folder; one that a bundle was made in before is used again."""
    others = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
    if others := others - {WHEELS, SOURCES, HUB, UV, RECORD, _LOG}:
        raise InstallError(f"{folder} has other files: {', '.join(sorted(others)[:5])}.", "Choose a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    for name in (SOURCES, HUB):
        shutil.rmtree(folder / name, ignore_errors=True)


def _add_engine(
    making: _Bundle, table: BackendManifest, device: hardware.Accelerator, source: str | None
) -> dict[str, str]:
    """What the record says of an engine, once its parts are in the bundle."""
    settled = build.settle(table, device, None, making.uv, making.report)
    making.report(f"{table.title} {settled.variant.version} for {settled.interpreter}:")
    making.packages(settled.interpreter.path, [settled.variant.lock])
    torch = _add_torch(making, settled)
    if table.has_source:
        _add_source(making, table, source)
    _add_hub_files(making, table)
    return {
        "version": settled.variant.version,
        "python": settled.interpreter.minor,
        "accelerator": device.kind,
        "torch": torch,
    }


def _add_torch(making: _Bundle, settled: build.Build) -> str:
    """The first build of torch that can be had; its packages are in the bundle."""
    for position, choice in enumerate(settled.choices):
        making.report(choice.reason)
        try:
            _add_build(making, settled, choice)
        except InstallError as error:
            if position == len(settled.choices) - 1:
                raise
            making.report(f"torch for {choice.build} cannot be had ({error.message}): taking the next build.")
        else:
            return choice.build
    raise AssertionError("torch_choice.choices is never empty")


def _add_build(making: _Bundle, settled: build.Build, choice: TorchChoice) -> None:
    if choice.build == REGISTRY:
        making.packages(settled.interpreter.path, [settled.variant.torch_lock])
        return
    where, variables = mirrors.torch_from(choice.build, uv_environment())
    with tempfile.TemporaryDirectory() as scratch:
        pins = Path(scratch, "torch.txt")
        pins.write_text("\n".join(f"{name}=={number}" for name, number in choice.pins.items()), encoding="utf-8")
        # Not --no-deps: torch of this index names the libraries that it needs.
        making.packages(settled.interpreter.path, [pins], where, {**variables, "UV_HTTP_RETRIES": "0"})


def _add_source(making: _Bundle, table: BackendManifest, source: str | None) -> None:
    """The source code of an engine, as an archive that differs only if the files do."""
    present = installed(table.id)
    if source is None and present is not None and present.source and present.commit == table.commit:
        source = str(present.source)
    with tempfile.TemporaryDirectory(dir=making.folder) as scratch:
        tree = Path(scratch, "source")
        upstream.fetch(table.upstream, tree, source, making.report)
        archive = making.folder / SOURCES / f"{table.id}.tar.gz"
        archive.parent.mkdir(exist_ok=True)
        with tarfile.open(archive, "w:gz", compresslevel=6) as packed:
            for file in sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()):
                packed.add(file, file.relative_to(tree).as_posix())


def _add_hub_files(making: _Bundle, table: BackendManifest) -> None:
    """The tokenizers that an installation brings, as far as they can be had here."""
    for row in hub_files.common(table):
        try:
            if not hub_files.is_there(row):
                hub_files.bring(row, table, making.report)
        except InstallError as error:
            making.report(f"Without {row.title}: {error.message}")
            continue
        shutil.copytree(hub_files.folder_of(row), making.folder / HUB / row.folder_name)


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": wheelhouse.sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECORD
    }

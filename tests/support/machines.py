"""Recorded machines: the files, programs and answers in tests/data/machines/<name>/machine.toml, laid out so that the product's code reads them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.checkout import ROOT
from trainer_core.engines import manifest
from trainer_core.files import read_toml
from trainer_core.install.installed import InstalledEngine, engine_home
from trainer_core.probe import Probe

FOLDER = Path(__file__).parent.parent / "data" / "machines"
GIB = 1024**3
USUAL: Mapping[str, Any] = {
    "system": "Linux x86_64",
    "python": "3.12.13",
    "glibc": "2.35",
    "cpu": "x86_64",
    "cpus": 8,
    "shm": 16 * GIB,
    "hub": "yes",
    "index": "",
    "torch index": "",
    "sources": True,
    "token for huggingface": "",
    "token for civitai": "",
    "jupyter": [],
    "tried": {},
    "folders": {"Easel's files": "/data/easel", "temporary files": "/tmp"},
    "free": {what: {"bytes": 200 * GIB, "writable": True} for what in ("Easel's files", "temporary files")},
}
"""What is the same on each machine, unless its file says otherwise."""
FILES = {
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
    "proc/meminfo": "MemTotal:       65536000 kB\nMemAvailable:   60000000 kB\n",
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC 7B12\n",
    "proc/sys/kernel/osrelease": "6.8.0-60-generic\n",
}


def names() -> list[str]:
    return sorted(path.parent.name for path in FOLDER.glob("*/machine.toml"))


def probe(name: str, root: Path) -> Probe:
    """A recorded machine, laid out in `root`. Engines that are installed on it are put into Easel's folder."""
    table = read_toml(FOLDER / name / "machine.toml")
    assert table["source"]
    for place, text in {**FILES, **table.get("files", {})}.items():
        put(root / place, text)
    for place, answers in table.get("programs", {}).items():
        put(root / place, program(answers))
        (root / place).chmod(0o755)
    for engine, about in table.get("installed", {}).items():
        install(engine, **about)
    return Probe(root, str(root / "usr/bin"), table.get("environment", {}), {**USUAL, **table.get("recorded", {})})


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def program(answers: Mapping[str, str]) -> str:
    """A program that prints the answer to its first argument, and fails with any other."""
    cases = "".join(f"'{argument}') cat <<'END'\n{text.rstrip()}\nEND\n;;\n" for argument, text in answers.items())
    return f'#!/bin/sh\ncase "$1" in\n{cases}*) exit 9;;\nesac\n'


def install(engine: str, build: str, accelerator: str, torch: str, wanted: str = "") -> InstalledEngine:
    """The record and the packages' folders of an installation, as an installation leaves them; nothing that could run.

    `wanted` is the build of torch that was wanted, if it could not be got and `build` was installed instead.
    """
    assert not engine_home(engine).is_relative_to(ROOT), (
        "set EASEL_HOME: this would overwrite the engine of this checkout"
    )
    table = manifest.read(engine)
    variant = table.environment[0]
    row = next(each for each in variant.torch if (each.build, each.kind) == (wanted or build, accelerator))
    print_ = variant.fingerprint(row.build, row.pins, table.commit)
    found = InstalledEngine(
        engine, variant.version, table.commit, "3.12.13", build, "", accelerator, "", print_, "", {"torch": torch}
    )
    put(found.python, "")
    put(engine_home(engine) / "installed.json", json.dumps(dataclasses.asdict(found)))
    packages = found.home / "venv" / "lib" / "python3.12" / "site-packages"
    for lock in (variant.lock, variant.torch_lock):
        for package, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE):
            (packages / f"{package.replace('-', '_')}-{version}.dist-info").mkdir(parents=True, exist_ok=True)
    return found

"""How long it takes to list a folder of 1,000 models: first without a cache, then with it.

Usage: python benchmarks/library.py [--models 1000]
Goal: cold within 5 s, cached within 1 s, imports included. The models are sparse files with the headers of real
models: checkpoints, diffusion models, LoRAs, text encoders, VAEs and diffusers folders, the same number of each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
COLD_S, CACHED_S = 5.0, 1.0
# A new interpreter each time, as when a notebook or the command line starts.
SCAN = """
import time; begun = time.perf_counter()
from trainer_core.models import library
from pathlib import Path
import json, sys
imported = time.perf_counter()
found = library.scan([Path(sys.argv[1])])
known = sum(entry.role != "unknown" for entry in found.entries)
print(json.dumps({"seconds": time.perf_counter() - begun, "import_s": imported - begun, "models": len(found.entries),
                  "known": known, "read": found.files_read, "notices": found.notices}))
"""


def make(folder: Path, count: int) -> None:
    """Writes `count` models, cycling through the recorded headers; each is a file of its own, not a link."""
    from tests.support import recorded_headers

    first = folder / "first"
    first.mkdir(parents=True)
    made = [recorded_headers.write(name, first) for name in recorded_headers.NAMES][:count]
    for number, model in zip(range(count - len(made)), itertools.cycle(made), strict=False):
        place = folder / f"{number % 20:02}"
        place.mkdir(exist_ok=True)
        target = place / f"{number}-{model.name}"
        _copy_folder(model, target) if model.is_dir() else _copy(model, target)


def _copy_folder(model: Path, target: Path) -> None:
    shutil.copytree(model, target, copy_function=lambda source, to: _copy(Path(source), Path(to)))


def _copy(source: Path, target: Path) -> None:
    """Copies a sparse file as a sparse file."""
    with source.open("rb") as file, target.open("wb") as to:
        to.write(file.read(2_000_000) if source.stat().st_size > 2_000_000 else file.read())
        to.truncate(source.stat().st_size)


def scan(folder: Path, home: Path) -> dict:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EASEL_HOME": str(home)}
    command = [sys.executable, "-c", SCAN, str(folder)]
    before = os.times()
    found = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    after = os.times()
    user_s, system_s = after.children_user - before.children_user, after.children_system - before.children_system
    return {**found, "user_s": user_s, "system_s": system_s}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=1000)
    count = parser.parse_args().models
    with tempfile.TemporaryDirectory() as place:
        folder, home = Path(place) / "models", Path(place) / "home"
        make(folder, count)
        cold, cached = scan(folder, home), scan(folder, home)
        size_mb = (home / "library.json").stat().st_size / 1e6
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {cold['models']} models"
    )
    for name, one in (("cold", cold), ("cached", cached)):
        busy = f"CPU {one['user_s']:.1f} + {one['system_s']:.1f} s (user + system)"
        print(
            f"{name:7} {one['seconds']:6.2f} s   import {one['import_s']:.2f} s   {busy}   read {one['read']}, known {one['known']}"
        )
    print(f"cold / cached {cold['seconds'] / cached['seconds']:.1f}   cache file {size_mb:.1f} MB")
    for notice in (*cold["notices"], *cached["notices"]):
        print(notice)
    is_whole = cold["models"] == cached["models"] == count and cold["read"] == count and cached["read"] == 0
    return 0 if is_whole and cold["seconds"] <= COLD_S and cached["seconds"] <= CACHED_S else 1


if __name__ == "__main__":
    sys.exit(main())

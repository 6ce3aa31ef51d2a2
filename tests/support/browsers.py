"""Finds a browser that Playwright can drive: Chromium, Chrome or Edge, wherever this system usually has one."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

COMMANDS = (
    "chromium",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "microsoft-edge-stable",
    "chromium-browser",
)
PLACES = (
    "opt/google/chrome/chrome",
    "opt/microsoft/msedge/msedge",
    "usr/lib/chromium/chromium",
    "usr/lib64/chromium-browser/chromium-browser",
    "snap/bin/chromium",
    "Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "Applications/Chromium.app/Contents/MacOS/Chromium",
    "Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
"""Below / and, for programs of one user on macOS, below the home folder."""
PLAYWRIGHTS = (
    "chromium-*/chrome-linux*/chrome",
    "chromium-*/chrome-mac*/*.app/Contents/MacOS/*",
)
"""What `playwright install chromium` fetches, below its folder of browsers."""
ABSENT = (
    "no Chromium, Chrome or Edge was found. Get one with the system's packages (apt install chromium, dnf install chromium, "
    "brew install --cask chromium) or with: .venv/bin/playwright install --with-deps chromium. "
    "On WSL2 it must be one of the Linux there: a browser of Windows cannot be driven from it"
)
ANSWER_S = 30


@functools.cache
def find() -> str | None:
    """The browser of this machine; None where there is none."""
    return search(
        os.environ.get("PATH", os.defpath), Path("/"), Path.home(), os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    )


def search(path: str, root: Path, home: Path, playwrights: str | None = None) -> str | None:
    """The first browser that says its version: on `path`, in the usual places below `root` and `home`, then Playwright's own."""
    return next((str(program) for program in _candidates(path, root, home, playwrights) if _runs(program)), None)


def _candidates(path: str, root: Path, home: Path, playwrights: str | None) -> Iterator[Path]:
    yield from (Path(found) for name in COMMANDS if (found := shutil.which(name, path=path)))
    yield from (root / place for place in PLACES)
    yield from (home / place for place in PLACES if place.startswith("Applications/"))
    caches = (
        (Path(playwrights),) if playwrights else (home / ".cache/ms-playwright", home / "Library/Caches/ms-playwright")
    )
    fetched = [
        (_release(found, cache), found) for cache in caches for each in PLAYWRIGHTS for found in cache.glob(each)
    ]
    yield from (found for _, found in sorted(fetched, reverse=True))


def _release(program: Path, cache: Path) -> int:
    """The number in chromium-1200: the newest is the one to take."""
    number = program.relative_to(cache).parts[0].partition("-")[2]
    return int(number) if number.isdecimal() else 0


def _runs(program: Path) -> bool:
    """Whether it is one: Ubuntu's chromium-browser is a script that only names the package to install."""
    if not os.access(program, os.X_OK) or program.is_dir():
        return False
    try:
        asked = [str(program), "--version"]
        return subprocess.run(asked, capture_output=True, timeout=ANSWER_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False

"""This checkout and the files in it that are ours."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GIT = shutil.which("git")


def tracked(*patterns: str) -> list[Path]:
    """The files git tracks; outside a checkout the test that asks is left out."""
    if GIT and (ROOT / ".git").exists():
        listed = subprocess.run([GIT, "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
        return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    pytest.skip("not a git checkout: the list of our own files is not known")

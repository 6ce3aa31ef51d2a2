"""The record of an engine's installation on the machine of `sshd.py`, without the engine."""

from __future__ import annotations

import json
import os

from tests.support.sshd import Sshd

TEXTS = (
    "version",
    "commit",
    "interpreter",
    "torch",
    "torch_reason",
    "accelerator",
    "origin",
    "fingerprint",
    "installed_at",
)


def write(there: Sshd, engine: str, **more: object) -> None:
    """Writes what the installation of an engine writes; its Python is that of Easel there."""
    home = there.home / "easel-home"
    folder = home / "engines" / engine
    (folder / "venv" / "bin").mkdir(parents=True)
    (folder / "venv" / "bin" / "python").symlink_to(there.python)
    (folder / "installed.json").write_text(json.dumps({"id": engine, **dict.fromkeys(TEXTS, ""), **more}))
    for path in (home, *home.rglob("*")):
        os.chown(path, there.uid, there.uid, follow_symlinks=False)

"""Where Easel keeps things. Standard library only: the installer uses it before anything is installed."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def typed(text: str | Path) -> Path:
    """The path a person wrote, with ~ as a home folder; a home that nobody has stays as it is written."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path's own raises for such a home


def is_there(path: Path) -> bool:
    """Whether a path leads to something; False where that may not be looked at."""
    return os.path.exists(path)  # noqa: PTH110 - Path's own raises for a folder that may not be read, or a name too long


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; False where that may not be looked at."""
    return os.path.isdir(path)  # noqa: PTH112 - as `is_there`


def in_checkout() -> bool:
    """True when this package is used from a source checkout (the supported install), not from a wheel."""
    return (CHECKOUT / "installer.py").is_file() and (CHECKOUT / "pyproject.toml").is_file()


def home() -> Path:
    """The folder everything Easel writes lies under: $EASEL_HOME, else `workspace` in the checkout, else the user's data folder.

    The name is visible on purpose: JupyterLab neither lists nor serves hidden folders.
    """
    if chosen := os.environ.get("EASEL_HOME"):
        return typed(chosen).resolve()
    if in_checkout():
        return CHECKOUT / "workspace"
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "easel"


def engines() -> Path:
    """One folder per installed engine: `venv`, `source` where it has one, `installed.json`."""
    return home() / "engines"


def runs() -> Path:
    """One folder per run."""
    return home() / "runs"


def models() -> Path:
    """Base models that Easel downloaded or made."""
    return home() / "models"


def outputs() -> Path:
    """Where accepted LoRA files go unless the plan names another folder."""
    return home() / "outputs"


def resource(name: str) -> Path:
    """A folder of data that ships with Easel (`requirements`, `profiles`, `themes`), in the checkout or in the wheel."""
    beside = CHECKOUT / name
    return beside if beside.is_dir() else Path(__file__).resolve().parent / "_resources" / name

"""The folders that Easel uses. Standard library only: the installer uses it before anything is installed."""

from __future__ import annotations

import functools
import json
import os
import platform
import re
from pathlib import Path
from urllib.parse import unquote

from trainer_core.providers import surviving

CHECKOUT = Path(__file__).resolve().parent.parent


_FILE_LINK = re.compile(r"file://(?:localhost)?/", re.IGNORECASE)


def typed(text: str | Path) -> Path:
    """The path that a user typed, without quotes, with ~ expanded to the home folder; the ~ of an unknown user stays.

    A relative path starts where the user sees it: in the working folder, which is that of the notebook, or in the folder
    that the Jupyter server shows, whose file browser copies such paths.
    """
    plain = unquoted(text) if isinstance(text, str) else str(text)
    path = Path(os.path.expanduser(plain))  # noqa: PTH111 - Path's own raises for an unknown user
    root = None if path.is_absolute() or not path.parts or os.path.lexists(path) else notebook_root()
    if root is None:
        return path
    # A folder to write to need not exist yet, but the first folder of its path does.
    is_there = os.path.lexists(root / path)
    return root / path if is_there or (_starts_in(root, path) and not _starts_in(Path(), path)) else path


def _starts_in(folder: Path, path: Path) -> bool:
    return os.path.lexists(folder / path.parts[0])


def unquoted(text: str) -> str:
    """A path as it was copied or typed, without spaces around it, quotes around it, and the prefix of a file link."""
    bare = text.strip() if not os.path.lexists(text) else text
    for quote in ("'", '"'):
        if len(bare) > 1 and bare.startswith(quote) and bare.endswith(quote) and not os.path.lexists(bare):
            bare = bare[1:-1]
    link = _FILE_LINK.match(bare)
    return unquote(bare[link.end() - 1 :], errors="surrogateescape") if link else bare


def notebook_root() -> Path | None:
    """The folder that the Jupyter server of this kernel shows; None outside a notebook.

    Source: jupyter_client, launcher.py (JPY_PARENT_PID); jupyter_server, serverapp.py (jpserver-<pid>.json, root_dir).
    """
    server = os.environ.get("JPY_PARENT_PID", "")
    for folder in jupyter_runtime_folders() if server.isdecimal() else ():
        try:
            record = json.loads((folder / f"jpserver-{server}.json").read_text("utf-8"))
            root = Path(record["root_dir"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        return root if root.is_absolute() else None
    return None


def jupyter_data() -> Path:
    """The folder where Jupyter looks for this user's kernels and extensions.

    Source: Jupyter documentation, "Common Directories and File Locations".
    """
    if chosen := os.environ.get("JUPYTER_DATA_DIR"):
        return Path(chosen).expanduser()
    if platform.system() == "Darwin":
        return Path("~/Library/Jupyter").expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "jupyter"


def jupyter_runtime_folders() -> list[Path]:
    """The folders where running Jupyter servers of this user leave their records."""
    chosen = os.environ.get("JUPYTER_RUNTIME_DIR")
    folders = [Path(chosen)] if chosen else []
    return [*folders, jupyter_data() / "runtime", Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent", "jupyter")]


def real(path: Path) -> Path:
    """The absolute path without links; links that lead to each other stay, and opening them then says what is wrong.

    `Path.resolve` raises a RuntimeError for those before Python 3.13.
    """
    return Path(os.path.realpath(path))


def is_there(path: Path) -> bool:
    """Whether a path exists; False if the system does not permit the check."""
    return os.path.exists(path)  # noqa: PTH110 - Path's own raises for a folder that may not be read, or a name too long


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; False if the system does not permit the check."""
    return os.path.isdir(path)  # noqa: PTH112 - as `is_there`


def is_file(path: Path) -> bool:
    """Whether a path is a file; False if the system does not permit the check."""
    return os.path.isfile(path)  # noqa: PTH113 - as `is_there`


def is_link(path: Path) -> bool:
    """Whether a path is a symbolic link; False if the system does not permit the check."""
    return os.path.islink(path)  # noqa: PTH114 - as `is_there`


def in_checkout() -> bool:
    """Whether this package runs from a source checkout (the supported way to install), not from a wheel."""
    return _has_installer(CHECKOUT)


@functools.lru_cache
def _has_installer(folder: Path) -> bool:
    return (folder / "installer.py").is_file() and (folder / "pyproject.toml").is_file()


# Now, because rules name commands, and they read no disk.
_has_installer(CHECKOUT)


def command(word: str = "") -> str:
    """What the user runs for a command that the installer and an installed package have: lab, demo; "" sets up or repairs Easel."""
    return f"python installer.py {word}".rstrip() if in_checkout() else f"easel {word or 'setup'}"


def easel() -> str:
    """How the user calls Easel's command line, in the folder of the checkout or anywhere."""
    return ".venv/bin/easel" if in_checkout() else "easel"


def engine_command(action: str, engine: str) -> str:
    """What the user runs to do something with an engine: install, verify, remove, rollback."""
    if not in_checkout():
        return f"easel backends {action} {engine}"
    return (
        f"python installer.py rollback {engine}"
        if action == "rollback"
        else f"python installer.py backend {action} {engine}"
    )


def home() -> Path:
    """The folder for everything that Easel writes: $EASEL_HOME, else `workspace` in the checkout, else the user's data folder.

    On a platform with a folder of its own for such files it is that, unless the checkout lies beside it or has a workspace already.
    Its name does not start with a dot, because JupyterLab neither lists nor serves hidden folders.
    """
    if chosen := os.environ.get("EASEL_HOME"):
        return real(typed(chosen))
    own = CHECKOUT / "workspace" if in_checkout() else None
    platforms = surviving.home()
    if own is None or platforms is None or platforms.parent in CHECKOUT.parents:
        found = own or platforms
    else:
        # A shell of the same machine may lack the variables of the platform, and make the workspace later.
        found = platforms if platforms.is_dir() or not own.is_dir() else own
    if found is not None:
        return found
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "easel"


def engines() -> Path:
    """The folder of the installed engines, one subfolder each: `venv`, `source` where it has one, `installed.json`.

    Where a platform saves only a small folder, and Easel's home is in it, they lie outside of it.
    """
    own, apart = home(), surviving.scratch()
    return (apart if apart is not None and own == surviving.home() else own) / "engines"


def runs() -> Path:
    """The folder of the runs, one subfolder each."""
    return home() / "runs"


def jobs() -> Path:
    """The folder of the jobs that are not runs, such as the installation of an engine, one subfolder each."""
    return home() / "jobs"


def queue() -> Path:
    """The folder of the queue: its list of runs, its locks and the log of its owner."""
    return home() / "queue"


def trash() -> Path:
    """The folder of the runs that were deleted and can be restored, one subfolder each."""
    return home() / "trash"


def deleted_files() -> Path:
    """The folder of the user's files that were deleted and can be restored, one subfolder for each deletion."""
    return home() / "deleted-files"


def sweeps() -> Path:
    """The folder of the comparisons of finished sweeps, one subfolder each."""
    return home() / "sweeps"


def models() -> Path:
    """The folder of the base models that Easel downloaded or made."""
    return home() / "models"


def datasets() -> Path:
    """The folder of the datasets that were brought into Easel, one subfolder each."""
    return home() / "datasets"


def incoming() -> Path:
    """The folder of what is being received for a dataset, and has not come in yet."""
    return home() / "incoming"


def outputs() -> Path:
    """The folder of accepted LoRA files, unless the plan names another one."""
    return home() / "outputs"


def cache() -> Path:
    """The folder of what can be made again, such as what taggers said of images."""
    return home() / "cache"


def reports() -> Path:
    """The folder for reports about jobs."""
    return home() / "reports"


def resource(name: str) -> Path:
    """A data folder that ships with Easel (`requirements`, `profiles`, `themes`, `notebooks`), in the checkout or in the wheel."""
    in_source = CHECKOUT / name
    return in_source if in_source.is_dir() else Path(__file__).resolve().parent / "_resources" / name

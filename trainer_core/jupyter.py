"""Easel's Jupyter kernel, and the Jupyter servers that run here already. Standard library only."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KERNEL = "easel"

# What a server needs to show widgets: these are part of the page, so they must be in the server's environment, not the kernel's.
_LAB_EXTENSIONS = {"ipywidgets": "@jupyter-widgets/jupyterlab-manager", "anywidget": "anywidget"}


@dataclass(frozen=True)
class Server:
    """A Jupyter server of this user that is running; `prefixes` are the environments it may be running from, likeliest first."""

    pid: int
    url: str
    root: str
    prefixes: tuple[Path, ...]

    @property
    def prefix(self) -> Path | None:
        """The environment the server runs from, where that could be told."""
        return next((prefix for prefix in self.prefixes if (prefix / "share/jupyter").is_dir()), None)

    def lacks(self) -> list[str]:
        """The packages without which this server shows no widgets."""
        folders = [
            *(prefix / "share/jupyter" for prefix in self.prefixes),
            data_folder(),
            Path("/usr/local/share/jupyter"),
            Path("/usr/share/jupyter"),
        ]
        return [
            package
            for package, extension in _LAB_EXTENSIONS.items()
            if not any((folder / "labextensions" / extension / "package.json").is_file() for folder in folders)
        ]


def data_folder() -> Path:
    """Where Jupyter looks for this user's kernels and extensions.

    Source: Jupyter documentation, "Common Directories and File Locations".
    """
    if chosen := os.environ.get("JUPYTER_DATA_DIR"):
        return Path(chosen).expanduser()
    if platform.system() == "Darwin":
        return Path("~/Library/Jupyter").expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "jupyter"


def kernel_spec(python: Path) -> dict[str, Any]:
    """What Jupyter needs to start Easel's kernel, from whichever environment Jupyter itself runs."""
    # A server may run with a PYTHONPATH of its own, which would shadow the kernel's packages.
    environment = {"PYTHONPATH": ""}
    if "EASEL_HOME" in os.environ:
        environment["EASEL_HOME"] = str(Path(os.environ["EASEL_HOME"]).expanduser().resolve())
    return {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Easel",
        "language": "python",
        "metadata": {"debugger": True},
        "env": environment,
    }


def register(python: Path) -> bool:
    """True when the kernel had to be written: into the environment of `python`, and for the user, so that any Jupyter finds it."""
    text = json.dumps(kernel_spec(python), indent=1) + "\n"
    changed = False
    for file in _kernel_files(python):
        try:
            if file.read_text("utf-8") == text:
                continue
        except OSError:
            pass
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        beside.write_text(text, "utf-8")
        beside.replace(file)
        changed = True
    return changed


def unregister(python: Path) -> list[Path]:
    """The kernel folders that were removed: those that start `python`, not those of another checkout."""
    removed = []
    for file in _kernel_files(python):
        try:
            ours = json.loads(file.read_text("utf-8"))["argv"][0] == str(python)
        except (OSError, ValueError, KeyError, IndexError):
            continue
        if ours:
            shutil.rmtree(file.parent)
            removed.append(file.parent)
    return removed


def servers() -> Iterator[Server]:
    """The Jupyter servers of this user whose process is alive."""
    folders = [Path(os.environ["JUPYTER_RUNTIME_DIR"])] if os.environ.get("JUPYTER_RUNTIME_DIR") else []
    folders += [data_folder() / "runtime", Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent", "jupyter")]
    for folder in folders:
        for file in sorted(folder.glob("jpserver-*.json")):
            try:
                record = json.loads(file.read_text("utf-8"))
                os.kill(record["pid"], 0)
            except (OSError, ValueError, KeyError, TypeError):
                continue
            yield _server(record)


def advice(server: Server) -> str:
    """A sentence on whether `server` can show Easel's notebooks, and what to do when it cannot."""
    name = f"A Jupyter server runs at {server.url} (process {server.pid}"
    name += f", from {server.prefix})" if server.prefix else ")"
    lacking = server.lacks()
    if not lacking:
        return f'{name}. It has the widget packages: open a notebook of {server.root or "this folder"} there and choose the kernel "Easel".'
    packages = " and ".join(lacking)
    python = f"{server.prefix}/bin/python" if server.prefix else "that environment's python"
    return (
        f"{name}. It lacks {packages}, so it cannot show Easel's widgets. Run: {python} -m pip install {' '.join(lacking)}, "
        "then restart that server; or use: python installer.py lab"
    )


def _server(record: Mapping[str, Any]) -> Server:
    """The server behind a runtime record, with the environments its process points to."""
    process = Path("/proc", str(record["pid"]))
    programs = []
    try:
        # Not /proc/<pid>/exe alone: in a virtual environment it is the Python the environment was made from.
        arguments = process.joinpath("cmdline").read_bytes().split(b"\0")
        programs += [Path(os.fsdecode(argument)) for argument in arguments[:2] if argument.startswith(b"/")]
        programs.append(process.joinpath("exe").readlink())
    except OSError:
        pass
    prefixes = tuple(dict.fromkeys(program.parent.parent for program in programs if program.parent.name == "bin"))
    return Server(record["pid"], record.get("url", ""), record.get("root_dir", ""), prefixes)


def _kernel_files(python: Path) -> tuple[Path, Path]:
    return (
        python.parent.parent / "share/jupyter/kernels" / KERNEL / "kernel.json",
        data_folder() / "kernels" / KERNEL / "kernel.json",
    )

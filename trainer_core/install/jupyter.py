"""Easel's Jupyter kernel, and the Jupyter servers that are already running. Standard library only."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.files import read_json, write_whole

KERNEL = "easel"

# What a server needs to show widgets. They are part of its web page, so they must be in its environment, not the kernel's.
_LAB_EXTENSIONS = {"ipywidgets": "@jupyter-widgets/jupyterlab-manager", "anywidget": "anywidget"}


@dataclass(frozen=True)
class Server:
    """A running Jupyter server of this user; `prefixes` are the environments it may run from, the most likely first."""

    pid: int
    url: str
    root: str
    prefixes: tuple[Path, ...]

    @property
    def prefix(self) -> Path | None:
        """The environment that the server runs from, or None when it is not known."""
        return next((prefix for prefix in self.prefixes if (prefix / "share/jupyter").is_dir()), None)

    def lacks(self) -> list[str]:
        """The packages that this server lacks to show widgets."""
        folders = [
            *(prefix / "share/jupyter" for prefix in self.prefixes),
            places.jupyter_data(),
            Path("/usr/local/share/jupyter"),
            Path("/usr/share/jupyter"),
        ]
        return [
            package
            for package, extension in _LAB_EXTENSIONS.items()
            if not any((folder / "labextensions" / extension / "package.json").is_file() for folder in folders)
        ]


def kernel_spec(python: Path) -> dict[str, Any]:
    """The kernel specification of Easel, which works from any environment that Jupyter itself runs in."""
    # A server may set its own PYTHONPATH, which would shadow the kernel's packages; container images forbid compiled modules, without
    # which a kernel starts several times slower. Empty means not set.
    environment = {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": ""}
    if "EASEL_HOME" in os.environ:
        environment["EASEL_HOME"] = str(places.home())
    return {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Easel",
        "language": "python",
        "metadata": {"debugger": True},
        "env": environment,
    }


def register(python: Path) -> bool:
    """Whether the kernel specification had to be written.

    It is written into the environment of `python` and for the user, so that any Jupyter finds it. An environment that belongs to
    the system cannot be written, and need not be.
    """
    text = json.dumps(kernel_spec(python), indent=1) + "\n"
    changed = False
    own, of_user = _kernel_files(python)
    for file in (own, of_user):
        try:
            if file.read_text("utf-8") == text:
                continue
        except OSError:
            pass
        try:
            write_whole(file, text)
        except OSError:
            if file is of_user:
                raise
            continue
        changed = True
    return changed


def unregister(python: Path) -> list[Path]:
    """The kernel folders that were removed: those whose kernel starts `python`, not those of another checkout."""
    removed = []
    for file in _kernel_files(python):
        try:
            ours = read_json(file)["argv"][0] == str(python)
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            continue
        if ours:
            shutil.rmtree(file.parent)
            removed.append(file.parent)
    return removed


def servers() -> Iterator[Server]:
    """The Jupyter servers of this user whose process is alive."""
    for folder in places.jupyter_runtime_folders():
        for file in sorted(folder.glob("jpserver-*.json")):
            try:
                record = read_json(file)
                number, url = record["pid"], record.get("url", "")
                # 0 and less are groups of processes.
                if type(number) is not int or number < 1 or not isinstance(url, str):
                    continue
                os.kill(number, 0)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
                continue
            yield _server(record)


def advice(server: Server) -> str:
    """Whether `server` can show Easel's notebooks, and what to do if not, as sentences."""
    name = f"A Jupyter server runs at {server.url} (process {server.pid}"
    name += f", from {server.prefix})" if server.prefix else ")"
    lacking = server.lacks()
    if not lacking:
        return f'{name}. It has the widget packages: open a notebook from {server.root or "this folder"} there and choose the kernel "Easel".'
    packages = " and ".join(lacking)
    python = f"{server.prefix}/bin/python" if server.prefix else "that environment's python"
    return (
        f"{name}. It lacks {packages}, so it cannot show Easel's widgets. Run: {python} -m pip install {' '.join(lacking)}, "
        f"then restart that server; or use: {places.command('lab')}"
    )


def _server(record: Mapping[str, Any]) -> Server:
    """The server of a runtime record, with the environments that its process may run from."""
    process = Path("/proc", str(record["pid"]))
    programs = []
    try:
        # /proc/<pid>/exe is not enough: in a virtual environment it is the Python that the environment was created from.
        arguments = process.joinpath("cmdline").read_bytes().split(b"\0")
        programs += [Path(os.fsdecode(argument)) for argument in arguments[:2] if argument.startswith(b"/")]
        programs.append(process.joinpath("exe").readlink())
    except OSError:
        pass
    prefixes = tuple(dict.fromkeys(program.parent.parent for program in programs if program.parent.name == "bin"))
    return Server(record["pid"], record.get("url", ""), str(record.get("root_dir", "")), prefixes)


def _kernel_files(python: Path) -> tuple[Path, Path]:
    return (
        python.parent.parent / "share/jupyter/kernels" / KERNEL / "kernel.json",
        places.jupyter_data() / "kernels" / KERNEL / "kernel.json",
    )

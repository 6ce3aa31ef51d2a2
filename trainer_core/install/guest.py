"""Easel in a kernel that belongs to a platform, as on Colab and Kaggle, where nobody can choose another kernel.

The platform's packages stay as they are. What Easel needs and the platform does not have, or has too old, is installed into a
folder of Easel's own, `<folder>/lib/python3.x/site-packages`, which comes first in the search path of this kernel and of the
programs that it starts. A package that the kernel has loaded already keeps its version, and so does everything that its
connection to the page is made of. Standard library only.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from trainer_core import places
from trainer_core.child import full_environment
from trainer_core.errors import InstallError
from trainer_core.files import read_texts, read_toml, write_whole
from trainer_core.install.uv import decisive_line, ensure_uv, kept_settings, run_logged
from trainer_core.places import CHECKOUT
from trainer_core.providers import surviving

Report = Callable[[str], None]

OLDEST = (3, 11)
OF_THE_SERVER = frozenset({"ipykernel", "ipywidgets", "jupyterlab"})
"""What Easel asks for only in an environment of its own; a platform's kernel has its own versions, and its page fits to them."""
OF_THE_PAGE = re.compile(
    r"(ipykernel|ipywidgets|ipython|traitlets|comm|pyzmq|tornado|notebook|widgetsnbextension|google-colab|jupyter.*)$"
)
"""What connects a kernel to its page; none of it may change."""
_RECORD = "easel.json"


def folder() -> Path:
    """Where what the platform lacks is installed."""
    return (surviving.scratch() or places.home()) / "kernel"


def site_packages(inside: Path) -> Path:
    """The folder of the packages in an environment of this Python."""
    return inside / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"


def set_up(report: Report = print) -> Path:
    """Makes Easel importable in this kernel, and returns the folder that was added to its search path.

    Does little if it was done before with the same packages of the platform.

    Raises:
        InstallError: it cannot be set up; the hint says what to do.
    """
    if sys.version_info < OLDEST:
        raise InstallError(
            f"This kernel is Python {sys.version.split()[0]}, and Easel needs 3.11 or newer.", "Choose a newer runtime."
        )
    home, inside = places.home(), folder()
    wanted = requirements()
    state = {"digest": _digest(wanted), "python": sys.version.split()[0]}
    if _recorded(inside) != state or shadowed(inside):
        _install(inside, wanted, constraints(), report)
        write_whole(inside / _RECORD, json.dumps(state) + "\n")
    join(inside)
    # The programs that this kernel starts must find the same folders.
    os.environ["EASEL_HOME"] = str(home)
    return inside


def requirements() -> list[str]:
    """What Easel needs beside the page's own packages, as `pyproject.toml` declares it."""
    declared = read_toml(CHECKOUT / "pyproject.toml", InstallError)["project"]["dependencies"]
    return [each for each in declared if _name(each) not in OF_THE_SERVER]


def constraints() -> list[str]:
    """The packages that keep their version: those of the page, and those that this kernel has loaded."""
    loaded = {name.partition(".")[0] for name in sys.modules}
    by_module = importlib.metadata.packages_distributions()
    held = {_plain(name) for module, names in by_module.items() if module in loaded for name in names}
    return sorted(f"{name}=={version}" for name, version in _of_platform() if name in held or OF_THE_PAGE.match(name))


def join(inside: Path) -> None:
    """Puts Easel and what was installed first in the search path of this kernel and of what it starts."""
    first = [str(site_packages(inside)), str(CHECKOUT)]
    sys.path[:] = [*first, *(path for path in sys.path if path not in first)]
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([*first, *(path for path in given if path and path not in first)])
    importlib.invalidate_caches()


def shadowed(inside: Path) -> list[str]:
    """The modules that this kernel has loaded from the platform, and of which Easel's folder has another version."""
    own = site_packages(inside)
    names = {path.name.partition(".")[0] for path in own.iterdir()} if own.is_dir() else set()
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in names}
    return sorted(name for name, file in files.items() if file and not Path(file).is_relative_to(own))


def _install(inside: Path, wanted: list[str], held: list[str], report: Report) -> None:
    log = inside.with_name(f"{inside.name}.log")
    report("Installing what Easel needs and this platform does not have. This takes about a minute.")
    # Not `python -m venv`: the ensurepip of Colab does not work.
    venv = [str(ensure_uv(report)), "venv", "--quiet", "--clear", "--system-site-packages"]
    _run([*venv, "--python", sys.executable, str(inside)], log)
    for name, lines in (("wanted.txt", wanted), ("held.txt", held)):
        write_whole(inside / name, "\n".join(lines) + "\n")
    # pip, because it counts the packages of the platform as installed, and uv does not.
    pip = [sys.executable, "-m", "pip", "--python", str(inside / "bin" / "python"), "install", "--quiet"]
    pip += ["--disable-pip-version-check", "--no-input"]
    chosen = ["--requirement", str(inside / "wanted.txt"), "--constraint", str(inside / "held.txt")]
    _run([*pip, *chosen], log)
    # Its entry points tell the kinds of jobs; its code is that of the checkout.
    _run([*pip, "--no-deps", "--editable", str(CHECKOUT)], log)


def _run(command: list[str], log: Path) -> None:
    status, output = run_logged(command, log, environment=full_environment(kept_settings()))
    if status:
        raise InstallError(
            f"Easel could not be set up in this kernel: {decisive_line(output)}",
            f"Restart the session and run this cell before all others. The full output is in {log}",
        )


def _digest(wanted: list[str]) -> str:
    everything = [*wanted, *(f"{name} {version}" for name, version in _of_platform())]
    return hashlib.sha256("\n".join([str(CHECKOUT), *everything]).encode()).hexdigest()


def _of_platform() -> list[tuple[str, str]]:
    """The packages outside of Easel's folder with their versions, sorted."""
    own = (str(site_packages(folder())), str(CHECKOUT))
    found = importlib.metadata.distributions(path=[path for path in sys.path if path not in own])
    # A damaged record of a package has no name or version.
    whole = [each.metadata for each in found if {"Name", "Version"} <= {*each.metadata}]
    # Of a package that is there twice, the one that is found first counts.
    return sorted({_plain(each["Name"]): each["Version"] for each in reversed(whole)}.items())


def _recorded(inside: Path) -> dict[str, str]:
    return read_texts(inside / _RECORD)


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return _plain(found[0]) if found else ""


def _plain(name: str) -> str:
    """The normalised name of a package. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def ready(report: Report = print) -> bool:
    """Whether Easel can be used in this kernel now; if not, says why and what to do."""
    try:
        set_up(report)
    except InstallError as error:
        report(str(error))
        return False
    report(f"Easel's files are in {places.home()}. {surviving.sentence(places.outputs())}".strip())
    return True

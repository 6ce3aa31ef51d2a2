"""A tiny engine that an outside package brings along, for real environments made by real uv in temporary folders."""

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from trainer_core.install import uv

REPOSITORY = Path(__file__).parents[2]
MINOR = "{}.{}".format(*sys.version_info[:2])


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> str:
    """A requirement line, hashed, for a wheel written to `folder`."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    return f"{name} @ {path.as_uri()} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


TABLE = """
id = "tiny"
title = "Tiny"
licence = "MIT"
[dataset]
extensions = [".png"]
any_case = true
caption_lines = "first"
[upstream]
name = "Tiny"
licence_notice = "Tiny comes under a licence."
{upstream}
[[environment]]
version = "1.0"
python = ["{python}"]
lock = "tiny"
disk_gib = {disk_gib}
imports = {imports}
imports_thorough = ["torch.version"]
{torch}
"""
ROW = '[[environment.torch]]\nkind = "cpu"\nbuild = "registry"\n'


KILLED = """
import os, signal, sys
sys.path[:0] = {path!r}
from trainer_core.install import environments
def report(line):
    if line.startswith("Checking"):
        os.kill(os.getpid(), signal.SIGKILL)
environments.install("tiny", "cpu", report=report)
"""
"""Installs the tiny engine, and is killed when it is to be checked."""


def packages_of(found) -> str:
    """The version of the engine's own package in its environment."""
    question = "from importlib.metadata import version; print(version('tinytrainer'))"
    done = subprocess.run([found.python, "-c", question], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Engine:
    """A package outside Easel, with an engine whose requirement files name two small wheels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "site"
        self.package = self.folder / "tiny_backend"
        self.package.mkdir(parents=True)
        (self.package / "__init__.py").write_text(
            "raise RuntimeError('the installer reads data, it runs no engine code')\n"
        )
        about = self.folder / "tiny_backend-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-backend\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("[trainer_core.backends]\ntiny = tiny_backend:Tiny\n")
        self.pins("1.0")
        torch = {
            "torch/__init__.py": "from torch import version\n__version__ = '9.9'\n",
            "torch/version.py": "cuda = None\nhip = None\n",
        }
        (self.package / "tiny-torch.txt").write_text(wheel(self.package, "torch", "9.9", torch))
        self.table()

    def pins(self, version: str) -> None:
        (self.package / "tiny.txt").write_text(
            wheel(self.package, "tinytrainer", version, {"tinytrainer.py": "steps = 1\n"})
        )

    def as_pinned(self) -> None:
        """Makes the requirement files those of a real engine: versions and hashes, and no address."""
        for name in ("tiny", "tiny-torch"):
            file = self.package / f"{name}.txt"
            file.write_text(re.sub(r" @ file://\S*?-([0-9.]+)-py3-none-any\.whl", r"==\1", file.read_text()))

    def table(
        self,
        *,
        imports: tuple[str, ...] = ("tinytrainer",),
        torch: str = ROW,
        upstream: str = "",
        disk_gib: float = 0.1,
        python: str = MINOR,
    ) -> None:
        text = TABLE.format(
            imports=json.dumps(imports), torch=torch, upstream=upstream, disk_gib=disk_gib, python=python
        )
        (self.package / "backend.toml").write_text(text)


@pytest.fixture
def engine(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{uv.ensure_uv().parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    made = Engine(tmp_path)
    # A test that imports its package would leave it behind, and the next test would get that engine instead of its own.
    sys.modules.pop("tiny_backend", None)
    monkeypatch.syspath_prepend(str(made.folder))
    return made

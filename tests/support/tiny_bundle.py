"""A bundle of a few bytes, with a uv that counts as the pinned one."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from trainer_core.install import bundling, packed_uv

PROGRAM = b"#!/bin/sh\necho uv 0.13.8\n"


def pinned_uv(folder: Path, monkeypatch) -> Path:
    """A wheel of uv, whose hash is pinned from now on."""
    wheel = uv_wheel(folder, PROGRAM)
    (folder / "uv.txt").write_text(f"uv==0.13.8 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    monkeypatch.setattr(packed_uv, "resource", lambda _: folder)
    return wheel


def uv_wheel(folder: Path, program: bytes) -> Path:
    """A wheel as uv publishes it, with this program."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "uv-0.13.8-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-0.13.8.data/scripts/uvx", b"another program")
        archive.writestr("uv-0.13.8.data/scripts/uv", program)
    return wheel


def make(folder: Path, wheel: Path, hub: tuple[str, ...] = ()) -> Path:
    """The folder of a complete bundle, with a package, uv, and files of the Hub."""
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels/a.whl").write_text("a")
    (folder / "wheels" / wheel.name).write_bytes(wheel.read_bytes())
    for name in hub:
        (folder / "hub" / name).mkdir(parents=True)
        (folder / "hub" / name / "vocab.json").write_text("packed")
    bundling.write_record(folder, "3.12", {})
    return folder

"""An engine is kept while a newer one is made, and afterwards to go back to. Real uv makes the environments of a tiny engine."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from tests.support import tiny_engine
from tests.support.tiny_engine import KILLED, REPOSITORY, packages_of
from trainer_core import places
from trainer_core.errors import InstallError
from trainer_core.install import environments, tool_environments, updating, uv
from trainer_core.install.installed import kept
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.spec import Spec, Step

engine = tiny_engine.engine


def install(**options):
    said = []
    found = environments.install("tiny", "cpu", report=said.append, **options)
    return found, "\n".join(said)


def test_an_update_that_fails_leaves_the_engine_as_it_was(engine):
    found, _ = install()
    engine.pins("2.0")
    engine.table(imports=("tinytrainer", "missing_part"))
    said = []
    with pytest.raises(InstallError, match="missing_part"):
        environments.install("tiny", "cpu", report=said.append)
    assert "The Tiny from before is back." in said
    assert environments.installed("tiny") == found
    assert packages_of(found) == "1.0"
    assert not kept("tiny").before.exists()


def test_a_killed_update_brings_the_engine_from_before_back_without_a_command(engine):
    found, _ = install()
    engine.pins("2.0")
    script = KILLED.format(path=[str(REPOSITORY), str(engine.folder)])
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert packages_of(found) == "2.0", "the new one was there, but not proved"
    assert environments.installed("tiny") == found
    assert packages_of(found) == "1.0"
    assert updating.tidy(lambda _: None) > 0, "the one that was not finished"
    assert not list(found.home.glob(".dropped-*"))


def test_the_engine_from_before_can_be_had_back_and_left_again(engine):
    old, said = install()
    assert "kept" not in said
    with pytest.raises(InstallError, match="No Tiny from before"):
        environments.rollback("tiny")
    engine.pins("2.0")
    new, said = install()
    assert "The one from before is kept: up to " in said
    assert f"To go back: {places.engine_command('rollback', 'tiny')}" in said
    lines = []
    assert environments.rollback("tiny", lines.append) == old
    assert packages_of(old) == "1.0"
    assert "works" in lines[0]
    (kept("tiny").before / "venv/bin/python").unlink()
    with pytest.raises(InstallError, match=r"does not work: its Python is no longer there"):
        environments.rollback("tiny", lines.append)
    assert environments.installed("tiny") == old
    assert packages_of(old) == "1.0"
    environments.forget("tiny")
    assert not kept("tiny").before.exists()
    assert new.fingerprint != old.fingerprint


def test_a_run_that_starts_just_before_the_environment_changes_stops_the_update(engine):
    found, _ = install()
    engine.pins("2.0")

    def report(line):
        if line.startswith("Installing"):
            folder = JobFolder.create(places.runs(), "meanwhile")
            folder.write_spec(Spec("commands", (Step("work", ("true",)),), folder.path), {"engine": "tiny"})

    with pytest.raises(InstallError, match=r"Tiny is in use.*meanwhile"):
        environments.install("tiny", "cpu", report=report)
    assert environments.installed("tiny") == found
    assert packages_of(found) == "1.0"


def test_an_update_finds_the_engines_whose_pins_have_changed(engine):
    assert updating.outdated() == []
    install()
    assert updating.outdated() == []
    engine.pins("2.0")
    (found,) = updating.outdated()
    assert (found.title, found.said) == (
        "Tiny",
        "1.0 stays, with other packages. It needs up to 0 GiB beside the old one.",
    )
    found.update(report=lambda _: None)
    assert packages_of(environments.installed("tiny")) == "2.0"
    assert updating.outdated() == []
    said = []
    assert updating.tidy(said.append) > 0
    assert "Removing what is kept of tiny" in said[0]
    assert updating.tidy(said.append) == 0


def test_the_environment_of_a_tool_that_cannot_be_updated_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{uv.ensure_uv().parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    row = tool_environments.get("onnx")
    row.interpreter.parent.mkdir(parents=True)
    row.interpreter.symlink_to(sys.executable)
    old = tool_environments.Installed("onnx", "", "cpu", "of an older Easel", "2026-01-01")
    (row.folder / "installed.json").write_text(json.dumps(dataclasses.asdict(old)))
    (found,) = updating.outdated()
    assert found.title == "ONNX Runtime"
    said = []
    with pytest.raises(InstallError, match="could not be installed"):
        found.update(report=said.append)
    assert "ONNX Runtime is as it was before." in said
    assert tool_environments.installed("onnx") == old
    assert row.interpreter.readlink().samefile(sys.executable)
    # Cut off in the middle, it comes back when it is looked at.
    row.kept.set_aside()
    (row.folder / "venv").mkdir()
    assert tool_environments.installed("onnx") == old
    assert not row.kept.marker.exists()

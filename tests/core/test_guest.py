"""Easel in a kernel of a platform. Simulated: the kernels of Colab and Kaggle were not used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from trainer_core.install import guest

ROOT = Path(__file__).parents[2]


def in_a_kernel(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EASEL_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=False
    )


def package(folder: Path, name: str, version: str, module: str) -> None:
    (folder / module).mkdir(parents=True)
    (folder / module / "__init__.py").write_text(f"version = {version!r}\n")
    about = folder / f"{module}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (about / "top_level.txt").write_text(f"{module}\n")


def test_easel_asks_for_no_package_of_the_page():
    names = {each.partition(">")[0] for each in guest.requirements()}
    assert {"anywidget", "pydantic", "httpx2"} <= names
    assert not names & {"ipywidgets", "ipykernel", "jupyterlab"}


def test_what_the_kernel_has_loaded_keeps_its_version(tmp_path):
    package(tmp_path / "platform", "Loaded_One", "1.5+cu128", "loaded_one")
    package(tmp_path / "platform", "sleeping", "2.0", "sleeping")
    package(tmp_path / "platform", "ipywidgets", "7.7.1", "planted_widgets")
    code = """
        import json, loaded_one
        from trainer_core.install import guest
        print(json.dumps(guest.constraints()))
    """
    done = in_a_kernel(code, tmp_path, PYTHONPATH=f"{tmp_path / 'platform'}:{ROOT}")
    assert done.returncode == 0, done.stderr
    held = json.loads(done.stdout)
    assert "loaded-one==1.5+cu128" in held
    assert "ipywidgets==7.7.1" in held
    assert not [each for each in held if each.startswith("sleeping")]


def test_what_was_installed_comes_first_here_and_in_programs(tmp_path):
    inside = tmp_path / "kernel"
    package(tmp_path / "platform", "thing", "1.0", "thing")
    package(guest.site_packages(inside), "thing", "2.0", "thing")
    code = f"""
        import os, subprocess, sys
        from pathlib import Path
        from trainer_core.install import guest
        guest.join(Path({str(inside)!r}))
        guest.join(Path({str(inside)!r}))
        ask = "import thing, trainer_core; print(thing.version)"
        exec(ask)
        print(subprocess.check_output([sys.executable, "-P", "-c", ask], text=True).strip())
        assert os.environ["PYTHONPATH"].count("site-packages") == 1
        print(guest.shadowed(Path({str(inside)!r})))
    """
    done = in_a_kernel(code, tmp_path, PYTHONPATH=f"{tmp_path / 'platform'}:{ROOT}")
    assert (done.stdout.splitlines(), done.stderr) == (["2.0", "2.0", "[]"], "")


def test_a_module_that_the_kernel_loaded_before_is_noticed(tmp_path):
    inside = tmp_path / "kernel"
    package(tmp_path / "platform", "thing", "1.0", "thing")
    package(guest.site_packages(inside), "thing", "2.0", "thing")
    code = f"""
        import thing
        from pathlib import Path
        from trainer_core.install import guest
        print(guest.shadowed(Path({str(inside)!r})))
    """
    done = in_a_kernel(code, tmp_path, PYTHONPATH=f"{tmp_path / 'platform'}:{ROOT}")
    assert (done.stdout.strip(), done.stderr) == ("['thing']", "")


def test_a_failed_installation_is_told_in_a_sentence_and_leaves_no_record(tmp_path):
    """A uv that cannot make an environment."""
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && { echo uv 0.13.8; exit; }\necho "error: no space left" >&2\nexit 2\n'
    )
    uv.chmod(0o755)
    code = """
        from trainer_core.install import guest
        assert not guest.ready()
        assert not list(guest.folder().parent.rglob("easel.json"))
    """
    done = in_a_kernel(code, tmp_path, PATH=f"{uv.parent}:{os.environ['PATH']}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "could not be set up in this kernel: no space left" in done.stdout
    assert "Traceback" not in done.stdout

"""Pythons are found by running them: real programs, real broken shims."""

import os
import sys
from pathlib import Path

import pytest

from trainer_core.errors import InstallError
from trainer_core.install import interpreters

REAL = Path(getattr(sys, "_base_executable", sys.executable))
MINOR = "{}.{}".format(*sys.version_info[:2])


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def shim(folder: Path, name: str = f"python{MINOR}") -> Path:
    """A program that does what a pyenv shim does when its version is not selected."""
    return program(folder / name, f'echo "pyenv: {name}: command not found" >&2\nexit 127\n')


def test_a_real_python_reports_its_version():
    answer = interpreters.ask(REAL)
    assert answer is not None
    assert answer.version == sys.version_info[:3]
    assert answer.minor == MINOR
    assert answer.path.exists()


def test_the_python_behind_a_virtual_environment_is_found(tmp_path):
    answer = interpreters.ask(Path(sys.executable))
    assert answer is not None
    assert not answer.path.is_relative_to(sys.prefix) or sys.prefix == sys.base_prefix


@pytest.mark.parametrize(
    "text",
    [
        "exit 127\n",
        "echo hello\n",
        "",
        "echo 'pypy 0'; echo '3 12 1'; echo /bin/sh\n",
        "echo 'cpython 1'; echo '3 13 0'; echo /bin/sh\n",
    ],
    ids=["broken shim", "something else", "silent", "pypy", "free-threaded"],
)
def test_a_program_that_is_not_a_regular_cpython_does_not_count(tmp_path, text):
    assert interpreters.ask(program(tmp_path / "python3", text)) is None


def test_a_missing_program_does_not_count(tmp_path):
    assert interpreters.ask(tmp_path / "python3") is None


def test_a_broken_shim_before_a_real_python_is_skipped(tmp_path):
    shim(tmp_path / "first")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / f"python{MINOR}").symlink_to(REAL)
    found = interpreters.find_local([MINOR], environ={"PATH": f"{tmp_path / 'first'}{os.pathsep}{tmp_path / 'second'}"})
    assert found is not None
    assert found.minor == MINOR


@pytest.mark.parametrize("where", ["PYENV_ROOT", "HOME", "shims on PATH"])
def test_pyenv_s_versions_are_searched_when_its_shims_fail(tmp_path, where):
    root = tmp_path / ".pyenv"
    shim(root / "shims")
    # Patch releases are compared as numbers: 10 comes after 9.
    for patch, target in (("9", None), ("10", REAL)):
        folder = root / "versions" / f"{MINOR}.{patch}" / "bin"
        folder.mkdir(parents=True)
        if target:
            (folder / f"python{MINOR}").symlink_to(target)
        else:
            shim(folder)
    environ = {
        "PYENV_ROOT": {"PYENV_ROOT": str(root), "PATH": ""},
        "HOME": {"HOME": str(tmp_path), "PATH": ""},
        "shims on PATH": {"PATH": str(root / "shims")},
    }[where]
    assert next(interpreters.under_pyenv(MINOR, environ)).parent.parent.name == f"{MINOR}.10"
    assert interpreters.find_local([MINOR], environ=environ) is not None


def test_the_order_of_the_wanted_versions_decides_not_the_order_on_path(tmp_path):
    program(tmp_path / "python3.12", "echo 'cpython 0'; echo '3 12 4'; echo /bin/sh\n")
    program(tmp_path / "python3", "echo 'cpython 0'; echo '3 11 9'; echo /bin/sh\n")
    environ = {"PATH": str(tmp_path)}
    for wanted, expected in ((["3.11", "3.12"], "3.11"), (["3.12", "3.11"], "3.12")):
        found = interpreters.find_local(wanted, environ=environ)
        assert found is not None
        assert found.minor == expected
    assert interpreters.find_local(["3.13"], environ=environ) is None


def test_an_unavailable_python_is_refused_with_a_message(tmp_path):
    offline = program(tmp_path / "uv", "exit 2\n")
    said = []
    with pytest.raises(InstallError) as caught:
        interpreters.find(["3.12", "3.13"], offline, {"PATH": ""}, said.append, "Tiny 1.0")
    assert "Tiny 1.0 needs Python 3.12 or 3.13" in caught.value.message
    assert "3.12" in caught.value.hint
    assert len(said) == 1


@pytest.mark.parametrize("platform", ["colab", "local"])
def test_a_platforms_own_python_is_used_only_if_uv_has_none(tmp_path, monkeypatch, platform):
    """Simulated: not run on Colab."""
    monkeypatch.setenv("EASEL_PROVIDER", platform)
    both = program(tmp_path / "bin" / f"python{MINOR}", f'exec "{REAL}" "$@"\n')
    lists = 'printf "cpython 0\\n{} {} 9\\n{}\\n"'.format(*sys.version_info[:2], "/bin/sh")
    managed = program(tmp_path / "managed" / "python", f"{lists}\n")
    uv = program(tmp_path / "uv", f'[ "$2" = find ] && echo "{managed}"\n')
    environ = {"PATH": str(both.parent)}
    found = interpreters.find([MINOR], uv, environ, lambda _: None)
    assert (found.path == Path("/bin/sh")) == (platform == "colab")
    offline = program(tmp_path / "offline", "exit 2\n")
    assert interpreters.find([MINOR], offline, environ, lambda _: None).version == sys.version_info[:3]

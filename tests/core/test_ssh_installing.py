"""Easel is brought to a machine: its files, its installer and its engines, once, whatever is cut.

A real sshd on loopback answers, with a user of its own (`tests/support/sshd.py`). Except in one test, what is installed is a small
checkout whose installer takes no time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import tarfile
import threading
import time
import tomllib

import pytest

from tests.support import sshd
from tests.support.checkout import ROOT, tracked
from trainer_core import __version__
from trainer_core.cli import main
from trainer_core.errors import JobError
from trainer_core.install import uv
from trainer_core.jobs.hosts.ssh_failure import MachineError
from trainer_core.remote.machines import engine_there, installing, packing

LIMIT_S = 120
INSTALLER = """\
import pathlib, sys, time
here = pathlib.Path(__file__).resolve().parent
with (here.parent / "starts").open("a") as file:
    file.write("x")
print("Creating the environment.", flush=True)
for _ in range(int((here / "README.md").read_text())):
    time.sleep(0.1)
(here / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
python = here / ".venv" / "bin" / "python"
if not python.exists():
    python.write_text('#!/bin/sh\\nexec "$HOME/easel/.venv/bin/python" "$@"\\n')
    python.chmod(0o755)
print("Easel is ready.")
"""


@pytest.fixture(scope="module")
def there():
    with sshd.machine() as made, made.forced(f"PATH={sys.base_prefix}/bin:$PATH; export PATH"):
        yield made


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path, request):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    yield
    if "there" in request.fixturenames:
        request.getfixturevalue("there").wire.cut_after(None)


@pytest.fixture
def easel(there, tmp_path):
    """The folder of Easel on the machine, new for each test, in a folder of its own."""
    made = there.home / "places" / tmp_path.name
    made.mkdir(parents=True)
    for folder in (made, made.parent):
        os.chown(folder, there.uid, there.uid)
    return made / "easel"


def archive(folder, installer=INSTALLER, waits=0, filler=0):
    folder.mkdir(exist_ok=True)
    (folder / "installer.py").write_text(installer)
    (folder / "README.md").write_text(str(waits))
    (folder / "LICENSE").write_bytes(os.urandom(filler))
    return packing.pack(folder)


def installed(there, easel, made, said=None):
    return installing.install(there.machine(str(easel)), (said if said is not None else []).append, made)


def easel_command(*words):
    with pytest.raises(SystemExit) as ended:
        main(["remote", "machine", *words])
    return ended.value.code or 0


def started(easel):
    deadline = time.monotonic() + LIMIT_S
    while not (easel.parent / "starts").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_archive_has_the_files_of_the_package_and_no_others(tmp_path):
    made = packing.pack()
    with tarfile.open(fileobj=io.BytesIO(made.content)) as tar:
        found = {each.name: each for each in tar.getmembers()}
    assert all(each.isfile() for each in found.values())
    kept = {path.relative_to(ROOT).as_posix() for path in tracked() if not path.name.startswith(".")}
    wanted = {name for name in kept if any(name == part or name.startswith(f"{part}/") for part in packing.PARTS)}
    assert wanted <= set(found)
    assert not [name for name in found if name.endswith(".pyc") or "/." in name or "workspace" in name]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]
    assert set(packing.PARTS) == {*project["only-include"], "pyproject.toml"} - {"docs/images"}
    assert hashlib.sha256(packing.pack().content).hexdigest() == made.sha256, "equal files make equal archives"
    with pytest.raises(JobError, match="installed as a package"):
        packing.pack(tmp_path)


@pytest.mark.timeout(900)
def test_easel_is_installed_by_its_own_installer_and_a_second_time_nothing_is_sent(there, easel, capsys):
    path = f"{sys.base_prefix}/bin:{uv.ensure_uv(lambda _: None).parent}:/usr/bin:/bin"
    named = [there.address, "--easel", str(easel), "--identity", str(there.key), "--yes"]
    with there.forced(f"PATH={path}; export PATH"):
        assert easel_command("install", *named) == 0
        said = capsys.readouterr().out
        assert "Creating" in said
        assert f"Easel {__version__} is ready on {there.address}." in said
        assert installing.version_there(there.machine(str(easel))) == __version__
        before = there.wire.bytes_sent
        assert easel_command("install", *named) == 0
        assert "there was nothing to do" in capsys.readouterr().out
        # Three logins and their scripts.
        assert there.wire.bytes_sent - before < 60_000
        assert easel_command("check", *named[:-1]) == 0
        assert "Jobs can be started there." in capsys.readouterr().out


def test_nothing_is_installed_without_a_yes(there, easel, capsys):
    assert easel_command("install", there.address, "--easel", str(easel), "--identity", str(there.key)) == 1
    assert "add --yes" in capsys.readouterr().out
    assert not easel.exists()


def test_an_installation_that_is_cut_again_and_again_goes_on_where_it_was(there, easel, tmp_path):
    made = archive(tmp_path / "small", filler=5 << 20, waits=10)
    before = there.wire.bytes_sent
    with there.wire.cut_every(1_300_000) as cuts:
        for _ in range(8):
            with contextlib.suppress(MachineError):
                installed(there, easel, made)
                break
    assert len(cuts) >= 3
    assert (easel / "LICENSE").read_bytes() == (tmp_path / "small" / "LICENSE").read_bytes()
    assert (easel.parent / "starts").read_text() == "x", "the installer ran once"
    assert there.wire.bytes_sent - before < 2 * len(made.content)


def test_an_installer_goes_on_without_its_connection_and_is_followed_again(there, easel, tmp_path):
    made, said = archive(tmp_path / "small", waits=50), []
    killer = threading.Thread(target=lambda: (started(easel), time.sleep(0.5), there.cut()))
    killer.start()
    done = installed(there, easel, made, said)
    killer.join()
    assert done.is_changed
    assert (easel.parent / "starts").read_text() == "x"
    assert said.count("  Creating the environment.") == 1
    assert said.count("  Easel is ready.") == 1


def test_a_second_command_follows_the_installer_that_runs(there, easel, tmp_path):
    made, said = archive(tmp_path / "small", waits=40), []
    first = threading.Thread(target=installed, args=(there, easel, made))
    first.start()
    started(easel)
    installed(there, easel, made, said)
    first.join(LIMIT_S)
    assert (easel.parent / "starts").read_text() == "x"
    assert "  Easel is ready." in said


def test_another_version_replaces_the_files_and_keeps_what_others_wrote(there, easel, tmp_path):
    installed(there, easel, archive(tmp_path / "old"))
    (easel / "workspace").mkdir()
    (easel / "workspace" / "mine").write_text("kept")
    new = archive(tmp_path / "new", filler=2000)
    (easel / ".easel-sent").write_text("incomplete\n")
    (easel / "installer.py").unlink()
    done = installed(there, easel, new)
    assert done.is_changed
    assert (easel / "LICENSE").stat().st_size == 2000
    assert (easel / "workspace" / "mine").read_text() == "kept"
    assert (easel / ".easel-sent").read_text().strip() == new.sha256


def test_what_arrived_damaged_is_removed_and_sent_again(there, easel, tmp_path):
    made = archive(tmp_path / "small", filler=3000)
    state = easel.with_name("easel.incoming")
    state.mkdir()
    part = state / f"{made.sha256}.tar.gz"
    part.write_bytes(b"x" * 500)
    for path in (state, part):
        os.chown(path, there.uid, there.uid)
    with pytest.raises(MachineError, match="is damaged"):
        installed(there, easel, made)
    assert not part.exists()
    assert installed(there, easel, made).sent_bytes == len(made.content)


@pytest.mark.parametrize(
    ("inside", "said"),
    [(".git", "checkout of git"), ("thesis.tex", "is not empty, and it was not made by this command")],
)
def test_a_folder_of_somebody_else_is_left_alone(there, easel, tmp_path, inside, said):
    easel.mkdir()
    (easel / inside).write_text("mine")
    with pytest.raises(JobError, match=said):
        installed(there, easel, archive(tmp_path / "small"))
    assert [path.name for path in easel.iterdir()] == [inside]


def test_a_machine_without_python_or_uv_says_what_to_install(there, easel, tmp_path):
    is_bare = there.forced(f"PATH={there.bare_programs()}; export PATH")
    with is_bare, pytest.raises(JobError, match=r"no Python 3\.8 or newer .* and no uv") as refused:
        installed(there, easel, archive(tmp_path / "small"))
    assert "apt install" in refused.value.hint


def test_a_machine_without_space_is_refused_with_figures(there, tmp_path):
    easel = there.small / "easel"
    with pytest.raises(JobError, match=r"Easel needs 2\.0 GiB in .*small/easel on .*, where .* are free"):
        installed(there, easel, archive(tmp_path / "small"))
    assert not easel.exists()


def test_an_installer_that_fails_is_told_with_its_last_lines(there, easel, tmp_path):
    fails = "import sys\nprint('Looking.')\nsys.exit('The disk of this machine is full.')\n"
    with pytest.raises(JobError, match=r"failed \(1\): Looking\. The disk of this machine is full\."):
        installed(there, easel, archive(tmp_path / "fails", fails))
    assert installed(there, easel, archive(tmp_path / "works")).is_changed, "and it can be repeated"


def test_an_engine_is_installed_as_a_job_there_and_a_failure_is_told(there):
    machine, said = there.machine(), []
    engine_there.install(machine, "rehearsal", said.append)
    assert said == [f"The engine rehearsal is installed on {there.address}."]
    nowhere = "http://127.0.0.1:9/simple"
    without = f"UV_DEFAULT_INDEX={nowhere} PIP_INDEX_URL={nowhere}; export UV_DEFAULT_INDEX PIP_INDEX_URL"
    with there.forced(without), pytest.raises(JobError, match=f"was not installed on {there.address}"):
        engine_there.install(machine, "kohya", said.append)
    assert any("as the job" in line for line in said)
    assert any(line.startswith("  ") for line in said), "the log of the job is shown"
    with pytest.raises(JobError, match="no training engine called 'none'"):
        engine_there.install(machine, "none", said.append)


def test_versions_that_differ_are_said():
    machine = sshd.Machine.named("me@box")
    assert installing.differs(machine, __version__) == ""
    assert "Easel is 0.0.1 on me@box" in installing.differs(machine, "0.0.1")

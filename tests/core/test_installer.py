"""The installer as a new user runs it: a program, started in a copy of the checkout with an empty home folder."""

import ast
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from trainer_core.install import interpreters, jupyter, uv

REPOSITORY = Path(__file__).parents[2]
PYTHON_3_8_FILES = [
    "installer.py",
    *(
        f"trainer_core/{name}.py"
        for name in (
            "__init__",
            "child",
            "errors",
            "install/__init__",
            "install/interpreters",
            "install/mirrors",
            "install/uv",
            "places",
        )
    ),
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of only what the installer needs."""
    folder = tmp_path_factory.mktemp("easel checkout")
    for name in (
        "trainer_core",
        "trainer_ui",
        "backends",
        "profiles",
        "themes",
        "requirements",
        "installer.py",
        "pyproject.toml",
        "LICENSE",
        "README.md",
    ):
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def installer(checkout):
    """Runs the copy's installer with an empty home folder and few variables, on this Python or the given one."""
    home = checkout.parent / "home"
    home.mkdir(exist_ok=True)
    base = {"HOME": str(home), "PATH": f"{uv.ensure_uv().parent}:/usr/bin:/bin", "UV_CACHE_DIR": cache()}
    base |= {name: os.environ[name] for name in ("SSL_CERT_FILE", "UV_DEFAULT_INDEX") if name in os.environ}

    def run(*arguments, python=sys.executable, **variables):
        return subprocess.run(
            [python, checkout / "installer.py", *arguments],
            capture_output=True,
            text=True,
            env=base | variables,
            stdin=subprocess.DEVNULL,
            cwd="/",
            timeout=600,
            check=False,
        )

    return run


def cache() -> str:
    done = subprocess.run(
        [uv.ensure_uv(), "cache", "dir"], capture_output=True, text=True, env=uv.uv_environment(), check=True
    )
    return done.stdout.strip()


def test_without_a_set_up_the_doctor_says_so(installer):
    assert "not set up" in installer("doctor").stdout


@pytest.mark.parametrize("name", PYTHON_3_8_FILES)
def test_modules_used_before_a_newer_python_is_found_have_the_syntax_of_python_3_8(name):
    ast.parse((REPOSITORY / name).read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.9", "3.10"])
def test_an_old_python_starts_a_newer_one_or_explains_what_is_needed(installer, version):
    environ = dict(os.environ)
    paths = [
        path
        for path in (*interpreters.on_path(version, environ), *interpreters.under_pyenv(version, environ))
        if version in str(path)
    ]
    working = [
        path for path in paths if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0
    ]
    if not working:
        pytest.skip(f"no Python {version} here")
    done = installer(
        "doctor", python=working[0], PATH=f"{Path(sys.executable).parent}:{Path(sys.base_prefix)}/bin:/usr/bin:/bin"
    )
    if version in ("2.7", "3.6"):
        assert (done.returncode, done.stdout.count("\n")) == (1, 1)
        assert "Python 3.11 or newer" in done.stdout
    else:
        assert done.returncode == 0, done.stderr
        assert "Python: 3.1" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("paint",),
        ("backend",),
        ("backend", "paint", "kohya"),
        ("--accelerator", "abacus"),
        ("demo", "--source", "kohya"),
        ("doctor", "--more"),
    ],
)
def test_wrong_usage_ends_with_exit_code_2(installer, arguments):
    done = installer(*arguments)
    assert done.returncode == 2
    assert "usage: python installer.py" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("backend", "install", "nothing"), "There is no engine called nothing."),
        (("backend", "verify", "kohya"), "kohya sd-scripts is not installed."),
        (("--source", "kohya=/nowhere", "backend", "install", "kohya"), "The source of sd-scripts cannot be reached"),
        (("uninstall",), "--yes"),
    ],
)
def test_a_failure_is_a_message_without_a_traceback(installer, tmp_path, arguments, sentence):
    done = installer(*arguments, EASEL_HOME=str(tmp_path))
    assert done.returncode == 1
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_used_is_a_message_without_a_traceback(installer, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    done = installer("backend", "install", "kohya", EASEL_HOME=str(tmp_path / "loop"))
    assert done.returncode == 1
    assert "loop/engines/kohya cannot be used: Too many levels of symbolic links." in done.stderr
    assert "Traceback" not in done.stderr


def busy_s() -> float:
    """CPU seconds of our ended child processes; other work on the machine does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def ready(installer, checkout):
    """What the first set-up said; `.venv` is there afterwards."""
    # The remains of an interrupted set-up: it has no record of being completed.
    venv.create(checkout / ".venv", with_pip=False)
    (checkout / ".venv/left.txt").touch()
    first = installer()
    assert first.returncode == 0, first.stderr
    return first.stdout


def packages_work(checkout) -> bool:
    command = [checkout / ".venv/bin/python", "-c", "import ipywidgets, click, trainer_core.cli.engines"]
    return subprocess.run(command, capture_output=True, cwd="/", check=False).returncode == 0


@pytest.mark.timeout(1800)
def test_set_up_then_nothing_to_do(installer, checkout, ready):
    python = checkout / ".venv/bin/python"
    assert "Creating" in ready
    assert not (checkout / ".venv/left.txt").exists()
    assert not list(checkout.glob(".dropped-*"))
    script = "import ipywidgets, trainer_core; print(trainer_core.__file__)"
    where = subprocess.run([python, "-c", script], capture_output=True, text=True, cwd="/", check=True)
    assert where.stdout.strip() == str(checkout / "trainer_core/__init__.py")
    kernels = [
        checkout / ".venv/share/jupyter/kernels/easel/kernel.json",
        checkout.parent / "home/.local/share/jupyter/kernels/easel/kernel.json",
    ]
    assert all(json.loads(kernel.read_text())["argv"][0] == str(python) for kernel in kernels)

    before = busy_s()
    second = installer()
    assert busy_s() - before < 2
    assert "nothing to do" in second.stdout


def test_new_packages_that_do_not_work_leave_the_old_ones(installer, checkout, ready):
    pins = checkout / "requirements/suite.txt"
    good = pins.read_text()
    pins.write_text(re.sub(r"(?m)^click==.*\n(    .*\n)+", "", good))
    assert "is made anew, because other packages are pinned" in installer("update", "--check", "--here").stdout
    done = installer("update", "--here")
    pins.write_text(good)
    assert done.returncode == 1
    assert "Easel's own packages do not work here: ModuleNotFoundError: No module named 'click'." in done.stderr
    assert "The .venv from before is back." in done.stdout
    assert packages_work(checkout)
    # The same, cut off by a kill while the new packages are there and not yet proved.
    (checkout / ".venv-before").mkdir()
    (checkout / ".venv").rename(checkout / ".venv-before/.venv")
    (checkout / ".venv").mkdir()
    (checkout / ".venv-installing").write_text("building\n")
    done = installer("update", "--here")
    assert done.returncode == 0, done.stderr
    assert "was interrupted: the one from before is back." in done.stdout
    assert "All environments have what this Easel pins." in done.stdout
    assert packages_work(checkout)
    assert sorted(path.name for path in checkout.glob(".venv*")) == [".venv", ".venv-lock"]


def test_an_update_pulls_and_the_installer_that_arrived_does_the_rest(installer, checkout, ready, tmp_path):
    def git(*words, folder=checkout):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True)

    assert "was not made by git clone" in installer("update").stderr
    git("init", "--quiet", "--initial-branch", "main")
    git("add", "installer.py", "README.md", "requirements/suite.txt")
    git("commit", "--quiet", "-m", "one")
    git("clone", "--quiet", "--bare", ".", str(tmp_path / "origin"))
    git("remote", "add", "origin", str(tmp_path / "origin"))
    assert "follows no branch of another repository" in installer("update").stderr
    git("fetch", "--quiet", "origin")
    git("branch", "--set-upstream-to", "origin/main")
    git("clone", "--quiet", str(tmp_path / "origin"), str(tmp_path / "elsewhere"))
    newer = tmp_path / "elsewhere/installer.py"
    newer.write_text(newer.read_text().replace("Easel is up to date.", "Easel is newer now."))
    git("commit", "--quiet", "-am", "two", folder=tmp_path / "elsewhere")
    git("push", "--quiet", folder=tmp_path / "elsewhere")
    checked = installer("update", "--check").stdout
    assert "1 new commit(s) on origin/main" in checked
    assert "All environments have what this Easel pins." in checked
    done = installer("update")
    assert done.returncode == 0, done.stderr
    assert "git reset --keep" in done.stdout
    assert "Easel is newer now." in done.stdout
    assert "Easel is what origin/main has" in installer("update").stdout


def test_uninstalling_keeps_what_the_user_made_unless_told(installer, checkout, ready):
    (checkout / "workspace/outputs").mkdir(parents=True)
    gone = installer("uninstall", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert not list(checkout.glob(".venv*"))
    assert not list(checkout.parent.glob("**/kernels/easel/kernel.json"))
    assert (checkout / "workspace/outputs").exists()
    installer("uninstall", "--yes", "--all")
    assert not (checkout / "workspace").exists()


@pytest.mark.parametrize("place", ["home", "checkout", "above"])
def test_a_folder_with_more_than_easels_files_is_never_uninstalled(installer, checkout, place):
    folder = {"home": checkout.parent / "home", "checkout": checkout, "above": checkout.parent}[place]
    kept = folder / "tools" / "mine.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.touch()
    (folder / "tools" / "uv").mkdir()
    refused = installer("uninstall", "--yes", "--all", EASEL_HOME=str(folder))
    assert refused.returncode == 1
    assert "is not a folder of Easel's alone" in refused.stdout
    assert kept.exists()
    assert (folder / "tools" / "uv").exists()
    installer("uninstall", "--yes", EASEL_HOME=str(folder))
    assert kept.exists()
    assert not (folder / "tools" / "uv").exists()


# --- Jupyter servers that are already running ---


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The runtime record of a server that runs from `tmp_path/env`; its process only sleeps."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    program = tmp_path / "env/bin/python"
    program.parent.mkdir(parents=True)
    program.symlink_to(shutil.which("sleep"))
    (tmp_path / "env/share/jupyter").mkdir(parents=True)
    (tmp_path / "runtime").mkdir()
    with subprocess.Popen([program, "60"]) as process:
        while not Path(f"/proc/{process.pid}/cmdline").read_bytes():  # it is empty for a moment after the start
            time.sleep(0.01)
        record = {"pid": process.pid, "url": "http://127.0.0.1:8888/", "root_dir": "/notebooks"}
        (tmp_path / f"runtime/jpserver-{process.pid}.json").write_text(json.dumps(record))
        (tmp_path / "runtime/jpserver-1.json").write_text(json.dumps({**record, "pid": 2**22 + 1}))
        (tmp_path / "runtime/jpserver-2.json").write_text("{")
        yield tmp_path / "env"
        process.kill()


def test_the_advice_on_a_running_server_lists_missing_packages(server):
    (found,) = jupyter.servers()
    assert found.prefix == server
    if shared := {"ipywidgets", "anywidget"} - set(found.lacks()):
        pytest.skip(f"this machine has {shared} for every server")
    assert f"{server}/bin/python -m pip install ipywidgets anywidget" in jupyter.advice(found)
    for extension in ("@jupyter-widgets/jupyterlab-manager", "anywidget"):
        folder = server / "share/jupyter/labextensions" / extension
        folder.mkdir(parents=True)
        (folder / "package.json").write_text("{}")
    assert found.lacks() == []
    assert 'the kernel "Easel"' in jupyter.advice(found)


def test_the_kernel_of_another_checkout_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    mine, other = tmp_path / "mine/bin/python", tmp_path / "other/bin/python"
    assert jupyter.register(mine)
    assert not jupyter.register(mine)
    assert jupyter.register(other)
    assert jupyter.unregister(mine) == [tmp_path / "mine/share/jupyter/kernels/easel"]
    assert (tmp_path / "data/kernels/easel/kernel.json").exists()


# --- requirement files ---


@pytest.mark.parametrize("path", sorted((REPOSITORY / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_hashed_without_a_host(path):
    text = path.read_text()
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash=)", text, re.MULTILINE)
    entries = re.split(r"\n(?=[a-z0-9])", "\n" + text)[1:]
    assert entries
    assert all(re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==", entry) and "--hash=sha256:" in entry for entry in entries)

"""Environments are made by real uv, in temporary folders, for a tiny engine that an outside package brings along."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from trainer_core import engine_table, environments, upstream, uv
from trainer_core.errors import InstallError

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
    monkeypatch.syspath_prepend(str(made.folder))
    return made


def install(**options):
    said = []
    found = environments.install("tiny", "cpu", report=said.append, **options)
    return found, "\n".join(said)


def test_an_engine_is_installed_once_and_known_afterwards(engine):
    found, said = install()
    assert "Tiny comes under a licence." in said
    assert environments.installed("tiny") == found
    assert (found.version, found.torch, found.accelerator) == ("1.0", "registry", "cpu")
    assert found.details["torch"] == "9.9"
    assert found.python.exists()
    assert found.interpreter.startswith(MINOR)
    assert "tinytrainer" in (found.home / "install.log").read_text()
    again, said = install()
    assert (again, said) == (found, "")
    assert environments.verify("tiny", report=lambda line: None)["torch"] == "9.9"
    assert environments.remove("tiny", report=lambda line: None)
    assert not found.home.exists()
    assert environments.installed("tiny") is None
    assert not environments.remove("tiny")


def test_new_pins_make_it_anew(engine):
    install()
    engine.pins("2.0")
    found, said = install()
    assert "Installing Tiny" in said
    listed = subprocess.run(
        [found.python, "-c", "from importlib.metadata import version; print(version('tinytrainer'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.strip() == "2.0"


KILLED = """
import os, signal, sys
sys.path[:0] = {path!r}
from trainer_core import environments
def report(line):
    if line.startswith("Checking"):
        os.kill(os.getpid(), signal.SIGKILL)
environments.install("tiny", "cpu", report=report)
"""


def test_a_killed_installation_is_noticed_and_mended(engine):
    script = KILLED.format(path=[str(REPOSITORY), str(engine.folder)])
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -9
    assert (environments.engine_home("tiny") / "venv").is_dir()
    assert environments.installed("tiny") is None
    found, said = install()
    assert "interrupted" in said
    assert environments.installed("tiny") == found


def test_two_at_the_same_time_make_one(engine):
    script = (
        f"import sys; sys.path[:0] = {[str(REPOSITORY), str(engine.folder)]!r}\nfrom trainer_core import environments\n"
    )
    script += "environments.install('tiny', 'cpu')\n"
    both = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = "".join(process.communicate()[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said.count("Installing Tiny") == 1


def test_a_broken_import_is_one_sentence_and_leaves_nothing(engine):
    engine.table(imports=("tinytrainer", "missing_part"))
    with pytest.raises(InstallError) as caught:
        install()
    assert "Tiny could not be installed" in caught.value.message
    assert "missing_part" in caught.value.message
    assert "Traceback" not in str(caught.value)
    log = Path(caught.value.hint.rsplit(" ", 1)[-1])
    assert "Traceback" in log.read_text()
    assert environments.installed("tiny") is None
    assert not (log.parent / "venv").exists()


def test_a_changed_file_is_refused_by_its_hash(engine):
    target = next(engine.package.glob("tinytrainer-*.whl"))
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("extra.py", "")
    with pytest.raises(InstallError, match=r"(?i)hash"):
        install()


def test_a_build_that_cannot_be_had_gives_way_to_the_next_one_aloud(engine):
    row = '[[environment.torch]]\nkind = "cpu"\nbuild = "cpu"\npins = { torch = "0.0.1" }\n'
    engine.table(torch=row + ROW)
    found, said = install()
    assert found.torch == "registry"
    assert "torch for cpu cannot be used here" in said
    assert install()[1] == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"disk_gib": 1e9}, "GiB are free"),
        ({"torch": ROW.replace("cpu", "rocm")}, "no build of torch for cpu"),
    ],
    ids=["disk", "device"],
)
def test_what_is_refused_is_refused_before_anything_is_made(engine, change, message):
    engine.table(**change)
    with pytest.raises(InstallError, match=message):
        install()
    assert not (environments.engine_home("tiny") / "venv").exists()


def test_a_failure_before_anything_is_fetched_keeps_what_works(engine):
    found, _ = install()
    engine.table(disk_gib=1e9)
    engine.pins("2.0")
    with pytest.raises(InstallError):
        install()
    assert environments.installed("tiny") == found


def test_python_is_chosen_when_named(engine):
    with pytest.raises(InstallError, match=r"Python 3\.1"):
        install(python="3.1")


def test_an_unknown_engine_is_named_with_those_there_are(engine):
    with pytest.raises(InstallError) as caught:
        environments.install("nothing")
    assert "kohya" in caught.value.hint


# --- engines that are run from their sources ---


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def sources(tmp_path):
    """(folder with a repository whose last commit is not the pinned one, the pinned upstream table)."""
    folder = tmp_path / "upstream"
    (folder / "library").mkdir(parents=True)
    (folder / "windows").mkdir()
    (folder / "library" / "__init__.py").write_text("")
    (folder / "train.py").write_text("print('trains')\n")
    (folder / "windows" / "large.dll").write_text("x" * 100)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one")
    commit = git(folder, "rev-parse", "HEAD")
    pinned = upstream.digest(folder)
    (folder / "train.py").write_text("print('trains otherwise')\n")
    git(folder, "commit", "--quiet", "-am", "two")
    table = {
        "name": "Tiny",
        "repository": "https://upstream.invalid/tiny",
        "commit": commit,
        "digest": pinned,
        "exclude": ["windows"],
        "optional": ["data"],
    }
    return folder, table


@pytest.mark.parametrize("form", ["checkout", "bare", "address"])
def test_the_pinned_commit_is_taken_whatever_the_source_stands_at(sources, tmp_path, form):
    folder, table = sources
    if form != "checkout":
        subprocess.run(["git", "clone", "--quiet", "--bare", folder, tmp_path / "bare"], check=True)
    source = {"checkout": str(folder), "bare": str(tmp_path / "bare"), "address": (tmp_path / "bare").as_uri()}[form]
    assert upstream.reachable(table, source)
    upstream.fetch(table, tmp_path / "taken", source, report=lambda line: None)
    assert (tmp_path / "taken" / "train.py").read_text() == "print('trains')\n"
    assert not (tmp_path / "taken" / "windows").exists()
    assert not list(tmp_path.glob(".source-*"))


def test_a_plain_folder_is_taken_when_its_files_are_the_pinned_ones(sources, tmp_path):
    folder, table = sources
    subprocess.run(["git", "-C", folder, "checkout", "--quiet", table["commit"]], check=True)
    (folder / ".git").rename(tmp_path / "elsewhere")
    upstream.fetch(table, tmp_path / "taken", str(folder), report=lambda line: None)
    (folder / "train.py").write_text("print('changed')\n")
    with pytest.raises(InstallError, match="differ from the pinned"):
        upstream.fetch(table, tmp_path / "taken-2", str(folder), report=lambda line: None)


def test_a_source_without_the_commit_or_the_network_is_a_sentence(sources, tmp_path):
    folder, table = sources
    with pytest.raises(InstallError, match="does not hold commit 0000000"):
        upstream.fetch({**table, "commit": "0" * 40}, tmp_path / "taken", str(folder))
    with pytest.raises(InstallError, match="cannot be reached"):
        upstream.fetch(table, tmp_path / "taken")
    assert not upstream.reachable(table)
    assert not (tmp_path / "taken").exists()


def test_changed_sources_are_noticed(engine, sources):
    folder, table = sources
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in table.items() if name != "name")
    engine.table(upstream=lines, imports=("tinytrainer", "library"))
    found, _ = install(source=str(folder))
    assert found.source is not None
    assert found.origin == str(folder)
    environments.verify("tiny", report=lambda line: None)
    (found.source / "train.py").write_text("print('my own')\n")
    with pytest.raises(InstallError, match="were changed"):
        environments.verify("tiny", report=lambda line: None)


def test_children_get_nothing_that_breaks_another_python():
    noisy = {
        "PATH": "/bin", "HOME": "/h", "LD_LIBRARY_PATH": "/usr/lib64-nvidia", "SSL_CERT_FILE": "/c", "HF_TOKEN": "t",
        "UV_SYSTEM_PYTHON": "true", "UV_CONSTRAINT": "/gone", "PIP_TARGET": "/x", "PYTHONPATH": "/x", "PYTHONHOME": "/x",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline", "VIRTUAL_ENV": "/v",
    }  # fmt: skip
    kept = environments.child_environment({"EXTRA": "1"}, base=noisy)
    assert kept == {
        "PATH": "/bin",
        "HOME": "/h",
        "LD_LIBRARY_PATH": "/usr/lib64-nvidia",
        "SSL_CERT_FILE": "/c",
        "HF_TOKEN": "t",
        "EXTRA": "1",
    }


def test_uv_keeps_a_person_s_mirror_but_no_machine_s_whim(monkeypatch):
    for name, value in {"UV_DEFAULT_INDEX": "mirror", "UV_SYSTEM_PYTHON": "true", "UV_CONSTRAINT": "/gone"}.items():
        monkeypatch.setenv(name, value)
    for given in (uv.uv_environment(), uv.kept_settings()):
        assert given["UV_DEFAULT_INDEX"] == "mirror"
        assert not {"UV_SYSTEM_PYTHON", "UV_CONSTRAINT"} & set(given)


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (
            "Resolved 3\nerror: Failed to fetch: `x`\n  cause: error sending\n  cause: dns error\n",
            "Failed to fetch: `x`; dns error",
        ),
        (
            "error: Request failed after 3 retries in 9.5s\n  cause: Failed to fetch: `x`\n  cause: dns error\n",
            "Failed to fetch: `x`; dns error",
        ),
        ("error: only this\n", "only this"),
        ("  x No solution\n", "x No solution"),
        ("", "no output"),
    ],
)
def test_the_decisive_line(output, line):
    assert uv.decisive_line(output) == line


@pytest.mark.parametrize("engine_id", engine_table.installable())
def test_the_tables_of_easel_s_own_engines_are_whole(engine_id):
    table = engine_table.read(engine_id)
    for variant in table.variants:
        assert variant.lock.is_file()
        assert variant.torch_lock.is_file()
        assert {row["kind"] for row in variant.torch} >= {"cuda", "cpu"}
        assert all(row["build"] == "registry" or "torch" in row["pins"] for row in variant.torch)
    if table.has_source:
        assert len(table.commit) == 40
        assert len(table.upstream["digest"]) == 64

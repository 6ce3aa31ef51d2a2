"""Environments are created by real uv, in temporary folders, for a tiny engine from an outside package."""

import dataclasses
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import tiny_engine
from tests.support.tiny_engine import KILLED, MINOR, REPOSITORY, ROW, packages_of
from trainer_core.engines import manifest
from trainer_core.engines.manifest import Upstream
from trainer_core.errors import InstallError
from trainer_core.install import build, environments, trials, upstream, uv

engine = tiny_engine.engine


def install(**options):
    said = []
    found = environments.install("tiny", "cpu", report=said.append, **options)
    return found, "\n".join(said)


def test_an_engine_is_installed_once_and_found_afterwards(engine):
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


def test_an_engine_that_is_linked_as_in_a_container_is_not_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    baked = tmp_path / "image" / "tiny"
    baked.mkdir(parents=True)
    link = environments.engine_home("tiny")
    link.parent.mkdir(parents=True)
    link.symlink_to(baked)
    with pytest.raises(InstallError, match="is a link to"):
        environments.remove("tiny")
    assert link.is_symlink()
    assert baked.is_dir()


def test_a_second_installation_tries_the_optimizers_that_the_first_skipped(engine):
    table = engine.package / "backend.toml"
    table.write_text(table.read_text() + '\n[optimizers]\nAdamW = "adamw"\n')
    (engine.package / "try_optimizers.py").write_text("def builder(path): ...\n")
    found, said = install(tried=False)
    assert "optimizers" not in said
    assert not trials.are_complete(found, manifest.read("tiny"))
    _, said = install()
    assert "Trying the optimizers of Tiny on this machine." in said
    assert trials.are_complete(found, manifest.read("tiny"))
    assert install() == (found, "")


def test_the_packages_that_training_imports_are_compiled(engine):
    found, _ = install()
    table = manifest.read("tiny")
    package = next(found.home.glob("venv/lib/python*/site-packages/torch"))
    (package / "later.py").write_text("layers = 1\n")
    assert build.compile_modules(found.home, table, table.environment[0]) == ""
    assert list(package.glob("__pycache__/later.*.pyc"))


def test_new_pins_cause_a_new_installation(engine):
    install()
    engine.pins("2.0")
    found, said = install()
    assert "Installing Tiny" in said
    assert packages_of(found) == "2.0"


def test_a_killed_installation_is_detected_and_repeated(engine):
    script = KILLED.format(path=[str(REPOSITORY), str(engine.folder)])
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -9
    assert (environments.engine_home("tiny") / "venv").is_dir()
    assert environments.installed("tiny") is None
    found, said = install()
    assert "interrupted" in said
    assert environments.installed("tiny") == found


def test_two_installations_at_the_same_time_install_once(engine):
    script = f"import sys; sys.path[:0] = {[str(REPOSITORY), str(engine.folder)]!r}\nfrom trainer_core.install import environments\n"
    script += "environments.install('tiny', 'cpu')\n"
    both = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = "".join(process.communicate()[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said.count("Installing Tiny") == 1


def test_a_broken_import_gives_a_short_message_and_leaves_nothing(engine):
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


def test_the_next_torch_build_is_used_and_reported_when_one_is_unavailable(engine):
    row = '[[environment.torch]]\nkind = "cpu"\nbuild = "cpu"\npins = { torch = "0.0.1" }\n'
    engine.table(torch=row + ROW)
    found, said = install()
    assert found.torch == "registry"
    assert "torch for cpu cannot be used here" in said
    assert install()[1] == ""


def test_an_installation_for_hardware_that_easel_was_not_run_on_says_so(engine):
    engine.table(torch=ROW.replace("cpu", "mps"))
    said = []
    assert environments.install("tiny", "mps", report=said.append, tried=False).accelerator == "mps"
    assert "Apple GPUs are experimental: Easel was not run on one yet." in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"disk_gib": 1e9}, "GiB are free"),
        ({"torch": ROW.replace("cpu", "rocm")}, "no build of torch for cpu"),
    ],
    ids=["disk", "device"],
)
def test_an_impossible_installation_is_refused_before_anything_is_created(engine, change, message):
    engine.table(**change)
    with pytest.raises(InstallError, match=message):
        install()
    assert not (environments.engine_home("tiny") / "venv").exists()


def test_a_failure_before_the_download_keeps_the_working_installation(engine):
    found, _ = install()
    engine.table(disk_gib=1e9)
    engine.pins("2.0")
    with pytest.raises(InstallError):
        install()
    assert environments.installed("tiny") == found


def test_only_the_given_python_is_used(engine):
    with pytest.raises(InstallError, match=r"Python 3\.1"):
        install(python="3.1")


def test_an_unknown_engine_is_refused_with_a_list_of_the_known_ones(engine):
    with pytest.raises(InstallError) as caught:
        environments.install("nothing")
    assert "kohya" in caught.value.hint


# --- engines that run from source ---


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def sources(tmp_path):
    """(folder with a repository whose last commit is not the pinned one, the table of the pinned upstream)."""
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
    table = Upstream("Tiny", "https://upstream.invalid/tiny", commit, pinned, exclude=("windows",), optional=("data",))
    return folder, table


@pytest.mark.parametrize("form", ["checkout", "bare", "address"])
def test_the_pinned_commit_is_taken_whatever_the_source_has_checked_out(sources, tmp_path, form):
    folder, table = sources
    if form != "checkout":
        subprocess.run(["git", "clone", "--quiet", "--bare", folder, tmp_path / "bare"], check=True)
    source = {"checkout": str(folder), "bare": str(tmp_path / "bare"), "address": (tmp_path / "bare").as_uri()}[form]
    assert upstream.reachable(table, source)
    upstream.fetch(table, tmp_path / "taken", source, report=lambda line: None)
    assert (tmp_path / "taken" / "train.py").read_text() == "print('trains')\n"
    assert not (tmp_path / "taken" / "windows").exists()
    assert not list(tmp_path.glob(".source-*"))


def test_a_plain_folder_is_used_when_its_files_are_the_pinned_ones(sources, tmp_path):
    folder, table = sources
    subprocess.run(["git", "-C", folder, "checkout", "--quiet", table.commit], check=True)
    (folder / ".git").rename(tmp_path / "elsewhere")
    upstream.fetch(table, tmp_path / "taken", str(folder), report=lambda line: None)
    (folder / "train.py").write_text("print('changed')\n")
    with pytest.raises(InstallError, match="differ from the pinned"):
        upstream.fetch(table, tmp_path / "taken-2", str(folder), report=lambda line: None)


def test_a_source_without_the_commit_and_an_unreachable_one_are_refused(sources, tmp_path):
    folder, table = sources
    with pytest.raises(InstallError, match="does not contain commit 0000000"):
        upstream.fetch(dataclasses.replace(table, commit="0" * 40), tmp_path / "taken", str(folder))
    with pytest.raises(InstallError, match="cannot be reached"):
        upstream.fetch(table, tmp_path / "taken")
    assert not upstream.reachable(table)
    assert not (tmp_path / "taken").exists()


def test_changed_sources_are_detected(engine, sources):
    folder, table = sources
    lines = "\n".join(
        f"{name} = {json.dumps(value)}" for name, value in dataclasses.asdict(table).items() if value and name != "name"
    )
    engine.table(upstream=lines, imports=("tinytrainer", "library"))
    found, _ = install(source=str(folder))
    assert found.source is not None
    assert found.origin == str(folder)
    environments.verify("tiny", report=lambda line: None)
    (found.source / "train.py").write_text("print('my own')\n")
    with pytest.raises(InstallError, match="were changed"):
        environments.verify("tiny", report=lambda line: None)


def test_child_processes_get_no_variable_that_breaks_another_python():
    noisy = {
        "PATH": "/bin", "HOME": "/h", "LD_LIBRARY_PATH": "/usr/lib64-nvidia", "SSL_CERT_FILE": "/c",
        "UV_SYSTEM_PYTHON": "true", "UV_CONSTRAINT": "/gone", "PIP_TARGET": "/x", "PYTHONPATH": "/x", "PYTHONHOME": "/x",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline", "VIRTUAL_ENV": "/v",
    }  # fmt: skip
    kept = environments.child_environment({"EXTRA": "1"}, base=noisy)
    assert kept == {
        "PATH": "/bin",
        "HOME": "/h",
        "LD_LIBRARY_PATH": "/usr/lib64-nvidia",
        "SSL_CERT_FILE": "/c",
        "EXTRA": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    assert environments.child_environment(base={"ORT_DISABLE_TELEMETRY": "0"})["ORT_DISABLE_TELEMETRY"] == "0"


def test_uv_gets_the_mirror_of_the_user_but_no_setting_of_the_machine(monkeypatch):
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
def test_the_decisive_line_of_an_output(output, line):
    assert uv.decisive_line(output) == line


@pytest.mark.parametrize("engine_id", manifest.installable())
def test_the_tables_of_the_engines_that_easel_ships_are_complete(engine_id):
    table = manifest.read(engine_id)
    for variant in table.environment:
        assert variant.lock.is_file()
        assert variant.torch_lock.is_file()
        assert {row.kind for row in variant.torch} >= {"cuda", "cpu"}
        assert all(row.build == "registry" or "torch" in row.pins for row in variant.torch)
    if table.has_source:
        assert len(table.commit) == 40
        assert len(table.upstream.digest) == 64

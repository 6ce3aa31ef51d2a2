"""A machine without a connection: a bundle is made from a package index on loopback, and installed where no server is asked."""

import hashlib
import io
import json
import shutil
import tarfile

import pytest

from tests.support import package_index, tiny_bundle, tiny_engine
from trainer_core.errors import InstallError
from trainer_core.install import bundling, environments, from_bundle, upstream, uv, wheelhouse

engine = tiny_engine.engine
BACKEND = """
import os, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(os.path.join(folder, "fromsource-1.0-py3-none-any.whl"), "w") as archive:
        import maker
        archive.writestr("fromsource.py", "made = %d\\n" % maker.made)
        about = "fromsource-1.0.dist-info"
        archive.writestr(about + "/METADATA", "Metadata-Version: 2.1\\nName: fromsource\\nVersion: 1.0\\n")
        archive.writestr(about + "/WHEEL", "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(about + "/RECORD", "")
    return "fromsource-1.0-py3-none-any.whl"
"""
PROJECT = '[build-system]\nrequires = ["maker"]\nbuild-backend = "backend"\nbackend-path = ["."]\n[project]\nname = "fromsource"\nversion = "1.0"\n'


def source_package(folder):
    """A requirement line for a package that is published as sources only, and needs `maker` to be built."""
    path = folder / "fromsource-1.0.tar.gz"
    about = "Metadata-Version: 2.1\nName: fromsource\nVersion: 1.0\n"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {"pyproject.toml": PROJECT, "backend.py": BACKEND, "PKG-INFO": about}.items():
            member = tarfile.TarInfo(f"fromsource-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return f"fromsource==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """What `use` sets for the rest of the program, and what this machine may have set, is gone before and after each test."""
    for name in ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_FIND_LINKS", "UV_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def online(engine, tmp_path, monkeypatch):
    """The tiny engine with sources of its own and a package that must be built, and an index that has all of it."""
    tree = tmp_path / "upstream"
    (tree / "library").mkdir(parents=True)
    (tree / "library/__init__.py").write_text("")
    engine.table(
        upstream=f'repository = "https://upstream.invalid/tiny"\ncommit = "{"0" * 40}"\ndigest = "{upstream.digest(tree)}"',
        imports=("tinytrainer", "library", "fromsource"),
    )
    engine.as_pinned()
    tiny_engine.wheel(engine.package, "maker", "1.0", {"maker.py": "made = 1\n"})
    pins = engine.package / "tiny.txt"
    pins.write_text(pins.read_text() + source_package(engine.package))
    with package_index.serving(engine.package, "secret") as index:
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{index.address}/simple/")
        yield tree


@pytest.fixture
def packed_uv(tmp_path, monkeypatch):
    """A wheel of uv that is the pinned one."""
    return tiny_bundle.pinned_uv(tmp_path / "pinned", monkeypatch)


def bundle_of(engine, tree, folder):
    """A bundle of only the engine: Easel's own 130 packages are in `test_installer`."""
    folder.mkdir(exist_ok=True)
    making = bundling._Bundle(folder, uv.ensure_uv(), lambda _: None, bundling.prepare(folder))
    table = bundling.manifest.read("tiny")
    about = bundling._add_engine(making, table, bundling.hardware.chosen("cpu"), str(tree))
    bundling.write_record(folder, tiny_engine.MINOR, {"tiny": about})


def add_uv(folder, wheel):
    """Completes a bundle of only an engine; `make` fetches uv like the packages of Easel."""
    shutil.copy(wheel, folder / "wheels")
    record = json.loads((folder / "bundle.json").read_text())
    bundling.write_record(folder, record["python"], record["engines"])


def cut_off(monkeypatch, tmp_path):
    """No server, no cache: what the other machine has."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple/")
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "other home"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def test_an_engine_is_installed_from_a_bundle_without_a_server(engine, online, packed_uv, tmp_path, monkeypatch):
    folder = tmp_path / "the bundle"
    bundle_of(engine, online, folder)
    names = {file.name for file in (folder / "wheels").iterdir()}
    assert names == {
        "tinytrainer-1.0-py3-none-any.whl",
        "torch-9.9-py3-none-any.whl",
        "fromsource-1.0.tar.gz",
        "maker-1.0-py3-none-any.whl",
    }
    assert "secret" not in (folder / "bundle.json").read_text()
    add_uv(folder, packed_uv)
    cut_off(monkeypatch, tmp_path)
    shutil.rmtree(online)
    found = from_bundle.use(folder, lambda _: None)
    assert (found.python, found.engines["tiny"]["torch"]) == (tiny_engine.MINOR, "registry")
    installed = environments.install(
        "tiny", "cpu", found.source("tiny"), lambda _: None, found.engines["tiny"]["python"], torch="registry"
    )
    assert installed.origin == str(folder / "sources/tiny.tar.gz")
    assert environments.verify("tiny", lambda _: None)["torch"] == "9.9"


def test_a_bundle_is_continued_and_made_in_no_folder_with_other_files(engine, online, tmp_path):
    folder = tmp_path / "bundle"
    bundle_of(engine, online, folder)
    first = {file.name: file.stat().st_mtime_ns for file in (folder / "wheels").iterdir()}
    (folder / "wheels/maker-1.0-py3-none-any.whl").write_text("cut off")
    bundle_of(engine, online, folder)
    again = {file.name: file.stat().st_mtime_ns for file in (folder / "wheels").iterdir()}
    assert [name for name in first if again[name] != first[name]] == ["maker-1.0-py3-none-any.whl"]
    (folder / "mine.txt").touch()
    with pytest.raises(InstallError, match=r"has other files: mine\.txt"):
        bundling.make(folder, [])


def test_a_build_of_torch_that_the_bundle_has_and_the_machine_cannot_use_is_named(engine, online, tmp_path):
    with pytest.raises(InstallError, match="cannot use torch for cu126 here"):
        environments.install("tiny", "cpu", str(online), lambda _: None, torch="cu126")
    assert environments.installed("tiny") is None


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["a-1-py3-none-any.whl", "a-1-cp310-abi3-manylinux_2_17_x86_64.whl"], 1),
        (["a-1-cp312-cp312-manylinux_2_17_x86_64.whl", "a-1-cp310-abi3-manylinux_2_17_x86_64.whl"], 0),
        (["a-1-cp312-cp312-linux_x86_64.whl", "a-1-3-cp312-cp312-linux_x86_64.whl"], 1),
        (["a-1.tar.gz", "a-1-py3-none-any.whl"], 1),
    ],
)
def test_of_several_files_the_one_for_this_machine_is_taken(names, best):
    files = [wheelhouse.File(name, "", "", 0) for name in names]
    assert max(files, key=wheelhouse._rank) is files[best]

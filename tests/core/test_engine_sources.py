"""The source code of an engine from an archive or a folder that somebody else made: only what was pinned is taken, within limits."""

import io
import os
import subprocess
import sys
import tarfile
import tracemalloc

import pytest

from trainer_core.engines.manifest import Upstream
from trainer_core.errors import InstallError
from trainer_core.install import unpacking, upstream


@pytest.fixture
def tree(tmp_path):
    """A folder with the pinned files."""
    folder = tmp_path / "tree"
    (folder / "library").mkdir(parents=True)
    (folder / "library" / "__init__.py").write_text("")
    (folder / "library" / "train_util.py").write_text("print('the pinned file')\n")
    (folder / "README.md").write_text("words\n")
    return folder


@pytest.fixture
def table(tree):
    return Upstream("Tiny", "https://upstream.invalid/tiny", "1" * 40, upstream.digest(tree), exclude=("windows",))


def packed(tree, file):
    with tarfile.open(file, "w:gz") as archive:
        archive.add(tree, ".")
    return str(file)


def taken(table, source, tmp_path):
    upstream.fetch(table, tmp_path / "taken", source, report=lambda line: None)


@pytest.mark.parametrize(
    "name",
    [
        f"library/train_util.cpython-{sys.version_info[0]}{sys.version_info[1]}-x86_64-linux-gnu.so",
        "library/train_util.abi3.so",
        "library/train_util.pyd",
        "torch.pyc",
        "library/train_util/__init__.pyc",
        "library/__pycache__/train_util.cpython-311.pyc",
        "sitecustomize.so",
        "sitecustomize/data.txt",
        "x.pth",
        "libcuda.so.1",
        "torch-9.9.dist-info/METADATA",
        "library/OTHER.PY",
        "configs/tool.EXE",
    ],
)
def test_a_file_that_python_would_take_instead_of_a_pinned_one_is_refused_by_its_name(tree, table, tmp_path, name):
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_bytes(b"anything")
    with pytest.raises(InstallError, match="in place of the pinned ones") as caught:
        taken(table, packed(tree, tmp_path / "source.tar.gz"), tmp_path)
    shown = next(part for part in (name, *name.split("/")) if part in str(caught.value))
    assert shown
    assert not (tmp_path / "taken").exists()


def test_compiled_code_is_refused_under_any_name(tree, table, tmp_path):
    (tree / "library" / "notes.md").write_bytes(b"\x7fELF\x02\x01")
    with pytest.raises(InstallError, match=r"library/notes\.md"):
        taken(table, packed(tree, tmp_path / "source.tar.gz"), tmp_path)


def test_what_python_compiled_itself_does_not_spoil_a_source(tree, table, tmp_path):
    """An engine that has run is a source of a bundle, and can be checked."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", tree], check=True)
    assert upstream.in_place_of_pinned(tree, caches=True) == []
    assert upstream.in_place_of_pinned(tree) == ["library/__pycache__"]
    taken(table, str(tree), tmp_path)
    assert upstream.in_place_of_pinned(tmp_path / "taken") == []


def test_what_is_excluded_is_left_out_of_an_archive(tree, table, tmp_path):
    (tree / "windows").mkdir()
    (tree / "windows" / "large.dll").write_bytes(b"x")
    taken(table, packed(tree, tmp_path / "source.tar.gz"), tmp_path)
    assert not (tmp_path / "taken" / "windows").exists()


def bomb(file, entry, size):
    """An archive with one entry of so many zeros, which is made without them in memory."""
    import gzip

    with gzip.open(file, "wb", compresslevel=1) as packed:
        entry.size = size
        packed.write(entry.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(size >> 20):
            packed.write(bytes(1 << 20))
        packed.write(bytes(1024))
    return str(file)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.DIRTYPE])
def test_a_small_archive_with_a_large_entry_costs_no_memory_and_no_disk(table, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(unpacking, "MOST_FILE_BYTES", 4 << 20)
    monkeypatch.setattr(unpacking, "MOST_BYTES", 8 << 20)
    entry = tarfile.TarInfo("large.bin")
    entry.type = kind
    source = bomb(tmp_path / "source.tar.gz", entry, 24 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(InstallError):
            taken(table, source, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert not list(tmp_path.glob(".source-*"))


def test_many_files_and_files_that_are_large_together_are_refused(table, tmp_path, monkeypatch):
    def archive(number, size):
        with tarfile.open(tmp_path / "source.tar", "w") as packed:
            for index in range(number):
                entry = tarfile.TarInfo(f"{index}.bin")
                entry.size = size
                packed.addfile(entry, io.BytesIO(bytes(size)))
        return str(tmp_path / "source.tar")

    monkeypatch.setattr(unpacking, "MOST_BYTES", 1 << 20)
    with pytest.raises(InstallError, match="unpacks to more than 1 MB"):
        taken(table, archive(3, 500_000), tmp_path)
    monkeypatch.setattr(unpacking, "MOST_FILES", 10)
    with pytest.raises(InstallError, match="more than 10 entries"):
        taken(table, archive(11, 1), tmp_path)


@pytest.mark.parametrize("kind", ["a link to nowhere", "a link to itself", "a folder like a module", "a pipe"])
def test_a_folder_that_cannot_be_copied_is_refused_in_a_sentence(table, tmp_path, kind):
    folder = tmp_path / "source"
    folder.mkdir()
    {
        "a link to nowhere": lambda: (folder / "x").symlink_to("/nowhere"),
        "a link to itself": lambda: (folder / "x").symlink_to(folder),
        "a folder like a module": (folder / "x.py").mkdir,
        "a pipe": lambda: os.mkfifo(folder / "x"),
    }[kind]()
    with pytest.raises(InstallError, match=r"The sources from .* cannot be used: "):
        taken(table, str(folder), tmp_path)
    assert not list(tmp_path.glob(".source-*"))


def test_an_archive_with_a_name_that_is_no_text_is_refused_in_a_sentence(table, tmp_path):
    with tarfile.open(tmp_path / "source.tar", "w") as packed:
        packed.addfile(tarfile.TarInfo("a\udcff.py"), io.BytesIO())
    with pytest.raises(InstallError, match=r"The sources from .* cannot be used: "):
        taken(table, str(tmp_path / "source.tar"), tmp_path)


def test_an_address_is_no_option_of_git(table, tmp_path, monkeypatch):
    """In the folder of a repository git would ask its own remote, with this program."""
    for words in (
        ["init", "-q", "--bare", "there"],
        ["init", "-q", "here"],
        ["-C", "here", "remote", "add", "origin", "../there"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InstallError):
        taken(table, f"--upload-pack=touch {tmp_path}/ran;", tmp_path)
    assert not (tmp_path / "ran").exists()


def test_the_password_of_an_address_is_in_no_error_about_its_files(table, tmp_path):
    """An address from which an archive came that is none."""
    (tmp_path / "answer").write_bytes(b"none")
    with pytest.raises(InstallError) as refused:
        upstream._unpack(table, tmp_path / "answer", "https://mika:hush@mirror.example.org/a", tmp_path)
    assert "mirror.example.org" in str(refused.value)
    assert "hush" not in str(refused.value)

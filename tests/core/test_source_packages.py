"""What source packages are built with: read from archives of a registry, of each kind, whole and hostile."""

import io
import tarfile
import zipfile

import pytest

from trainer_core.errors import InstallError
from trainer_core.install import wheelhouse

PROJECT = '[build-system]\nrequires = ["hatchling>=1.2", "wheel"]\n'


def as_tar(path, name, text):
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(text.encode())
        archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def as_zip(path, name, text):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return path


@pytest.mark.parametrize(("pack", "name"), [(as_tar, "a-1.tar.gz"), (as_zip, "a-1.zip")])
def test_tars_and_zips_say_what_builds_them(tmp_path, pack, name):
    with_one = pack(tmp_path / name, "a-1/pyproject.toml", PROJECT)
    without = pack(tmp_path / f"b-{name}", "b-1/src/pyproject.toml", PROJECT)
    assert wheelhouse.build_requirements([with_one]) == ["hatchling>=1.2", "wheel"]
    assert wheelhouse.build_requirements([without]) == ["setuptools>=40.8.0"]


@pytest.mark.parametrize(
    "text",
    [
        '[build-system]\nrequires = ["a\\n--index-url https://evil.example.org"]',
        '[build-system]\nrequires = ["--index-url https://evil.example.org"]',
        '[build-system]\nrequires = "setuptools"',
        "[build-system]\nrequires = [1]",
        "build-system = 1",
        "a = " + "[" * 100_000,
        "no toml",
        "# " + "x" * (1 << 20),
    ],
)
@pytest.mark.parametrize(("pack", "name"), [(as_tar, "a-1.tar.gz"), (as_zip, "a-1.zip")])
def test_what_is_no_requirement_is_refused_in_a_sentence(tmp_path, pack, name, text):
    source = pack(tmp_path / name, "a-1/pyproject.toml", text)
    with pytest.raises(InstallError, match=f"The source package {name} cannot be read"):
        wheelhouse.build_requirements([source])


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut", b"\x1f\x8b\x08 cut"])
def test_what_is_no_archive_is_refused_in_a_sentence(tmp_path, content):
    (tmp_path / "a-1.zip").write_bytes(content)
    with pytest.raises(InstallError, match=r"a-1\.zip cannot be read"):
        wheelhouse.build_requirements([tmp_path / "a-1.zip"])

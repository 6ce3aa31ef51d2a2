"""A tar of anybody, as both rooms that unpack one read it."""

import tarfile

import pytest

from trainer_core.curation import tars
from trainer_core.curation.unpacking import ON, USUAL
from trainer_core.errors import DatasetError
from trainer_core.install import unpacking


def header(name, size, kind=tarfile.REGTYPE):
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.USTAR_FORMAT)


def padded(content):
    return content + bytes(-len(content) % 512)


def extended(**values):
    """An extended header of the next entry."""
    record = b""
    for key, value in values.items():
        line = f" {key.replace('__', '.')}={value}\n"
        record += f"{next(n for n in range(99) if len(f'{n}{line}') == n)}{line}".encode()
    return header("about", len(record), tarfile.XHDTYPE) + padded(record)


def as_source(archive, folder):
    folder.mkdir()
    unpacking.unpack(archive, folder)


def as_dataset(archive, folder):
    tars.unpack(archive, folder, USUAL, ON)


@pytest.mark.parametrize(("unpacked", "error"), [(as_source, unpacking.UnpackingError), (as_dataset, DatasetError)])
@pytest.mark.parametrize("one", [extended(path="a"), header("name", 3, tarfile.GNUTYPE_LONGNAME) + padded(b"abc")])
def test_headers_that_describe_each_other_are_refused_in_a_sentence(tmp_path, unpacked, error, one):
    (tmp_path / "deep.tar").write_bytes(one * 2000 + header("a.png", 1) + padded(b"x"))
    with pytest.raises(error, match="too many headers for one entry"):
        unpacked(tmp_path / "deep.tar", tmp_path / "out")


@pytest.mark.parametrize("unpacked", [as_source, as_dataset])
def test_a_file_with_holes_does_not_fill_the_disk(tmp_path, unpacked):
    about = extended(
        GNU__sparse__major=1, GNU__sparse__minor=0, GNU__sparse__name="a.png", GNU__sparse__realsize=90 << 20
    )
    (tmp_path / "holes.tar").write_bytes(about + header("a.png", 512) + padded(f"1\n{90 << 20}\n0\n".encode()))
    unpacked(tmp_path / "holes.tar", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())

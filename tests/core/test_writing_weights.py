"""Copying tensors from file to file, byte for byte, with the cache of the system and past it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainer_core.errors import WeightsError
from trainer_core.weights import writing
from trainer_core.weights.places import Place


@pytest.mark.parametrize("past_the_cache", [True, False])
@pytest.mark.parametrize("size", [1, 4096, writing.LEAST_DIRECT + writing.BLOCK, 3 * writing.DIRECT_BYTES + 17])
def test_bytes_of_other_files_arrive_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, past_the_cache: bool
) -> None:
    if not past_the_cache:
        monkeypatch.setattr(writing, "_direct", lambda *_: None)
    content, heard = os.urandom(size + 5), []
    (tmp_path / "old").write_bytes(content)
    sink = writing.File(tmp_path / "new")
    try:
        for _ in range(2):
            sink.write(memoryview(b"some bytes"))
            sink.copy(Place(tmp_path / "old", 5, size), heard.append)
        sink.finish()
    finally:
        sink.close()
    assert (tmp_path / "new").read_bytes() == (b"some bytes" + content[5:]) * 2
    assert sum(heard) == 2 * size
    assert sorted(each.name for each in tmp_path.iterdir()) == ["new", "old"]


def test_a_source_that_is_too_short_is_said(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(bytes(1 << 20))
    sink = writing.File(tmp_path / "new")
    try:
        with pytest.raises(WeightsError, match="old is cut short"):
            sink.copy(Place(tmp_path / "old", 0, 2 << 20), lambda _: None)
    finally:
        sink.close()
    assert [each.name for each in tmp_path.iterdir()] == ["old"]


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="this system always uses its cache")
def test_a_device_with_larger_blocks_is_written_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The device of this test has smaller blocks, so half a block is as wrong for it as ours is for one with larger blocks.
    monkeypatch.setattr(writing, "BLOCK", 1)
    content = os.urandom((1 << 20) + 3)
    (tmp_path / "old").write_bytes(content)
    sink = writing.File(tmp_path / "new")
    try:
        sink.write(memoryview(b"x"))
        sink.copy(Place(tmp_path / "old", 0, len(content)), lambda _: None)
        sink.finish()
    finally:
        sink.close()
    assert (tmp_path / "new").read_bytes() == b"x" + content

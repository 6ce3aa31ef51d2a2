"""Files are written atomically; TOML tables become dataclasses, and unknown keys are refused."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from trainer_core.errors import BackendError
from trainer_core.files import from_table, read_toml, write_whole


@dataclass(frozen=True)
class Inner:
    name: str
    least: float = 0.0


@dataclass(frozen=True)
class Outer:
    title: str
    kind: Literal["a", "b"] = "a"
    count: int | None = None
    names: tuple[str, ...] = ()
    span: tuple[float, float] = (0.0, 1.0)
    endings: frozenset[str] = frozenset()
    inner: Mapping[str, Inner] = field(default_factory=dict)
    rows: Sequence[Inner] = ()
    anything: Mapping[str, Any] = field(default_factory=dict)


def read(**table: Any) -> Outer:
    return from_table(Outer, table, "x.toml [outer]", BackendError, "See the docs.")


def test_values_are_converted_to_every_declared_type():
    found = read(
        title="t", kind="b", count=3, names=["x"], span=[1, 2], endings=[".png"],
        inner={"one": {"name": "n", "least": 2}}, rows=[{"name": "r"}], anything={"a": [1, {"b": True}]},
    )  # fmt: skip
    assert found.names == ("x",)
    assert (found.span, found.endings) == ((1.0, 2.0), frozenset({".png"}))
    assert found.inner["one"] == Inner("n", 2.0)
    assert found.rows == (Inner("r"),)
    assert found.anything == {"a": [1, {"b": True}]}


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"title": "t", "titel": "x"}, "x.toml [outer] has an unknown key: 'titel'"),
        ({}, "x.toml [outer] lacks the key 'title'"),
        ({"title": 3}, "x.toml [outer], title must be text"),
        ({"title": "t", "kind": "c"}, "must be one of 'a', 'b'"),
        ({"title": "t", "count": True}, "count must be a whole number"),
        ({"title": "t", "count": "3"}, "count must be a whole number"),
        ({"title": "t", "names": "x"}, "names must be an array"),
        ({"title": "t", "span": [1]}, "span must have 2 entries"),
        ({"title": "t", "inner": {"one": {"nam": "n"}}}, "x.toml [outer], inner.one has an unknown key: 'nam'"),
        ({"title": "t", "rows": [{"name": "r"}, {"name": 1}]}, "rows[1], name must be text"),
    ],
)  # fmt: skip
def test_an_invalid_table_is_refused_with_its_file_table_and_key(table, sentence):
    with pytest.raises(BackendError) as found:
        read(**table)
    assert sentence in found.value.message
    assert found.value.hint == "See the docs."


@dataclass(frozen=True)
class Placed:
    name: str
    folder: Path
    lock: Path = Path()


def test_the_table_must_not_contain_a_field_that_is_given_elsewhere():
    given = {"folder": Path("/somewhere")}
    found = from_table(Placed, {"name": "n", "lock": "pins"}, "x.toml", BackendError, given=given)
    assert found == Placed("n", Path("/somewhere"), Path("pins"))
    with pytest.raises(BackendError, match="an unknown key: 'folder'"):
        from_table(Placed, {"name": "n", "folder": "/other"}, "x.toml", BackendError, given=given)


def test_the_error_for_a_misspelt_key_suggests_the_correct_one():
    with pytest.raises(BackendError, match=r"'titel'\. Did you mean title\?"):
        read(titel="t")


def test_a_file_is_replaced_and_no_temporary_file_remains(tmp_path: Path):
    path = tmp_path / "new" / ("x" * 240 + ".txt")
    write_whole(path, "one\n")
    write_whole(path, b"two\n")
    assert path.read_bytes() == b"two\n"
    assert list(path.parent.iterdir()) == [path]


def test_only_its_owner_can_read_a_personal_file(tmp_path: Path):
    write_whole(tmp_path / "mine", "x", personal=True)
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o600


def test_a_durable_file_is_on_the_disk_with_its_name(tmp_path: Path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(Path(f"/proc/self/fd/{handle}").readlink()))
    write_whole(tmp_path / "a", "text")
    assert flushed == []
    write_whole(tmp_path / "a", "text", durable=True)
    assert [path.parent for path in flushed] == [tmp_path, tmp_path.parent]


def test_a_failed_write_keeps_the_older_file(tmp_path: Path, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError("the disk is full")

    path = tmp_path / "kept"
    write_whole(path, "old")
    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="full"):
            write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a = ", "is not TOML"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"a = 1\n" * 100, "is longer than"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_a_message(tmp_path: Path, content, sentence):
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BackendError, match=sentence):
        read_toml(path, BackendError, longest_bytes=100)

"""Random and mutated files of every format give a Header or a HeaderError, in little time and with little memory.

EASEL_FUZZ=10000 tries that many files in all; without it a few hundred.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import recorded_headers
from trainer_core.errors import HeaderError
from trainer_core.models import header
from trainer_core.text import printable

WEIGHTS = Path(__file__).parents[1] / "data" / "weights"
TESTS = 5
EXAMPLES = int(os.environ.get("EASEL_FUZZ", "300")) // TESTS
LONGEST_S = 3.0
MOST_BYTES = 200_000_000
"""The limit for the memory that one file may add to the process; the sizes in the files' headers are far larger."""

fuzzed = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None, print_blob=True
)


def entry(begin: int, end: int, shape: list[int], dtype: str = "F16") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def repacked(name: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    """The pickle inside an archive, and a function that replaces it: changes to the archive itself only break checksums."""
    with zipfile.ZipFile(WEIGHTS / name) as archive:
        entries = {each.filename: archive.read(each) for each in archive.infolist()}
    inside = next(each for each in entries if each.endswith("data.pkl"))

    def pack(data: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as made:
            for each, content in (entries | {inside: data}).items():
                made.writestr(each, content)
        return buffer.getvalue()

    return entries[inside], pack


def same(data: bytes) -> bytes:
    return data


TABLE = {"__metadata__": {"format": "pt"}, "a": entry(0, 4, [2]), "b": entry(4, 8, [2, 1]), "c": entry(8, 8, [0, 3])}
SEEDS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "safetensors": (recorded_headers.file_bytes(TABLE, bytes(8)), same),
    "gguf": ((WEIGHTS / "small.gguf").read_bytes()[:700], lambda data: data + bytes(1500)),
    "stream": ((WEIGHTS / "legacy.pt").read_bytes(), same),
    "archive": ((WEIGHTS / "list.pt").read_bytes(), same),
    "pickle in an archive": repacked("lightning.ckpt"),
    "embedding in an archive": repacked("ldm_embedding.pt"),
}
INTERESTING = [
    b"\0",
    b"\xff",
    b"\xff" * 4,
    b"\xff" * 8,
    b"\0" * 8,
    b"\xff\xff\xff\x7f",
    b"(",
    b")",
    b"R",
    b"t",
    b"h\x00",
    b"2",
    b"{",
    b'"',
]


def peak_bytes() -> int:
    """The peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def judged(content: bytes) -> None:
    """Reads the file: the result must be a HeaderError or a complete Header."""
    started, peak_before = time.process_time(), peak_bytes()
    try:
        found = header.read_stream("model", io.BytesIO(content), len(content))
    except HeaderError as error:
        safe(error)
        found = None
    assert time.process_time() - started < LONGEST_S
    assert peak_bytes() - peak_before < MOST_BYTES
    if found is not None:
        sound(found)


def safe(error: HeaderError) -> None:
    """Checks that the message contains no control characters and is short enough to show."""
    assert str(error) == printable(str(error), 1000)


def sound(found: header.Header) -> None:
    assert found.tensors
    for key, info in found.tensors.items():
        assert type(key) is str
        assert info.size_bytes >= 0
        assert all(type(size) is int and size >= 0 for size in info.shape)
    assert all(type(text) is str for pair in found.metadata.items() for text in pair)


@given(
    st.binary(max_size=2000),
    st.sampled_from([b"", b"GGUF\x03\0\0\0", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"{", b"<", b"\x89PNG"]),
)
@fuzzed
def test_random_bytes(content: bytes, start: bytes) -> None:
    judged(start + content)


@given(st.sampled_from(sorted(SEEDS)), st.data())
@fuzzed
def test_changed_files(name: str, data: st.DataObject) -> None:
    seed, pack = SEEDS[name]
    content = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        change = data.draw(st.sampled_from(["set", "cut", "insert", "remove", "repeat"]))
        piece = data.draw(st.sampled_from(INTERESTING) | st.binary(min_size=1, max_size=4))
        if change == "set":
            content[at : at + len(piece)] = piece
        elif change == "cut":
            del content[at + 1 :]
        elif change == "insert":
            content[at:at] = piece
        elif change == "remove":
            del content[at : at + data.draw(st.integers(1, 16))]
        else:
            content[at:at] = content[at : at + 32] * data.draw(st.integers(1, 20))
    judged(pack(bytes(content)))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=6)
    | st.binary(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=15,
)


@given(values, st.integers(2, 5), st.booleans())
@fuzzed
def test_pickles_of_other_values(value: Any, protocol: int, is_packed: bool) -> None:
    content = pickle.dumps({"state_dict": value}, protocol)
    judged(SEEDS["pickle in an archive"][1](content) if is_packed else content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
sizes = st.integers(-1, 5) | st.integers(2**60, 2**70)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F16", "F32", "F4", "F99"]) | json_values,
        "shape": st.lists(sizes, max_size=20) | json_values,
    },
    optional={"data_offsets": st.lists(sizes, min_size=2, max_size=2) | json_values},
)


@given(
    st.dictionaries(st.text(max_size=12) | st.just("__metadata__"), entries | json_values, max_size=5),
    st.binary(max_size=64),
)
@fuzzed
def test_random_tables(table: dict[str, Any], data: bytes) -> None:
    judged(recorded_headers.file_bytes(table, data))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    recorded_headers.write_file(made / "a.safetensors", {"a": ("F16", (2,))})
    (made / "broken.safetensors").write_bytes(struct.pack("<Q", 90) + b"{}")
    (made / "unet").mkdir()
    return made


names = st.sampled_from(
    ["a.safetensors", "broken.safetensors", "../a.safetensors", "unet", "missing.safetensors"]
) | st.text(max_size=8)
maps = json_values | st.dictionaries(st.text(max_size=8), names | json_values, max_size=3)


@given(
    st.dictionaries(st.sampled_from(["weight_map", "metadata", "_class_name", "unet", "a"]), maps, max_size=4),
    st.binary(max_size=3),
    st.booleans(),
)
@fuzzed
def test_random_indexes(folder: Path, table: dict[str, Any], end: bytes, is_pipeline: bool) -> None:
    index = folder / ("model_index.json" if is_pipeline else "model.safetensors.index.json")
    index.write_bytes(json.dumps(table).encode() + (end if len(end) == 3 else b""))
    try:
        found = header.read(folder if is_pipeline else index)
    except HeaderError as error:
        safe(error)
    else:
        sound(found)
    finally:
        index.unlink()

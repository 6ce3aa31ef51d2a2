"""GGUF headers: files of the reference library are read, and large counts and lengths cost no time or memory."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from trainer_core.errors import HeaderError
from trainer_core.models import header

SMALL = Path(__file__).parents[1] / "data" / "weights" / "small.gguf"
U8, U32, FLOAT, STRING, LIST, U64 = 0, 4, 6, 8, 9, 10
F16, Q4_K = 1, 12


def string(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def value(key: str, kind: int, content: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + content


def listed(kind: int, *items: bytes, count: int | None = None) -> bytes:
    return struct.pack("<IQ", kind, len(items) if count is None else count) + b"".join(items)


def tensor(key: str | bytes, sizes: tuple[int, ...], kind: int = F16, start: int = 0) -> bytes:
    return string(key) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, start)


def file(
    *tensors: bytes,
    values: tuple[bytes, ...] = (),
    data: int = 64,
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    counted = counts or (len(tensors), len(values))
    start = b"GGUF" + struct.pack("<IQQ", version, *counted) + b"".join(values) + b"".join(tensors)
    return start + bytes(-len(start) % 32) + bytes(data)


def read(content: bytes) -> header.Header:
    return header.read_stream("m.gguf", io.BytesIO(content), len(content))


def test_a_file_of_the_reference_library_is_read() -> None:
    found = header.read(SMALL)
    assert found.format == "gguf"
    assert {key: (info.dtype, info.shape, info.size_bytes) for key, info in found.tensors.items()} == {
        "first.weight": ("F32", (3, 64), 768),
        "conv": ("F16", (4, 2, 4), 64),
        "second.weight": ("Q8_0", (5, 64), 340),
    }
    assert found.metadata == {
        "general.architecture": "flux",
        "general.name": "small",
        "is_small": "true",
        "scale": "1.5",
    }
    last = max(found.tensors.values(), key=lambda info: info.start_bytes)
    assert 0 <= SMALL.stat().st_size - last.start_bytes - last.size_bytes < 32


def test_sizes_are_reversed_and_quantised_rows_have_their_byte_counts() -> None:
    info = read(file(tensor("a", (512, 3), Q4_K), data=3 * 2 * 144)).tensors["a"]
    assert (info.dtype, info.shape, info.size_bytes) == ("Q4_K", (3, 512), 864)


def test_version_two_and_values_of_every_kind() -> None:
    kinds = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    values = tuple(value(f"k{kind}", kind, struct.pack(f"<{form}", 1)) for kind, form in kinds.items())
    inner = listed(STRING, string("x"), string("y"))
    values += (value("nested", LIST, listed(LIST, inner, inner)), value("long", STRING, string("x" * 10_000)))
    found = read(file(tensor("a", (4,)), values=values, version=2))
    assert found.metadata["k4"] == "1"
    assert found.metadata["k7"] == "true"
    assert not {"nested", "long"} & found.metadata.keys()


DAMAGED: dict[str, tuple[bytes, str]] = {
    "version 1": (file(tensor("a", (4,)), version=1), "GGUF file of version 1"),
    "version 9": (file(tensor("a", (4,)), version=9), "GGUF file of version 9"),
    "other byte order": (b"GGUF\x00\x00\x00\x03" + bytes(40), "big-endian byte order"),
    "no tensors": (file(), "contains no tensors"),
    "many tensors": (file(counts=(1 << 60, 0)), "lists 1152921504606846976 tensors"),
    "many values": (file(counts=(1, 1 << 60)), "1152921504606846976 values, more than fit into the file"),
    "more than fit": (file(tensor("a", (4,)), counts=(60, 0)), "lists 60 tensors"),
    "cut in the counts": (file(tensor("a", (4,)))[:20], "cut short"),
    "cut in the tensors": (file(tensor("a" * 200, (4,)))[:100], "ends inside its header"),
    "cut in the data": (file(tensor("a", (64,)), data=127), "the last 1 bytes are missing"),
    "a long name": (file(tensor("a", (4,)), values=(struct.pack("<Q", 1 << 62) + bytes(8),)), "the length of a name is"),
    "a name that is not text": (file(tensor(b"\xff\xfe", (4,))), "a name is not valid text"),
    "a huge text": (
        file(tensor("a", (4,)), values=(value("k", STRING, struct.pack("<Q", 1 << 62)),)), "ends inside its header"
    ),
    "a huge list": (
        file(tensor("a", (4,)), values=(value("k", LIST, listed(U8, count=1 << 62)),)), "ends inside its header"
    ),
    "a list of many texts": (
        file(tensor("a", (4,)), values=(value("k", LIST, listed(STRING, count=1 << 40)),)), "the length of a list is"
    ),
    "lists in lists": (
        file(tensor("a", (4,)), values=(value("k", LIST, b"".join(listed(LIST, count=1) for _ in range(9))),)), "nested lists"
    ),
    "an unknown kind": (file(tensor("a", (4,)), values=(value("k", 99, bytes(8)),)), "unknown kind 99"),
    "the same value twice": (
        file(tensor("a", (4,)), values=(value("k", U8, b"1"), value("k", U8, b"1"))), "it contains the value k twice"
    ),
    "the same tensor twice": (
        file(tensor("a", (4,)), tensor("a", (4,), start=32)), "it contains the tensor a twice"
    ),
    "five dimensions": (file(tensor("a", (1, 1, 1, 1, 1))), "it has 5 dimensions"),
    "an unknown dtype": (file(tensor("a", (4,), 5)), "its dtype 5 is unknown"),
    "a huge size": (file(tensor("a", (1 << 40, 1 << 40))), "its shape is not a list of sizes"),
    "half a block": (file(tensor("a", (100,), Q4_K)), "not whole blocks of Q4_K"),
    "an overlap": (file(tensor("a", (32,)), tensor("b", (4,), start=32)), "tensor b: it overlaps another or leaves a gap"),
    "a gap": (file(tensor("a", (4,)), tensor("b", (4,), start=64), data=200), "tensor b: it overlaps another or leaves a gap"),
    "an odd alignment": (
        file(tensor("a", (4,)), values=(value("general.alignment", U32, struct.pack("<I", 3)),)), "not a power of two"
    ),
    "an alignment as text": (
        file(tensor("a", (4,)), values=(value("general.alignment", STRING, string("x")),)), "not a power of two"
    ),
    "an original shape of another size": (
        file(tensor("a", (4,)), values=(value("comfy.gguf.orig_shape.a", LIST, listed(5, struct.pack("<i", 5))),)),
        "its original shape has another size",
    ),
    "an original shape that is not a list": (
        file(tensor("a", (4,)), values=(value("comfy.gguf.orig_shape.a", U8, b"\x04"),)), "its original shape"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_each_error_is_named(name: str) -> None:
    content, words = DAMAGED[name]
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(HeaderError, match=words):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 1


def test_every_truncated_file_is_refused() -> None:
    whole = SMALL.read_bytes()
    data_end = max(info.start_bytes + info.size_bytes for info in header.read(SMALL).tensors.values())
    for length in range(data_end):
        with pytest.raises(HeaderError):
            read(whole[:length])


class Steps(io.BytesIO):
    """A stream of the given bytes followed by zeros up to the file size. It records the length of each read."""

    def __init__(self, start: bytes, size_bytes: int) -> None:
        super().__init__(start)
        self.size_bytes = size_bytes
        self.lengths: list[int] = []

    def read(self, size: int | None = -1) -> bytes:
        wanted: Any = size
        assert wanted <= 4 << 20
        self.lengths.append(wanted)
        return super().read(wanted).ljust(wanted, b"\0")


def test_a_remote_file_is_read_in_growing_steps() -> None:
    """A vocabulary of 300,000 words takes two megabytes; the weights after it are not read."""
    words = value("tokenizer.ggml.tokens", LIST, listed(STRING, *[string("word")] * 300_000))
    numbers = value("tokenizer.ggml.scores", LIST, listed(FLOAT, bytes(4 * 5_000_000), count=5_000_000))
    start = file(tensor("a", (1 << 20, 3000)), values=(words, numbers), data=0)
    size_bytes = len(start) + 2 * 3000 * (1 << 20)
    stream = Steps(start, size_bytes)
    assert header.read_stream("m.gguf", stream, size_bytes).tensors["a"].shape == (3000, 1 << 20)
    assert stream.lengths == sorted(stream.lengths)
    assert len(stream.lengths) < 12
    assert sum(stream.lengths) < 16 << 20

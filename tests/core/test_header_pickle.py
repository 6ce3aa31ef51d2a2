"""A pickled model is read as data: files of torch are read completely, malicious files are refused, and nothing is run."""

from __future__ import annotations

import io
import os
import pickle
import stat
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from trainer_core.errors import HeaderError
from trainer_core.models import header

WEIGHTS = Path(__file__).parents[1] / "data" / "weights"
STATE = {
    "weight": ("F32", (3, 4)),
    "bias": ("F32", (3,)),
    "half": ("F16", (2, 3)),
    "brain": ("BF16", (5,)),
    "part": ("F32", (2, 2)),
    "turned": ("F32", (6, 4)),
    "count": ("I64", ()),
    "spread": ("F32", (5, 3)),
    "none": ("F32", (0, 3)),
    "learnt": ("F32", (2,)),
    "flags": ("BOOL", (2,)),
}


def told(found: header.Header) -> dict:
    return {key: (info.dtype, info.shape) for key, info in found.tensors.items()}


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def proto2(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


def tensor(
    dtype: str = "FloatStorage", count: int = 4, sizes: bytes = b"K\x04\x85", strides: bytes = b"K\x01\x85"
) -> bytes:
    """The opcodes that torch writes for a tensor."""
    storage = (
        b"("
        + text("storage")
        + f"ctorch\n{dtype}\n".encode()
        + text("0")
        + text("cpu")
        + b"J"
        + struct.pack("<i", count)
    )
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + storage[1:]
        + b"tQK\x00"
        + sizes
        + strides
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def archive(
    data: bytes, names: tuple[str, ...] = ("archive/data.pkl",), storages: dict[str, bytes] | None = None
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name in names:
            made.writestr(name, data)
        for key, content in ({"0": bytes(16)} if storages is None else storages).items():
            made.writestr(f"archive/data/{key}", content)
    return buffer.getvalue()


GOOD = proto2(b"}", text("w"), tensor(), b"s")


@pytest.fixture
def read(tmp_path: Path):
    def read(content: bytes) -> header.Header:
        path = tmp_path / "model.ckpt"
        path.write_bytes(content)
        return header.read(path)

    return read


class TestWhatTorchWrites:
    def test_a_lightning_checkpoint(self) -> None:
        found = header.read(WEIGHTS / "lightning.ckpt")
        assert found.format == "pickle"
        assert told(found) == STATE
        assert found.metadata == {"global_step": "220000", "epoch": "3"}

    def test_the_stream_of_older_versions(self) -> None:
        found = header.read(WEIGHTS / "legacy.pt")
        assert told(found) == STATE
        assert found.metadata == {"global_step": "7"}

    def test_dtypes_without_their_own_storage_class(self) -> None:
        assert told(header.read(WEIGHTS / "protocol5.pt")) == {"w": ("F32", (2,)), "f8": ("F8_E4M3", (4,))}

    def test_embeddings(self) -> None:
        webui = header.read(WEIGHTS / "webui_embedding.pt")
        assert told(webui) == {"string_to_param.*": ("F32", (2, 768))}
        assert webui.metadata == {"name": "cat", "step": "500"}
        assert told(header.read(WEIGHTS / "ldm_embedding.pt"))["string_to_param.*"] == ("F32", (1, 768))
        assert told(header.read(WEIGHTS / "learned_embeds.bin")) == {"<cat>": ("F32", (768,))}

    def test_a_list_of_tensors(self) -> None:
        assert told(header.read(WEIGHTS / "list.pt")) == {"0": ("F32", (4, 3)), "1": ("F32", (3, 4))}

    def test_a_whole_module_is_refused_by_the_name_of_its_class(self) -> None:
        with pytest.raises(HeaderError, match=r"uses torch\.nn\.modules\.linear\.Linear"):
            header.read(WEIGHTS / "module.pt")

    def test_a_torchscript_program_is_named(self) -> None:
        with pytest.raises(HeaderError, match="TorchScript"):
            header.read(WEIGHTS / "script.pt")

    @pytest.mark.parametrize("name", ["lightning.ckpt", "legacy.pt", "webui_embedding.pt"])
    def test_every_truncated_file_is_refused(self, read, name: str) -> None:
        whole = (WEIGHTS / name).read_bytes()
        for length in range(0, len(whole), 97):
            with pytest.raises(HeaderError):
                read(whole[:length])

    def test_the_handmade_model_of_the_next_tests_is_read(self, read) -> None:
        for content in (archive(GOOD), *wrapped(GOOD)[:2]):
            assert told(read(content)) == {"w": ("F32", (4,))}


class Bait:
    """An object that runs a command when an ordinary unpickler opens it."""

    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile(marker: Path) -> dict[str, bytes]:
    """Malicious pickles: unpickling any of them would create the marker file or do other harm."""
    command = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    shell = text(command) + b"\x85R"

    def named(module: str, name: str) -> bytes:
        return b"\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93"

    made = {
        f"{function.__module__}.{function.__name__} by protocol {protocol}": pickle.dumps(
            Bait(function, argument), protocol
        )
        for protocol in (2, 3, 4, 5)
        for function, argument in ((os.system, command), (eval, code), (exec, code), (os.listdir, "/"))
    }
    made["inside a state dict"] = pickle.dumps({"state_dict": {"w": Bait(os.system, command)}}, 2)
    made["a name with dots"] = b"\x80\x04" + named("torch", "os.system") + shell + b"."
    made["dots after an allowed name"] = b"\x80\x04" + named("collections", "OrderedDict.__init__.__globals__") + b"."
    made["dots in the module"] = b"\x80\x04" + named("torch._utils.os", "system") + shell + b"."
    made["getattr"] = proto2(b"cbuiltins\ngetattr\ncos\npath\n", text("system"), b"\x86R", shell)
    made["functools.partial"] = proto2(b"cfunctools\npartial\n(cos\nsystem\n", text(command), b"tR)R")
    made["copyreg"] = proto2(b"ccopyreg\n_reconstructor\n(cos\nsystem\ncbuiltins\nobject\nNtR")
    made["webbrowser"] = proto2(b"cwebbrowser\nopen\n", text("http://localhost:9"), b"\x85R")
    made["nested pickle of torch"] = proto2(b"ctorch.storage\n_load_from_bytes\n", b"C\x01.", b"\x85R")
    made["by INST"] = b"\x80\x02(" + text(command) + b"ios\nsystem\n."
    made["by OBJ"] = b"\x80\x02(cos\nsystem\n" + text(command) + b"o."
    made["by NEWOBJ"] = proto2(b"csubprocess\nPopen\n", text(command), b"\x85\x81")
    made["by NEWOBJ_EX"] = b"\x80\x04" + named("subprocess", "Popen") + text(command) + b"\x85}\x92."
    made["by EXT1"] = proto2(b"\x82\x01", shell)
    made["by EXT4"] = proto2(b"\x84\x01\x00\x00\x00", shell)
    made["a name of one line"] = b"\x80\x02cos system\n\n."
    made["a name without a line break"] = b"\x80\x02c" + b"o" * 5000
    made["a carriage return in a name"] = b"\x80\x02ccollections\r\nOrderedDict\n)R."
    made["a name with a look-alike letter"] = proto2("c\u0441ollections\nOrderedDict\n)R".encode())
    made["calls the result of an allowed call"] = proto2(b"ccollections\nOrderedDict\n)R", shell)
    made["calls a storage class"] = proto2(b"ctorch\nFloatStorage\n", shell)
    made["calls a text"] = proto2(text("os.system"), shell)
    made["state for a function"] = proto2(b"ccollections\nOrderedDict\n}", text("__class__"), b"N", b"sb", shell)
    made["a tensor around a function"] = proto2(
        b"ctorch._tensor\n_rebuild_from_type_v2\n(ccollections\nOrderedDict\nN", text(command), b"\x85NtR"
    )
    made["an unknown external reference"] = proto2(text(command), b"Q")
    made["an external reference as text"] = b"\x80\x02P" + command.encode() + b"\n."
    made["a reference to another module's storage"] = proto2(
        b"(" + text("storage") + b"cos\nsystem\n" + text("0") + text("cpu") + b"K\x04tQ"
    )
    made["an external buffer"] = b"\x80\x05\x97."
    return made


def wrapped(content: bytes) -> list[bytes]:
    """The same pickle as a plain file, in torch's zip archive, and in torch's older stream."""
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    return [content, archive(content), magic + content + pickle.dumps([], 2)]


class TestHostilePickles:
    def test_the_bait_works(self, tmp_path: Path) -> None:
        """Ensures that the missing marker in the other tests is meaningful."""
        for number, name in enumerate(
            ("posix.system by protocol 2", "builtins.exec by protocol 4", "functools.partial")
        ):
            marker = tmp_path / f"marker{number}"
            pickle.loads(hostile(marker)[name])
            assert marker.exists(), name

    @pytest.mark.parametrize("name", hostile(Path("marker")))
    def test_it_is_refused_and_nothing_is_run(self, read, tmp_path: Path, name: str) -> None:
        marker = tmp_path / "marker"
        for content in wrapped(hostile(marker)[name]):
            with pytest.raises(HeaderError):
                read(content)
        assert not marker.exists()

    def test_the_error_names_the_function_and_the_fix(self, read, tmp_path: Path) -> None:
        with pytest.raises(HeaderError) as caught:
            read(archive(hostile(tmp_path / "marker")["posix.system by protocol 2"]))
        assert "uses posix.system, which no model needs" in caught.value.message
        assert "Easel did not run any of it" in caught.value.hint

    def test_a_name_from_a_pickle_is_shown_as_text(self, read) -> None:
        with pytest.raises(HeaderError) as caught:
            read(b"\x80\x02c\x1b[2J\n<b>\n.")
        assert "\x1b" not in str(caught.value)

    def test_state_sets_no_attributes(self, read) -> None:
        """The state of a dictionary, a tensor or a device changes neither them nor our own classes."""
        state = b"}(" + text("shape") + b"N" + text("__class__") + b"Nub"
        before = set(vars(header.TensorInfo))
        found = read(archive(proto2(b"}", text("w"), tensor(), state, b"s", state)))
        assert told(found) == {"w": ("F32", (4,))}
        assert set(vars(header.TensorInfo)) == before

    def test_a_class_that_is_allowed_stays_inert(self, read) -> None:
        callback = b"cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n"
        found = read(archive(proto2(b"}(", callback, b"}", text("w"), tensor(), text("x"), callback, b")\x81}bu")))
        assert told(found) == {"w": ("F32", (4,))}


def laughs(levels: int) -> bytes:
    """Nested values around a tensor, each of which contains the previous one twice."""
    inner = b"}" + text("w") + tensor() + b"s"
    return proto2(b"}", text("a"), inner, b"2\x86" * levels, b"s")


BOMBS = {
    "tuples in tuples": proto2(b"N", b"\x85" * 400_000),
    "tuples in tuples as a key": proto2(b"}N", b"\x85" * 100_000, b"Ns"),
    "a key that takes forever to hash": proto2(b"}N", b"2\x86" * 60, b"Ns"),
    "lists in lists": proto2(b"]" * 1000, b"a" * 999),
    "the same twice, 60 times": laughs(60),
    "a list that contains itself": proto2(b"}", text("a"), b"]q\x01h\x01as"),
    "marks without end": proto2(b"(" * 100_000),
    "more than any model": proto2(b"N0" * 300_000),
    "lists without end": proto2(b"]" * 600_000),
    "a memo index of two billion": proto2(b"Nr\xff\xff\xff\x7f"),
    "a text of four billion bytes": b"\x80\x02X\xff\xff\xff\xff.",
    "huge bytes": b"\x80\x04\x8e" + b"\xff" * 8,
    "a huge bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40),
    "a huge frame": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
    "a number of a megabyte": proto2(b"\x8b" + struct.pack("<I", 1 << 20) + b"\x7f" * (1 << 20)),
    "a list copied again and again": proto2(
        b"](" + b"N" * 50_000 + b"eq\x01", b"ccollections\nOrderedDict\nq\x02", b"h\x02h\x01\x85R0" * 20_000
    ),
    "long names joined": proto2(b"}", text("k" * 400), b"}", text("k" * 400), tensor(), b"ss"),
    "a tensor larger than its storage": proto2(b"}", text("w"), tensor(sizes=b"J\xff\xff\xff\x7f\x85"), b"s"),
    "a tensor of forty dimensions": proto2(b"}", text("w"), tensor(sizes=b"(" + b"K\x01" * 40 + b"t"), b"s"),
    "a negative size": proto2(b"}", text("w"), tensor(sizes=b"J\xff\xff\xff\xff\x85"), b"s"),
    "a negative storage": proto2(b"}", text("w"), tensor(count=-4), b"s"),
    "nothing on the stack": proto2(b"0"),
    "an item of None": proto2(b"NNNs"),
    "an unknown memo index": proto2(b"h\x07"),
    "an end without a mark": proto2(b"t"),
}


class TestBombs:
    @pytest.mark.parametrize("name", BOMBS)
    def test_it_costs_little_time(self, read, name: str) -> None:
        started = time.process_time()
        with pytest.raises(HeaderError):
            read(BOMBS[name])
        assert time.process_time() - started < 10

    @pytest.mark.parametrize(
        "name", ["a memo index of two billion", "a text of four billion bytes", "the same twice, 60 times"]
    )
    def test_it_costs_little_memory(self, read, name: str) -> None:
        tracemalloc.start()
        try:
            with pytest.raises(HeaderError):
                read(BOMBS[name])
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()


class TestArchives:
    def test_any_name_of_the_folder_is_read(self, read) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as made:
            made.writestr("my model/data.pkl", GOOD)
            made.writestr("my model/data/0", bytes(16))
        assert told(read(buffer.getvalue())) == {"w": ("F32", (4,))}

    def test_the_error_for_a_zip_archive_without_a_model_names_its_content(self, read) -> None:
        with pytest.raises(HeaderError, match=r"zip archive with model\.safetensors") as caught:
            read(archive(b"x", ("model.safetensors",), {}))
        assert "Unpack" in caught.value.hint

    def test_an_empty_archive(self, read) -> None:
        with pytest.raises(HeaderError, match="zip archive with nothing"):
            read(archive(b"", (), {}))

    def test_several_pickles(self, read) -> None:
        with pytest.raises(HeaderError, match="contains 2 pickles"):
            read(archive(GOOD, ("archive/data.pkl", "other/data.pkl")))
        with pytest.warns(UserWarning, match="Duplicate"):
            twice = archive(GOOD, ("archive/data.pkl", "archive/data.pkl"))
        with pytest.raises(HeaderError, match="contains 2 pickles"):
            read(twice)

    def test_a_link_instead_of_a_pickle(self, read) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as made:
            entry = zipfile.ZipInfo("archive/data.pkl")
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            made.writestr(entry, "/etc/passwd")
        with pytest.raises(HeaderError, match="contains a link"):
            read(buffer.getvalue())

    def test_an_encrypted_pickle(self, read) -> None:
        content = bytearray(archive(GOOD))
        for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.index(signature) + at] |= 1
        with pytest.raises(HeaderError, match="encrypted"):
            read(bytes(content))

    def test_weights_that_are_missing_or_short(self, read) -> None:
        with pytest.raises(HeaderError, match="the weights 0 are missing"):
            read(archive(GOOD, storages={}))
        with pytest.raises(HeaderError, match="the weights 0 take 15 bytes, not 16"):
            read(archive(GOOD, storages={"0": bytes(15)}))

    def test_entries_that_overlap(self, read) -> None:
        content = bytearray(archive(GOOD))
        second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
        content[second + 42 : second + 46] = struct.pack("<I", 8)
        with pytest.raises(HeaderError, match="overlap"):
            read(bytes(content))

    def test_a_zip_bomb_is_not_unpacked(self, read) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made, made.open("archive/data.pkl", "w") as stream:
            for _ in range(66):
                stream.write(bytes(1_000_000))
        assert len(buffer.getvalue()) < 100_000
        with pytest.raises(HeaderError, match="its pickle is listed with 66000000 bytes"):
            read(buffer.getvalue())

    def test_a_zip_bomb_with_a_false_size(self, read) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr("archive/data.pkl", bytes(30_000_000))
        content = bytearray(buffer.getvalue())
        for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
            begin = content.index(signature) + at
            content[begin : begin + 4] = struct.pack("<I", 100)
        with pytest.raises(HeaderError):
            read(bytes(content))

    def test_a_huge_list_of_entries(self, read) -> None:
        content = bytearray(archive(GOOD))
        content[-10:-6] = struct.pack("<I", 0x7FFFFFFF)
        with pytest.raises(HeaderError, match="lists more files than any model"):
            read(bytes(content))

    def test_a_compression_that_torch_does_not_read(self, read) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as made:
            made.writestr("archive/data.pkl", GOOD)
        with pytest.raises(HeaderError, match="compressed in a way"):
            read(buffer.getvalue())

    def test_bytes_after_the_end_are_refused(self, read) -> None:
        with pytest.raises(HeaderError, match="end of its zip archive is missing"):
            read(archive(GOOD) + b"x")

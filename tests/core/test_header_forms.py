"""A file is recognised by its content, only the header of a stream is read, and shards and folders are one model."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import recorded_headers
from trainer_core.errors import HeaderError
from trainer_core.models import detection, header
from trainer_core.training.acceptance import values

WEIGHTS = Path(__file__).parents[1] / "data" / "weights"


def image(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, form)
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        made.add(WEIGHTS / "list.pt", "model.pt")
    return buffer.getvalue()


def json_text(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()


FOREIGN = {
    "image": (image("PNG"), "is a PNG image.*embedding inside an image is not read"),
    "photograph": (image("JPEG"), "is a JPEG image"),
    "preview": (image("WEBP"), "is a WebP image"),
    "tar": (tar(), "is a tar archive.*Unpack"),
    "gzip": (gzip.compress(b"x" * 100), "is a gzip archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(40), "is a 7z archive"),
    "rar": (b"Rar!\x1a\x07\x01\x00" + bytes(40), "is a RAR archive"),
    "xz": (b"\xfd7zXZ\x00" + bytes(40), "is an xz archive"),
    "page": (b"\xef\xbb\xbf\n<HTML><head><title>Sign in</title>", "is a web page"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "error message in XML"),
    "refusal": (json_text({"error": "Unauthorized"}), "is an error message, not a model."),
    "nested refusal": (json_text({"error": {"message": "Gated"}}), "is an error message, not a model."),
    "list": (json_text([1, 2]), "is a JSON file"),
    "config": (json_text({"architectures": ["T5EncoderModel"]}), "is the configuration of a model"),
    "text": (b"Entry not found", "is a text file, not a model."),
    "zeros": (bytes(4096), "only zeros"),
    "program": (b"MZ\x90\x00" + bytes(200), "is a Windows program"),
    "unknown": (bytes(range(200, 256)) * 4, "its format is not known"),
    "old pickle": (b"cos\nsystem\n(S'true'\ntR.", "is a text file, not a model"),
    "archive": (b"PK\x03\x04" + bytes(60), "cut short: the end of its zip archive is missing"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_is_not_a_model_is_named(tmp_path: Path, name: str) -> None:
    content, words = FOREIGN[name]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(HeaderError, match=words):
        header.read(path)
    with pytest.raises(HeaderError):
        header.read_stream("model.safetensors", io.BytesIO(content), len(content))


@pytest.mark.parametrize(
    "text", [b"root:x:0:0:root:/root:/bin/sh\n", b'{"error": {"message": "root:x"}}', b'{"detail": "root:x"}']
)
def test_nothing_of_the_text_of_another_file_is_shown(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(text)
    with pytest.raises(HeaderError, match="not a model") as caught:
        header.read(path)
    assert "root" not in caught.value.message.replace(str(path), "")
    assert "may need a login" in caught.value.hint, "what may be the reason is not said as a fact"


@pytest.mark.parametrize("ending", ["safetensors", "ckpt", "gguf", "png", ""])
def test_the_extension_does_not_matter(tmp_path: Path, ending: str) -> None:
    for source, form in (("lightning.ckpt", "pickle"), ("small.gguf", "gguf")):
        path = tmp_path / f"model.{ending}"
        path.write_bytes((WEIGHTS / source).read_bytes())
        assert header.read(path).format == form
        with pytest.raises(HeaderError, match="not a safetensors file"):
            header.read_file(path)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,2],"data_offsets":[0,4]}}',
        b'{"__metadata__":{},"__metadata__":{},"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}',
    ],
)
def test_a_duplicate_name_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(HeaderError, match="the header contains its name twice"):
        header.read(path)


def test_metadata_may_contain_the_names_of_header_fields(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    metadata = {"data_offsets": "data_offsets", "__metadata__": '"data_offsets"'}
    recorded_headers.write_file(path, {"a": ("F16", (2,))}, metadata)
    assert header.read(path).metadata == metadata


class Counted(io.BytesIO):
    """A stream that records the position and length of each read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads: list[tuple[int, int]] = []

    def read(self, size: int | None = -1) -> bytes:
        begin = self.tell()
        data = super().read(size)
        self.reads.append((begin, len(data)))
        return data

    @property
    def total_bytes(self) -> int:
        return sum(length for _, length in self.reads)


class Sparse(io.BytesIO):
    """A stream of any size: the given bytes, then zeros. A long read fails the test."""

    def __init__(self, start: bytes, size_bytes: int) -> None:
        self.start, self.size_bytes = start, size_bytes
        self.at = self.total_bytes = self.reads = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.size_bytes)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        size = min(self.size_bytes if size is None or size < 0 else size, self.size_bytes - self.at)
        assert size <= 4_200_000, "a read of weights"
        data = self.start[self.at : self.at + size].ljust(size, b"\0")
        self.at += size
        self.total_bytes += size
        self.reads += 1
        return data


class TestStreams:
    def test_a_remote_safetensors_file_is_read_in_two_steps(self, tmp_path: Path) -> None:
        path = recorded_headers.write("sdxl", tmp_path)
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            start = struct.pack("<Q", length) + file.read(length)
        stream = Sparse(start, path.stat().st_size)
        found = header.read_stream("model.safetensors", stream, stream.size_bytes)
        assert found.tensors == header.read(path).tensors
        assert stream.reads == 2
        assert stream.total_bytes <= length + 1024

    def test_the_given_size_is_used(self, tmp_path: Path) -> None:
        content = recorded_headers.write_file(tmp_path / "a", {"a": ("F16", (2,))}).read_bytes()
        assert header.read_stream("a", io.BytesIO(content[:-4]), len(content)).tensors["a"].shape == (2,)
        for told, words in ((len(content) - 1, "the last 1 bytes are missing"), (len(content) + 1, "1 bytes follow")):
            with pytest.raises(HeaderError, match=words):
                header.read_stream("a", io.BytesIO(content), told)

    def test_a_stream_that_ends_too_early_is_cut_short(self, tmp_path: Path) -> None:
        for path in (WEIGHTS / "small.gguf", WEIGHTS / "legacy.pt", WEIGHTS / "lightning.ckpt"):
            content = path.read_bytes()
            with pytest.raises(HeaderError):
                header.read_stream("a", io.BytesIO(content[:300]), len(content))

    def test_only_the_entry_list_and_the_pickle_of_an_archive_are_read(self, tmp_path: Path) -> None:
        weights = bytes(2_000_000)
        pickled = (
            b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nByteStorage\n"
            b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ" + struct.pack("<i", len(weights)) + b"tQK\x00J"
            + struct.pack("<i", len(weights)) + b"\x85K\x01\x85\x89NtRs."
        )  # fmt: skip
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as made:
            made.writestr("archive/data.pkl", pickled)
            made.writestr("archive/data/0", weights)
        stream = Counted(buffer.getvalue())
        assert header.read_stream("a.ckpt", stream, len(buffer.getvalue())).tensors["w"].shape == (2_000_000,)
        assert stream.total_bytes < len(pickled) + 4096

    def test_other_seekable_streams_are_enough(self) -> None:
        for name in ("lightning.ckpt", "legacy.pt", "small.gguf"):
            content = (WEIGHTS / name).read_bytes()
            stream = Sparse(content, len(content))
            assert header.read_stream(name, stream, len(content)).tensors

    def test_the_error_for_an_index_without_its_files_says_so(self) -> None:
        content = json_text({"weight_map": {"a": "part-1.safetensors"}})
        with pytest.raises(HeaderError, match="index of a model in several files"):
            header.read_stream("model.safetensors.index.json", io.BytesIO(content), len(content))


def shards(folder: Path, names: Mapping[str, str], index: str = "model.safetensors.index.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for key, name in names.items():
        recorded_headers.write_file(folder / name, {key: ("F16", (2,))}, {"format": "pt"})
    (folder / index).write_text(json.dumps({"metadata": {"total_size": 8}, "weight_map": names}))
    return folder / index


class TestShards:
    def test_an_index_is_one_model(self, tmp_path: Path) -> None:
        index = shards(tmp_path, {"a": "m-1-of-2.safetensors", "b": "m-2-of-2.safetensors"})
        found = header.read(index)
        assert (found.format, found.is_folder, set(found.tensors)) == ("sharded", False, {"a", "b"})
        assert [file.name for file in found.files] == ["m-1-of-2.safetensors", "m-2-of-2.safetensors"]
        assert {key: tensor.path.name for key, tensor in values.stored(found).items()} == {
            "a": "m-1-of-2.safetensors",
            "b": "m-2-of-2.safetensors",
        }

    def test_the_folder_stands_for_its_index(self, tmp_path: Path) -> None:
        place = tmp_path / "big model"
        index = shards(place, {"a": "m-1.safetensors", "b": "m-2.safetensors"})
        found = header.read(place)
        assert (found.format, found.is_folder, found.path) == ("sharded", False, place)
        assert (found.tensors, found.files) == (header.read(index).tensors, header.read(index).files)
        (place / "m-2.safetensors").unlink()
        with pytest.raises(HeaderError, match=r"not complete: m-2\.safetensors is missing"):
            header.read(place)

    def test_a_folder_with_several_indexes_or_shards_without_one_is_said(self, tmp_path: Path) -> None:
        shards(tmp_path / "two", {"a": "m-1.safetensors"})
        shards(tmp_path / "two", {"a": "n-1.safetensors"}, "other.safetensors.index.json")
        with pytest.raises(HeaderError, match=r"several models: model\.safetensors\.index\.json, other"):
            header.read(tmp_path / "two")
        shards(tmp_path / "none", {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}).unlink()
        with pytest.raises(HeaderError, match=r"2 files of a model without the index"):
            header.read(tmp_path / "none")

    def test_every_missing_file_is_named(self, tmp_path: Path) -> None:
        index = shards(tmp_path, {"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-3.safetensors"})
        for name in ("m-1", "m-3"):
            (tmp_path / f"{name}.safetensors").unlink()
        with pytest.raises(HeaderError, match=r"not complete: m-1\.safetensors, m-3\.safetensors are missing"):
            header.read(index)

    @pytest.mark.parametrize(
        "name", ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", "C:\\x", "", ".hidden", 5]
    )
    def test_a_file_outside_the_folder_is_refused(self, tmp_path: Path, name: Any) -> None:
        index = tmp_path / "root" / "model.safetensors.index.json"
        index.parent.mkdir()
        recorded_headers.write_file(tmp_path / "x.safetensors", {"a": ("F16", (2,))})
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(HeaderError, match="does not list the files"):
            header.read(index)

    def test_shards_of_pickles(self, tmp_path: Path) -> None:
        (tmp_path / "part-1.bin").write_bytes((WEIGHTS / "learned_embeds.bin").read_bytes())
        index = tmp_path / "pytorch_model.bin.index.json"
        index.write_text(json.dumps({"weight_map": {"<cat>": "part-1.bin"}}))
        assert set(header.read(index).tensors) == {"<cat>"}


class TestOneComponent:
    def test_its_keys_are_bare_and_its_config_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
        recorded_headers.write_file(tmp_path / "diffusion_pytorch_model.safetensors", {"a": ("F16", (2,))})
        found = header.read(tmp_path)
        assert (found.format, found.is_folder, found.path) == ("safetensors", False, tmp_path)
        assert set(found.tensors) == {"a"}
        assert found.configs == {"": {"_class_name": "AutoencoderKL"}}

    def test_it_may_be_in_several_files(self, tmp_path: Path) -> None:
        shards(tmp_path, {"a": "m-1.safetensors", "b": "m-2.safetensors"})
        (tmp_path / "config.json").write_text("{}")
        found = header.read(tmp_path)
        assert (found.format, set(found.tensors)) == ("sharded", {"a", "b"})

    def test_a_folder_of_other_things_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(HeaderError, match="is not a model"):
            header.read(tmp_path)


class TestComponentsOfAPipeline:
    @pytest.mark.parametrize(
        "name",
        [
            "diffusion_pytorch_model.safetensors",
            "diffusion_pytorch_model.fp16.safetensors",
            "model.fp16.safetensors",
            "diffusion_pytorch_model.bin",
            "pytorch_model.fp16.bin",
        ],
    )
    def test_weights_of_each_name_are_found(self, tmp_path: Path, name: str) -> None:
        unet = self.pipeline(tmp_path)
        if name.endswith(".bin"):
            (unet / name).write_bytes((WEIGHTS / "protocol5.pt").read_bytes())
        else:
            recorded_headers.write_file(unet / name, {"w": ("F16", (2,))})
        found = header.read(tmp_path)
        assert found.is_folder
        assert "unet/w" in found.tensors
        assert found.files == (unet / name,)

    def test_safetensors_are_preferred_and_variants_come_last(self, tmp_path: Path) -> None:
        unet = self.pipeline(tmp_path)
        for name in ("diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.safetensors"):
            recorded_headers.write_file(unet / name, {name: ("F16", (2,))})
        (unet / "diffusion_pytorch_model.bin").write_bytes(b"x")
        assert set(header.read(tmp_path).tensors) == {"unet/diffusion_pytorch_model.safetensors"}

    def test_shards_of_a_variant_are_found(self, tmp_path: Path) -> None:
        names = {"a": "model.fp16-00001-of-00002.safetensors", "b": "model.fp16-00002-of-00002.safetensors"}
        shards(self.pipeline(tmp_path), names, "model.safetensors.index.fp16.json")
        assert set(header.read(tmp_path).tensors) == {"unet/a", "unet/b"}

    @pytest.mark.parametrize("component", ["vae", "text_encoder_2", "unet"])
    def test_a_folder_from_an_interrupted_download_is_not_complete(self, tmp_path: Path, component: str) -> None:
        root = recorded_headers.write("folder-sdxl", tmp_path)
        (root / component).mkdir(exist_ok=True)
        for weights in (root / component).glob("*.safetensors"):
            weights.unlink()
        index = json.loads((root / "model_index.json").read_text())
        (root / "model_index.json").write_text(json.dumps({**index, component: ["diffusers", "X"]}))
        (root / component / "config.json").write_text('{"_class_name": "X"}')
        with pytest.raises(HeaderError, match=f"not complete: there are no weights in {component}"):
            header.read(root)

    def test_components_that_are_listed_and_not_there_are_told_of(self, tmp_path: Path) -> None:
        root = recorded_headers.write("folder-sd15", tmp_path)
        assert detection.detect(header.read(root)).lacking == ()
        shutil.rmtree(root / "text_encoder")
        assert detection.detect(header.read(root)).lacking == ("text_encoder",)
        (root / "text_encoder").mkdir()
        assert detection.detect(header.read(root)).lacking == ("text_encoder",)

    def test_a_list_of_more_components_than_any_model_has_is_not_looked_for(self, tmp_path: Path) -> None:
        index = recorded_headers.write("folder-sd15", tmp_path) / "model_index.json"
        listed = json.loads(index.read_text())
        index.write_text(json.dumps({**listed, "vae" + "\u00e9" * 190: ["diffusers", "X"]}))
        assert detection.detect(header.read(index.parent)).lacking == ()
        index.write_text(json.dumps({**listed, **{f"vae_{number}": ["diffusers", "X"] for number in range(200)}}))
        with pytest.raises(HeaderError, match="components, more than any model has"):
            header.read(index.parent)

    @staticmethod
    def pipeline(root: Path) -> Path:
        (root / "model_index.json").write_text(json.dumps({"_class_name": "X", "unet": ["diffusers", "Y"]}))
        (root / "unet").mkdir()
        return root / "unet"

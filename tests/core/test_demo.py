"""The files that the demo makes: the same each time, complete, and recognised as the right models."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import struct

import pytest
from PIL import Image

from trainer_core.demo import checkpoint, dataset, layouts, tiny_sdxl
from trainer_core.errors import InstallError
from trainer_core.install import clip_tokenizer
from trainer_core.models import detection, header


@pytest.fixture
def merges(tmp_path, monkeypatch):
    """A substitute for the vocabulary, with the right number of different merges."""
    lines = ["version", *(f"a{number} b" for number in range(50_000))]
    file = tmp_path / clip_tokenizer.VOCABULARY
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    monkeypatch.setattr(clip_tokenizer, "VOCABULARY_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    return file


def test_the_dataset_is_captioned_square_and_the_same_each_time(tmp_path):
    trigger = dataset.draw_dataset(tmp_path / "one")
    dataset.draw_dataset(tmp_path / "two")
    images = sorted((tmp_path / "one").glob("*.png"))
    assert len(images) == 12
    for image in images:
        with Image.open(image) as opened:
            assert opened.size == (dataset.SIDE, dataset.SIDE)
        assert image.with_suffix(".txt").read_text("utf-8").startswith(trigger)
        assert image.read_bytes() == (tmp_path / "two" / image.name).read_bytes()


# Published parameter counts: U-Net, VAE, CLIP-L, OpenCLIP bigG.
SD15 = 859_520_964 + 83_653_863 + 123_060_480
SDXL = 2_567_463_684 + 83_653_863 + 123_060_480 + 694_659_841


@pytest.mark.parametrize(("family", "tensors", "parameters"), [("sd15", 1130, SD15), ("sdxl", 2514, SDXL)])
def test_a_layout_has_the_size_of_the_real_model(family, tensors, parameters):
    found = list(checkpoint.FAMILIES[family]())
    assert len(found) == len({name for name, _ in found}) == tensors
    assert sum(math.prod(shape) for _, shape in found) == parameters


def test_a_short_strip_of_noise_has_the_first_values_of_a_long_one(tmp_path):
    """A small tensor needs fewer random numbers, and the files stay the same."""
    long, short = [("conv.weight", (300, 16, 3, 3))], [("conv.weight", (3, 16, 3, 3))]
    values = [
        checkpoint.write_tensors(tmp_path / f"{len(tensors[0][1])}.safetensors", tensors).read_bytes()[-2 * size :]
        for tensors, size in ((long, 300 * 144), (short, 3 * 144))
    ]
    assert values[0].startswith(values[1])
    assert hashlib.sha256(values[1]).hexdigest() == "f40fa91a0ffa0a3f600368c5e777b175a97b395c2149c35b0793731d5346dba0"


def test_a_written_file_is_complete_and_has_the_values_of_new_layers(tmp_path):
    tensors = [("norm.weight", (8,)), ("norm.bias", (8,)), ("conv.weight", (300, 16, 3, 3))]
    file = checkpoint.write_tensors(tmp_path / "small.safetensors", tensors)
    (length,) = struct.unpack("<Q", file.read_bytes()[:8])
    table = json.loads(file.read_bytes()[8 : 8 + length])
    data = file.read_bytes()[8 + length :]
    assert len(data) == table["conv.weight"]["data_offsets"][1]
    assert struct.unpack("<8e", data[:16]) == (1.0,) * 8
    assert struct.unpack("<8e", data[16:32]) == (0.0,) * 8
    values = struct.unpack(f"<{300 * 144}e", data[32:])
    assert 0.02 < math.sqrt(sum(value * value for value in values) / len(values)) < 0.09
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_made_checkpoint_is_recognised(tmp_path, family, monkeypatch):
    # Only the header is read, so the file is sparse after it.
    tensors = list(checkpoint.FAMILIES[family]())
    file = tmp_path / "base.safetensors"
    with file.open("wb") as stream:
        stream.write(checkpoint._header(tensors))
        stream.truncate(stream.tell() + 2 * sum(math.prod(shape) for _, shape in tensors))
    assert detection.detect(header.read(file)).family == family


def test_the_tiny_pipeline_is_recognised_as_sdxl(tmp_path, merges):
    folder = tiny_sdxl.write(merges, tmp_path / "tiny")
    assert detection.detect(header.read(folder)).family == "sdxl"
    unet = dict(tiny_sdxl._unet())
    assert len(unet) == 292
    assert unet["up_blocks.1.resnets.0.conv1.weight"] == (32, 96, 3, 3)
    assert len(list(tiny_sdxl._vae())) == 180


def test_the_tokenizer_has_an_id_for_every_token(tmp_path, merges):
    folder = clip_tokenizer.write_cache(merges, tmp_path / "tokenizers")
    words = json.loads((folder / "openai_clip-vit-large-patch14" / "vocab.json").read_text("utf-8"))
    assert len(words) == 49408
    assert (words[clip_tokenizer.START], words[clip_tokenizer.END]) == (49406, 49407)
    padded = json.loads(
        (folder / "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k" / "special_tokens_map.json").read_text("utf-8")
    )
    assert padded["pad_token"] == "!"


def test_another_file_is_refused_as_the_vocabulary(tmp_path):
    wrong = tmp_path / clip_tokenizer.VOCABULARY
    wrong.write_bytes(gzip.compress(b"nothing"))
    with pytest.raises(InstallError):
        clip_tokenizer.write(wrong, tmp_path / "tokenizer")


def test_the_two_families_differ_in_a_tensor_that_detection_uses():
    names = {name for name, _ in layouts.sdxl()}
    assert "model.diffusion_model.label_emb.0.0.weight" in names
    assert "model.diffusion_model.label_emb.0.0.weight" not in {name for name, _ in layouts.sd15()}

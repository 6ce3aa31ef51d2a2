"""What the tools for model files say of a wrong input or output names the true cause, and nothing waits for ever."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.support import small_loras, small_models
from trainer_core.errors import EaselError
from trainer_core.tools import bake, check_weights, convert, extract, lora_metadata, lora_scale, merge, scrub

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with two models, a LoRA and what is none of them."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    folder = tmp_path / "work"
    (folder / "folder.safetensors").mkdir(parents=True)
    base = small_models.arrays("sd15", 1)
    small_models.write(folder / "a.safetensors", base)
    small_models.write(folder / "b.safetensors", small_models.near(base, 2))
    small_loras.write(folder / "lora.safetensors", small_loras.lora({LAYER: (256, 256)}, rank=2, kind=np.float32))
    (folder / "text.txt").write_text("a note")
    (folder / "lost.safetensors").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)
    return folder


def said(work, *arguments, **settings: object) -> str:
    with pytest.raises(EaselError) as caught:
        work(*arguments, **settings)
    return str(caught.value)


OF_A_FILE = {
    "folder.safetensors": "folder.safetensors is a folder, and one file is needed",
    "pipe": "pipe is neither a file nor a folder",
    "text.txt": "Choose the model itself",
    "lost.safetensors": "it is a link to a file that does not exist",
    "": "The name of a file is empty",
}


@pytest.mark.parametrize(("file", "cause"), OF_A_FILE.items())
def test_a_file_that_is_something_else_is_said_by_every_tool_that_takes_one(place: Path, file: str, cause: str) -> None:
    assert cause in said(lora_scale.outlook, lora_scale.Settings(file=file, strength=0.5))
    assert cause in said(lora_metadata.preview, lora_metadata.Settings(file=file, values={"a": "b"}))
    assert cause in said(scrub.preview, scrub.Settings(file=file))
    assert cause in said(bake.outlook, bake.Settings(model="a.safetensors", networks=(file,)))
    if file:
        assert cause in said(merge.outlook, merge.Settings(models=("a.safetensors", "b.safetensors"), vae=file))


@pytest.mark.parametrize("file", ["pipe", "lost.safetensors", ""])
def test_a_model_that_is_something_else_is_said_by_every_tool_that_takes_one(place: Path, file: str) -> None:
    cause = OF_A_FILE[file]
    assert cause in said(merge.outlook, merge.Settings(models=("a.safetensors", file)))
    assert cause in said(convert.outlook, convert.Settings(files=(file,), dtype="bf16"))
    assert cause in said(extract.outlook, extract.Settings(tuned="a.safetensors", base=file))
    assert cause in said(bake.outlook, bake.Settings(model=file, networks=("lora.safetensors",)))
    assert cause in said(check_weights.start, check_weights.Settings(file=file))


@pytest.mark.parametrize(
    ("file", "cause"),
    [("gone.png", "gone.png does not exist"), ("pipe", "pipe is no file"), ("text.txt", "as an image")],
)
def test_an_image_that_is_none_is_said(place: Path, file: str, cause: str) -> None:
    settings = lora_metadata.Settings(file="a.safetensors", thumbnail=file)
    assert cause in said(lora_metadata.preview, settings)


OF_A_TARGET = {
    "folder.safetensors": "is a folder, not a new file",
    "a.safetensors": "is one of the files that are read",
    "lora.safetensors": "lora.safetensors already exists, and Easel replaces nothing",
    "lost.safetensors": "is a link to a file that does not exist",
    "new.GGUF": "has the ending .GGUF, but the new file is a safetensors file",
    "a.safetensors/": "ends with a slash",
    "text.txt/new": "text.txt is a file, so new",
}


@pytest.mark.parametrize(("target", "cause"), OF_A_TARGET.items())
def test_a_target_that_cannot_be_made_is_said_before_the_start_by_every_tool(
    place: Path, target: str, cause: str
) -> None:
    # A name alone is that of a file in the folder of the tool.
    a, b, target = "a.safetensors", "b.safetensors", f"./{target}"
    assert cause in said(merge.outlook, merge.Settings(models=(a, b), target=target))
    assert cause in said(extract.outlook, extract.Settings(tuned=b, base=a, target=target))
    assert cause in said(convert.outlook, convert.Settings(files=(a,), dtype="bf16", target=target))
    edit = lora_metadata.Settings(file=a, values={"a": "b"}, target=target)
    assert cause in said(lora_metadata.outlook, edit)


def test_a_name_may_have_any_other_ending_and_capital_letters(place: Path) -> None:
    for target, name in (("new", "new.safetensors"), ("style-v1.5", "style-v1.5.safetensors"), ("N.Safetensors",) * 2):
        for found in (
            merge.outlook(merge.Settings(models=("a.safetensors", "b.safetensors"), target=f"./{target}")),
            convert.outlook(convert.Settings(files=("a.safetensors",), dtype="bf16", target=f"./{target}")),
        ):
            assert found.target == place / name


def test_a_folder_that_is_made_has_not_the_ending_of_a_file_and_replaces_nothing(place: Path) -> None:
    settings = {"files": ("a.safetensors",), "form": "shards"}
    assert "ending of a file" in said(convert.outlook, convert.Settings(**settings, target="new.ckpt"))
    (place / "there").mkdir()
    assert "already exists" in said(convert.outlook, convert.Settings(**settings, target="there"))


def test_the_outlook_of_a_conversion_names_the_file_that_will_be_made(place: Path) -> None:
    settings = convert.Settings(files=("a.safetensors",), dtype="bf16")
    assert convert.outlook(settings).target.name == "a-bf16.safetensors"
    (place / "a-bf16.safetensors").touch()
    planned = convert.outlook(settings)
    assert planned.target.name == "a-bf16-2.safetensors"
    assert convert.run(settings, lambda _: None) == planned.target


def test_a_network_for_another_model_is_said_and_not_called_damaged(place: Path) -> None:
    settings = bake.Settings(model="a.safetensors", networks=("lora.safetensors",), family="sd15")
    message = said(bake.outlook, settings)
    assert "the network was made for another model" in message
    assert "ownload" not in message


def test_a_folder_that_cannot_be_written_is_said(place: Path) -> None:
    (place / "fixed").mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "ro,size=90m", "tmpfs", str(place / "fixed")]
    if subprocess.run(mounted, check=False, capture_output=True).returncode:
        pytest.skip("a file system can only be mounted as root")
    try:
        settings = convert.Settings(files=("a.safetensors",), dtype="bf16", target="fixed/new")
        assert "Nothing can be written into the folder fixed" in said(convert.outlook, settings)
    finally:
        subprocess.run(["umount", "-l", str(place / "fixed")], check=True)


def test_a_file_of_another_format_is_said_with_what_to_do(place: Path) -> None:
    made = convert.run(convert.Settings(files=("a.safetensors",), form="checkpoint"), lambda _: None)
    message = said(lora_scale.outlook, lora_scale.Settings(file=str(made), strength=0.5))
    assert "a.ckpt is not a safetensors file: it is a pickle file" in message
    assert "easel convert" in message

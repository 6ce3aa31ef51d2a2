"""Edits of a file's metadata: the tensors stay byte for byte, an edit in place can be undone, and a killed one leaves the old file."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from trainer_core.cli import easel
from trainer_core.errors import WeightsError
from trainer_core.jobs.state import JobState
from trainer_core.tools import lora_metadata as tool
from trainer_core.tools.lora_metadata import Settings

OLD = {"ss_training_comment": "for Jane", "ss_network_dim": "4", "ss_tag_frequency": '{"10_cat": {"cat": 3}}'}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    tensors = {f"lora_unet_{name}.lora_up.weight": np.arange(12, dtype=np.float16).reshape(3, 4) for name in "abc"}
    save_file(tensors, path, OLD)
    return path


def data(path: Path) -> bytes:
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "np") as found:
        return found.metadata()


def edited(path: Path, **chosen: object) -> Path:
    return tool.run(Settings(file=str(path), **chosen), lambda _: None)


def test_an_edit_is_a_new_file_with_the_same_tensors(file: Path) -> None:
    before = file.read_bytes()
    new = edited(file, values={"modelspec.title": "Blobbert é", "ss_network_dim": "8"}, remove=("ss_training_comment",))
    assert new == file.with_name("a-edited.safetensors")
    assert data(new) == data(file)
    assert file.read_bytes() == before
    assert metadata(new) == {
        "ss_network_dim": "8", "ss_tag_frequency": OLD["ss_tag_frequency"], "modelspec.title": "Blobbert é",
    }  # fmt: skip
    assert int.from_bytes(new.read_bytes()[:8], "little") % 8 == 0


def test_a_scrub_removes_what_is_private_and_what_is_set_stays(file: Path) -> None:
    found = metadata(edited(file, scrub=True, values={"note": "public"}))
    assert found == {"ss_network_dim": "4", "note": "public"}
    assert "ss_tag_frequency" in metadata(
        edited(file, scrub=True, keep=("captions",), target=str(file.with_name("b.safetensors")))
    )


def test_a_thumbnail_is_a_small_jpeg(file: Path, tmp_path: Path) -> None:
    Image.new("RGB", (900, 600), "red").save(tmp_path / "x.png")
    address = metadata(edited(file, thumbnail=str(tmp_path / "x.png")))["modelspec.thumbnail"]
    kind, _, text = address.partition(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        assert image.size == (256, 171)
    with pytest.raises(WeightsError, match="cannot be read as an image"):
        edited(file, thumbnail=str(file), target=str(tmp_path / "y.safetensors"))


def test_an_edit_in_place_keeps_the_mode_and_is_undone_byte_for_byte(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    file.chmod(0o640)
    before = file.read_bytes()
    job = tool.start(Settings(file=str(file), values={"x": "y"}, in_place=True))
    assert job.wait(60) is JobState.COMPLETED
    assert metadata(file) == OLD | {"x": "y"}
    assert data(file) == before[-len(data(file)) :]
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.safetensors", "home"]
    job = tool.start(Settings(file=str(file), undo=tool.undo_of(str(file))))
    assert job.wait(60) is JobState.COMPLETED
    assert file.read_bytes() == before


def test_only_an_edit_in_place_can_be_undone(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    with pytest.raises(WeightsError, match="No edit in place"):
        tool.undo_of(str(file))


def test_the_header_of_another_file_is_not_restored(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    edited(file, values={"x": "y"}, in_place=True)
    save_file({"other": np.zeros(18, np.float32)}, file, {})
    with pytest.raises(WeightsError, match="other tensors than before"):
        tool.preview(Settings(file=str(file), undo=str(tmp_path)))
    (tmp_path / tool.BEFORE).write_text(json.dumps({"path": str(file), "header": "AAAA"}))
    with pytest.raises(WeightsError, match="what was kept is damaged"):
        tool.preview(Settings(file=str(file), undo=str(tmp_path)))


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"values": {"easel.plan": "x"}}, "Easel writes easel.plan itself"),
        ({"values": {"sshs_model_hash": "x"}}, "computed from the weights"),
        ({"values": {"": "x"}}, "not possible as a metadata key"),
        ({"values": {"a\nb": "x"}}, "not possible as a metadata key"),
        ({"values": {"x": "hf_" + "a" * 30}}, "looks like an access token"),
        ({"values": {"x": "\ud800"}}, "is not text"),
        ({"values": {"x": "a" * (5 << 20)}}, "5,242,880 bytes"),
        ({"remove": ("nothing",)}, "no metadata key 'nothing'"),
        ({"values": {"ss_network_dim": "4"}}, "Nothing of the metadata"),
    ],
)
def test_an_edit_that_is_not_possible_is_refused(file: Path, chosen: dict[str, object], sentence: str) -> None:
    with pytest.raises(WeightsError, match=sentence):
        tool.outlook(Settings(file=str(file), **chosen))


def test_a_link_is_not_edited_in_place(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.safetensors"
    link.symlink_to(file)
    with pytest.raises(WeightsError, match="link to a file elsewhere"):
        tool.outlook(Settings(file=str(link), values={"x": "y"}, in_place=True))


def test_a_path_in_a_value_is_told(file: Path) -> None:
    assert "a path" in " ".join(tool.outlook(Settings(file=str(file), values={"x": "see /home/jane/notes"})).notes)


def test_a_killed_edit_in_place_leaves_the_old_file(tmp_path: Path) -> None:
    """Killed again and again, at other moments: the file is always the old one or the new one."""
    path = tmp_path / "big.safetensors"
    save_file({"x": np.zeros(1 << 22, np.uint8)}, path, {"n": "0"})
    program = (
        "from trainer_core.tools import lora_metadata as t\n"
        f"for n in range(10000): t.run(t.Settings(file={str(path)!r}, values={{'n': str(n) + 'x'}}, in_place=True), lambda _: print(n, flush=True))"
    )
    for wait in range(3):
        process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE)
        for _ in range(3 + 4 * wait):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert metadata(path)["n"]
        assert len(data(path)) == 1 << 22


def test_the_command_shows_and_edits(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    shown = CliRunner().invoke(easel, ["lora", "metadata", str(file), "--json"])
    assert json.loads(shown.output) == OLD
    made = CliRunner().invoke(easel, ["lora", "metadata", str(file), "--set", "modelspec.title=T", "--json"])
    assert metadata(Path(json.loads(made.output)["path"]))["modelspec.title"] == "T"
    assert CliRunner().invoke(easel, ["lora", "metadata", str(file), "--set", "nonsense"]).exit_code == 2

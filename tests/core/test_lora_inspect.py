"""What is told about a LoRA: ranks, norms and directions against float64, blocks, triggers, settings, hashes, damage."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.support import recorded_networks
from tests.support.small_loras import changes, lora, write
from trainer_core.cli import easel
from trainer_core.errors import WeightsError
from trainer_core.jobs.state import JobState
from trainer_core.tools import lora_inspect, lora_resize
from trainer_core.tools.lora_inspect import Settings
from trainer_core.weights.lora import training

RECORDED = Path(__file__).parents[1] / "data" / "metadata"
REFUSED = ("lycoris-tlora",)
"""A T-LoRA lacks the directions that it started from."""
SHAPES = {
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": (40, 40),
    "mid_block.attentions.0.proj_in": (24, 24, 1, 1),
    "up_blocks.1.resnets.0.conv1": (24, 16, 3, 3),
}


def told(path: Path, family: str = "sd15") -> lora_inspect.Report:
    return lora_inspect.inspect(Settings(file=str(path), family=family))


def test_norms_and_directions_are_those_of_the_change(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", lora(SHAPES, rank=8, alpha=2.0))
    found = told(path)
    for layer in found.layers:
        change = changes(path)[layer.key]
        assert layer.norm == pytest.approx(np.linalg.norm(change), rel=1e-4)
        squares = np.linalg.svd(change, compute_uv=False) ** 2
        shares = np.cumsum(squares) / squares.sum()
        assert layer.directions == {each: int(np.argmax(shares >= each / 100)) + 1 for each in (90, 95, 99)}
        assert (layer.rank, layer.alpha, layer.scale) == (8, 2.0, 0.25)
    assert [each.block for each in found.blocks] == ["IN01", "M00", "OUT03"]
    assert sum(each.share for each in found.blocks) == pytest.approx(1)


def test_a_smaller_rank_is_suggested_with_the_error_that_it_has(tmp_path: Path) -> None:
    tensors = lora({next(iter(SHAPES)): (40, 40)}, rank=16, kind=np.float32)
    key = next(key for key in tensors if key.endswith("lora_up.weight"))
    tensors[key][:, 3:] *= 1e-3
    path = write(tmp_path / "a.safetensors", tensors)
    (found,) = told(path).suggestions
    assert found.rank == 4
    squares = np.linalg.svd(next(iter(changes(path).values())), compute_uv=False) ** 2
    assert found.error == pytest.approx(math.sqrt(squares[4:].sum() / squares.sum()), abs=1e-3)
    assert "Rank 4 keeps" in found.sentence


def test_what_each_smaller_rank_loses_and_saves_is_what_resizing_then_makes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", lora(SHAPES, rank=8))
    rows = told(path).smaller
    assert [row.rank for row in rows] == [1, 2, 4]
    for row in rows:
        target = str(tmp_path / f"{row.rank}.safetensors")
        made = lora_resize.made(
            lora_resize.Settings(file=str(path), family="sd15", rank=row.rank, target=target), lambda _: None
        )
        assert f"The error is {row.error:.1%}"[:-2] in made.notes[-1]
        # The recipe in its metadata is new.
        assert made.path.stat().st_size == pytest.approx(row.size_bytes, abs=1500)


def test_a_network_whose_change_depends_on_the_model_has_no_smaller_ranks(tmp_path: Path) -> None:
    tensors = lora(SHAPES)
    key = next(key for key in tensors if key.endswith("lora_up.weight"))
    tensors[key.replace("lora_up.weight", "dora_scale")] = np.ones((tensors[key].shape[0], 1), np.float16)
    assert told(write(tmp_path / "a.safetensors", tensors)).smaller == ()


def test_resizing_says_beforehand_what_a_look_inside_has_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    path = write(tmp_path / "a.safetensors", lora(SHAPES, rank=8))
    chosen = lora_resize.Settings(file=str(path), family="sd15", rank=4)
    assert lora_resize.outlook(chosen).notes[0].endswith("once you have looked inside the file.")
    job = lora_inspect.start(Settings(file=str(path), family="sd15"))
    assert job.wait(60) is JobState.COMPLETED, job.result
    errors = {row.rank: row.error for row in told(path).smaller}
    assert lora_resize.outlook(chosen).notes[0] == (
        f"The largest rank is 8 now, and 4 then. The error will be about {errors[4]:.1%} of the whole change."
    )
    between = lora_resize.outlook(dataclasses.replace(chosen, rank=3)).notes[0]
    assert f"between {errors[4]:.1%} and {errors[2]:.1%}" in between
    assert "between 0 % and" in lora_resize.outlook(dataclasses.replace(chosen, rank=6)).notes[0]
    os.utime(path, (time.time() + 60,) * 2)
    assert lora_resize.outlook(chosen).notes[0].endswith("once you have looked inside the file.")


def test_a_rank_that_is_not_smaller_is_refused_with_the_rank_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", lora(SHAPES, rank=8))
    assert lora_resize.largest_rank(str(path), "sd15") == 8
    with pytest.raises(WeightsError) as refused:
        lora_resize.outlook(lora_resize.Settings(file=str(path), family="sd15", rank=16))
    assert "Its largest rank is 8 now" in refused.value.hint


def test_layers_that_change_nothing_and_damaged_ones_are_told(tmp_path: Path) -> None:
    tensors = lora(SHAPES)
    ups = [key for key in tensors if key.endswith("lora_up.weight")]
    tensors[ups[0]][:] = 0
    tensors[ups[1]][0, 0] = np.nan
    found = told(write(tmp_path / "a.safetensors", tensors))
    assert [layer.is_unused for layer in found.layers].count(True) == 1
    assert [bool(layer.problem) for layer in found.layers].count(True) == 1
    assert "1 of 3 layers change nothing" in found.notes[0]
    assert "not finite" in found.notes[1]


def test_the_settings_and_triggers_are_read_from_the_metadata(tmp_path: Path) -> None:
    metadata = json.loads((RECORDED / "kohya.json").read_text())["metadata"]
    found = told(write(tmp_path / "a.safetensors", lora(SHAPES), metadata))
    facts = dict(found.facts)
    assert facts["learning rate"] == "0.0001"
    assert facts["rank"] == "4"
    assert "clip skip" not in facts
    counted = {"10_blob": {"blobbert": 10, "red hat": 5, "table": 1}}
    folders = {"10_blob": {"n_repeats": 10, "img_count": 10}}
    triggers = training.triggers(
        {
            "ss_tag_frequency": json.dumps(counted),
            "ss_dataset_dirs": json.dumps(folders),
            "modelspec.trigger_phrase": "sks",
        }
    )
    assert [(each.text, each.share) for each in triggers] == [("sks", None), ("blobbert", 1.0), ("red hat", 0.5)]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_wild_metadata_gives_rows_and_no_error(value: object) -> None:
    text = json.dumps(value)
    metadata = dict.fromkeys(("ss_tag_frequency", "ss_dataset_dirs", "lora_adapter_metadata", "ss_network_dim"), text)
    assert all(0 < (each.share or 1) <= 1 for each in training.triggers(metadata))
    training.facts(metadata)
    training.triggers({"ss_tag_frequency": f'{{"a": {text}}}', "ss_dataset_dirs": f'{{"a": {text}}}'})


def test_the_hashes_are_those_of_the_file_and_of_its_tensors(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", lora(SHAPES))
    content = path.read_bytes()
    found = told(path).hashes
    assert found["sha256"] == hashlib.sha256(content).hexdigest()
    tensors = content[8 + int.from_bytes(content[:8], "little") :]
    assert found["sshs_model_hash"] == hashlib.sha256(tensors).hexdigest()


@pytest.mark.parametrize("name", recorded_networks.NAMES)
def test_every_recorded_network_is_described_or_refused_with_a_sentence(tmp_path: Path, name: str) -> None:
    path = recorded_networks.write(name, tmp_path)
    if name in REFUSED:
        with pytest.raises(WeightsError, match=r"contains no network whose change can be computed\."):
            told(path, "")
        return
    found = told(path, "")
    assert found.layers
    json.dumps(found.as_dict())


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", {"model.weight": np.zeros((4, 4), np.float16)})
    with pytest.raises(WeightsError, match="no network"):
        told(path)


def test_the_job_and_the_command_tell_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    path = write(tmp_path / "a.safetensors", lora(SHAPES))
    job = lora_inspect.start(Settings(file=str(path), family="sd15"))
    assert job.wait(60) is JobState.COMPLETED
    found = CliRunner().invoke(easel, ["lora", "inspect", str(path), "--family", "sd15", "--json"])
    assert json.loads(found.output)["blocks"] == lora_inspect.report_of(job.folder)["blocks"]
    shown = CliRunner().invoke(easel, ["lora", "inspect", str(path), "--family", "sd15", "--layers"]).output
    assert "OUT03" in shown
    assert "sshs_model_hash" in shown

"""A copy of a file for publishing: what it loses, what it keeps, and that its tensors are the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors import safe_open

from tests.support import engine_plans, recorded_networks
from trainer_core.cli import easel
from trainer_core.errors import RenamingError
from trainer_core.models import header
from trainer_core.tools import scrub
from trainer_core.training import metadata
from trainer_core.training.metadata import keys, result_keys

RECORDED = Path(__file__).parents[1] / "data" / "metadata"
PRIVATE = ("jane", "red hat", "second try", "1764403355", "1734992112", "round blue creature")


def recorded(name: str) -> dict[str, str]:
    return json.loads((RECORDED / f"{name}.json").read_text())["metadata"]


@pytest.mark.parametrize("name", ["kohya", "simpletuner"])
def test_nothing_private_stays_of_an_engines_metadata(name: str) -> None:
    before = recorded(name)
    kept, findings = scrub.scrubbed(before)
    text = json.dumps(kept).lower()
    assert not [word for word in PRIVATE if word in text]
    assert {each.key for each in findings} == {key for key, value in before.items() if kept.get(key) != value}
    assert all(each.reason for each in findings)


def test_the_settings_of_the_training_stay() -> None:
    kept, _ = scrub.scrubbed(recorded("kohya"))
    for key in (
        "ss_network_dim",
        "ss_network_alpha",
        "ss_optimizer",
        "ss_max_train_steps",
        "ss_new_sd_model_hash",
        "ss_sd_model_name",
    ):
        assert kept[key] == recorded("kohya")[key]
    subset = json.loads(kept["ss_datasets"])[0]["subsets"][0]
    assert subset["num_repeats"] == 1
    assert subset["flip_aug"] is True
    other, _ = scrub.scrubbed(recorded("simpletuner"))
    assert json.loads(other["lora_adapter_metadata"])["lora_alpha"] == 2.0
    assert other["modelspec.architecture"] == "sdxl-base-1.0/lora"


@pytest.mark.parametrize(
    "value",
    [
        "/home/jane/x/y.png",
        "C:\\Users\\jane\\set",
        "mail to jane@example.org",
        "hf_" + "b" * 30,
        "IMG_2041.JPG, IMG_2042.JPG",
    ],
)
def test_an_unknown_key_with_private_content_is_removed(value: str) -> None:
    kept, findings = scrub.scrubbed(
        {"my_trainer.note": value, "my_trainer.rank": "8", "url": "https://example.org/a/b"}
    )
    assert kept == {"my_trainer.rank": "8", "url": "https://example.org/a/b"}
    assert [(each.key, each.action) for each in findings] == [("my_trainer.note", "removed")]


def test_a_path_in_a_known_key_becomes_a_file_name() -> None:
    kept, findings = scrub.scrubbed({"ss_sd_model_name": "/home/jane/models/base.safetensors"})
    assert kept == {"ss_sd_model_name": "base.safetensors"}
    assert findings[0].action == "shortened"


def test_groups_and_keys_can_be_kept() -> None:
    before = recorded("kohya")
    kept, _ = scrub.scrubbed(before, ["captions", "ss_training_comment"])
    assert kept["ss_tag_frequency"] == before["ss_tag_frequency"]
    assert kept["ss_training_comment"] == before["ss_training_comment"]
    assert "ss_session_id" not in kept
    with pytest.raises(RenamingError, match="neither a group nor"):
        scrub.scrubbed(before, ["nothing"])


def test_easels_plan_stays_readable_without_names_and_prompts() -> None:
    plan = engine_plans.plan(
        "sdxl", network__rank=24, sampling__prompt="jane at the sea", dataset__path="/home/x/1_jane"
    )
    written = result_keys.for_result(result_keys.of_run(plan.model_dump(exclude_none=True), {}), {}, 5, "toy")
    kept, findings = scrub.scrubbed(written)
    assert "jane" not in json.dumps(kept)
    assert [(each.key, each.group) for each in findings] == [(keys.PLAN, "plan")]
    found = metadata.read(kept)
    assert found.is_unchanged
    assert found.values["network.rank"] == 24
    assert found.asked == {}


def test_the_tool_writes_a_copy_with_the_same_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    from safetensors.numpy import save_file

    path, made = tmp_path / "toy.safetensors", tmp_path / "toy-public.safetensors"
    save_file(recorded_networks.load("kohya-lora"), path, recorded("kohya"))
    original = path.read_bytes()
    shown = CliRunner().invoke(easel, ["tools", "scrub", str(path), "--show"])
    assert "ss_training_comment" in shown.output
    assert not made.exists()
    refused = CliRunner().invoke(easel, ["tools", "scrub", str(path)], input="n\n")
    assert refused.exit_code == 1
    assert not made.exists()
    done = CliRunner().invoke(easel, ["tools", "scrub", str(path), "--yes"])
    assert done.exit_code == 0, done.output
    assert path.read_bytes() == original
    with safe_open(path, "numpy") as before, safe_open(made, "numpy") as after:
        assert set(before.keys()) == set(after.keys())
        assert all((before.get_tensor(key) == after.get_tensor(key)).all() for key in list(before.keys()))
        assert "ss_tag_frequency" not in after.metadata()
    assert header.read_file(made).metadata == scrub.scrubbed(recorded("kohya"))[0]
    again = CliRunner().invoke(easel, ["tools", "scrub", str(path), "--yes"])
    assert "already exists" in str(again.exception)

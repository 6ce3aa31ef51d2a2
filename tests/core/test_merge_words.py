"""What a merge is in a sentence, before and after it, and the name of its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import small_models
from trainer_core.jobs import own_program
from trainer_core.jobs.state import JobState
from trainer_core.tools import merge
from trainer_core.tools.merge import Settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))


@pytest.fixture
def models(tmp_path: Path) -> tuple[str, ...]:
    base = small_models.arrays("sd15", 1)
    arrays = {"one": base, "two": small_models.near(base, 2), "base": small_models.near(base, 3)}
    return tuple(str(small_models.write(tmp_path / f"{name}.safetensors", each)) for name, each in arrays.items())


ALL = "UNet or transformer merged; text encoders merged; VAE merged; fp16."


@pytest.mark.parametrize(
    ("count", "more", "sentence", "name"),
    [
        (2, {"parameters": {"weight": 0.3}}, f"70 % one, 30 % two; {ALL}", "one-two-weighted_sum-0.3"),
        (3, {"parameters": {"weight": 0.5, "weight_c": 0.2}}, f"30 % one, 50 % two, 20 % base; {ALL}", "one-two-base-weighted_sum-0.5"),
        (2, {"parts": {"vae": "a", "text_encoders": "b"}, "dtype": "bf16"},
         "50 % one, 50 % two; UNet or transformer merged; text encoders from B (two); VAE from A (one); bf16.", "one-two-weighted_sum-0.5"),
        # That preset has no share of B outside of the blocks.
        (2, {"preset": "GRAD_V"}, "Weighted sum of one and two with the weights of GRAD_V; UNet or transformer merged; text encoders from A (one); VAE from A (one); fp16.", "one-two-weighted_sum-GRAD_V"),
        (2, {"blocks": {"IN*": 0.2}}, f"Weighted sum of one and two with a weight for each block; {ALL}", "one-two-weighted_sum-blocks"),
        (3, {"method": "add_difference"}, f"one and 1 times the difference of two from base; {ALL}", "one-two-base-add_difference-1"),
        (2, {"method": "slerp", "parameters": {"weight": 0.25}}, f"SLERP: 75 % one, 25 % two; {ALL}", "one-two-slerp-0.25"),
    ],
)  # fmt: skip
def test_a_merge_says_before_what_it_will_be_and_is_named_after_its_weight(
    models: tuple[str, ...], count: int, more: dict, sentence: str, name: str
) -> None:
    found = merge.outlook(Settings(models=models[:count], **more))
    assert found.notes[0] == sentence
    assert found.target.stem == name


def test_a_merge_says_afterwards_what_it_is_and_where_its_recipe_stands(models: tuple[str, ...]) -> None:
    job = merge.start(Settings(models=models[:2], parameters={"weight": 0.3}))
    assert job.wait(120) is JobState.COMPLETED, job.result
    made = job.folder.read(own_program.MADE)
    assert made is not None
    assert made["notes"][0].startswith("70 % one, 30 % two; ")
    ((title, words),) = made["facts"]
    assert title == "Recipe"
    assert "easel merge --recipe one-two-weighted_sum-0.3.safetensors" in words

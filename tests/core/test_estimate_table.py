"""The record that compares estimates with published figures is up to date, and it explains all misses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.estimate_claims import CLAIMS, Claim, estimated, of_presets, table, verdict
from trainer_core.catalog import presets
from trainer_core.estimate import memory

RECORD = Path(__file__).parents[2] / "docs" / "records" / "2026-11-21-estimates.md"
MARKS = ("<!-- cited -->", "<!-- presets -->", "<!-- end -->")
OWN = list(of_presets())
KNOWN_MISSES = {
    "Chroma LoRA, bf16, 1024 px",
    "preset sd3-8, sd3 3.5-large",
    "preset ultra-low-memory, flux",
    "preset ultra-low-memory, chroma",
    "preset ultra-low-memory, sd3 3.5-large",
    "preset ultra-low-memory, hunyuan_image",
    "preset low-memory, hunyuan_image",
    "preset standard-memory, hunyuan_image",
    "preset flux2-12, flux2",
    "preset qwen-image-12, qwen_image",
    "preset qwen-image-16, qwen_image",
    "preset qwen-image21-12, qwen_image21",
    "preset qwen-image21-16, qwen_image21",
    "preset longcat-image-12, longcat_image",
    "preset longcat-image-16, longcat_image",
}
"""Figures with which the estimate does not agree; the record contains the reasons."""


def tables() -> str:
    """The two tables between their marks."""
    cited, ours, end = MARKS
    return "\n".join([cited, *table(CLAIMS), "", ours, *table(OWN), end])


def test_the_record_contains_the_current_estimates():
    text = RECORD.read_text(encoding="utf-8")
    start, end = text.index(MARKS[0]), text.index(MARKS[-1]) + len(MARKS[-1])
    if os.environ.get("EASEL_RECORD"):
        RECORD.write_text(text[:start] + tables() + text[end:], encoding="utf-8")
        return
    assert text[start:end] == tables(), "EASEL_RECORD=1 pytest tests/core/test_estimate_table.py updates it"


def test_the_record_explains_all_misses():
    missed = {claim.what for claim in (*CLAIMS, *OWN) if not claim.not_estimated and "MISS" in verdict_of(claim)}
    assert missed == KNOWN_MISSES
    text = RECORD.read_text(encoding="utf-8")
    assert all(what in text.partition("## Misses")[2] for what in missed), "each is explained"


def test_the_range_is_narrow_only_for_families_whose_figures_agree():
    agreeing = {claim.family for claim in CLAIMS if not claim.not_estimated and "MISS" not in verdict_of(claim)}
    assert agreeing == memory.CITED


def test_few_rows_are_used_for_calibration():
    assert sum(claim.used for claim in CLAIMS) <= 3


@pytest.mark.parametrize(
    "claim", [claim for claim in (*CLAIMS, *OWN) if not claim.not_estimated], ids=lambda claim: claim.what
)
def test_ranges_are_narrow_enough_to_be_useful(claim):
    low, high = estimated(claim).vram_gib
    # Wider where nobody has published a figure of the family.
    assert high - low < (0.5 if claim.family in memory.CITED else 0.6) * high


def test_every_preset_is_in_the_table():
    assert {claim.what.split()[1].rstrip(",") for claim in OWN} == set(presets.shipped())


def verdict_of(claim: Claim) -> str:
    return verdict(claim, *estimated(claim).vram_gib)

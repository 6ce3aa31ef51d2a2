"""The estimate's data are what the recorded headers and the real classes say."""

from __future__ import annotations

import pytest

from tests.core import record_layers
from trainer_core import families, registry
from trainer_core.estimate import models, words
from trainer_core.estimate.habits import Habits, habits

MODELS = models.models()


def test_layers_are_those_of_the_recorded_headers():
    again = "python tests/core/record_layers.py writes it anew"
    assert record_layers.FILE.read_text(encoding="utf-8") == record_layers.text(), again


def test_every_family_an_engine_trains_is_known_in_each_variant():
    for backend in registry.available():
        for family in backend.manifest.families:
            if family in families.load_families():
                found = models.find(family)
                assert found is not None, family
                assert {*found.encoders, found.vae} <= set(models.parts())
    assert {models.find("sd3", variant).id for variant in ("3-medium", "3.5-medium", "3.5-large")} == {
        "sd3-medium",
        "sd35-medium",
        "sd35-large",
    }
    assert models.find("sd3", "of tomorrow").id == "sd35-large", "an unknown variant is taken as the largest"
    assert models.find("no such family") is None


@pytest.mark.parametrize(
    ("model", "layout", "target", "count"),
    [
        ("sd15", "original", "lora", 192),
        ("sdxl", "original", "lora", 722),
        ("sd15", "original", "full", 282),
        ("sdxl", "diffusers", "lora", 560),
        ("flux", "original", "lora", 19 * 10 + 38 * 3),
        ("flux", "diffusers", "lora", 19 * 4 + 38 * 3),
        ("hunyuan_image", "original", "lora", 20 * 10 + 40 * 3),
    ],
)
def test_networks_are_put_on_as_many_layers_as_the_engines_report(model, layout, target, count):
    """192, 722 and 282 modules: docs/records/2026-11-20-sd-scripts-cpu.md and 2026-11-21-every-setting.md."""
    assert sum(MODELS[model].layers_of(layout, target).values()) == count


def test_text_encoders_have_the_layers_of_a_lora():
    """264 modules are 192 and 72: tests/data/headers/lora-kohya-sd15.json and the sizes of released LoRAs."""
    assert sum(models.parts()["clip_l"].layers.values()) == 72
    assert sum(models.parts()["clip_g"].layers.values()) == 192
    assert sum(models.parts()["clip_h"].layers.values()) == 23 * 6


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_what_a_step_holds_and_computes_grows_with_the_picture(model):
    for trains_model in (False, True):
        for side in (256, 512, 768, 1024, 1536):
            checkpointed = model.step_bytes(side, trains_model=trains_model, checkpointing=True)
            assert 0 < checkpointed < model.step_bytes(side, trains_model=trains_model, checkpointing=False)
            larger = model.step_bytes(side + 64, trains_model=trains_model, checkpointing=True)
            assert checkpointed <= larger
    operations = [model.forward_operations(side) for side in (64, 256, 512, 1024, 2048)]
    assert operations == sorted(operations)
    assert operations[0] > 0


@pytest.mark.parametrize(("model", "side", "known"), [("sd15", 512, 0.80e12), ("sdxl", 1024, 5.98e12)])
def test_operations_are_those_that_others_count(model, side, known):
    """Twice the multiplications that are published: 401 thousand million for SD1.5 at 512 px, 2.99 million million for SDXL
    at 1024 px. Source: Kim et al. 2023, BK-SDM, table 1; SSD-1B and Koala report the second."""
    assert MODELS[model].forward_operations(side) == pytest.approx(known, rel=0.15)


def test_swapped_blocks_are_counted_as_the_presets_do():
    """presets.toml: of 22.2 GiB in bf16 34 swapped blocks leave 2.4 GiB, 30 leave 4.8, 27 leave 6.6, 25 leave 7.7."""
    flux = MODELS["flux"]
    for blocks, left in ((34, 2.4), (30, 4.8), (27, 6.6), (25, 7.7)):
        waiting = flux.swapped_parameters(blocks, paired=True)
        assert 2 * (flux.parameters - waiting) / 2**30 == pytest.approx(left, abs=0.1)
    assert MODELS["sdxl"].swapped_parameters(5, paired=True) == 0


def test_an_engine_from_outside_says_its_habits_itself():
    class Stranger:
        id, tables = "stranger", {"estimate": {"layout": "diffusers", "start_s": [1, 2], "unknown": 3}}

    said = habits(Stranger)
    assert (said.layout, said.start_s, said.is_known) == ("diffusers", (1, 2), True)
    Stranger.tables = {}
    assert habits(Stranger) == Habits("stranger", is_known=False)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ((1, 100), "1 to 100 s"),
        ((360, 720), "6 to 12 min"),
        ((7200, 14400), "2.0 to 4.0 h"),
        ((80_000, 200_000), "22 to 56 h"),
        ((82_800, 619_200), "1.0 to 7.2 days"),
        ((2_294_031, 17_206_080), "27 to 199 days"),
        ((3600, 3600), "60 min"),
    ],
)
def test_a_range_of_time_is_told_in_a_unit_that_can_be_grasped(seconds, said):
    assert words.span(seconds) == said

"""The estimate's data match the recorded headers and the real model classes."""

from __future__ import annotations

import dataclasses

import pytest

from backends.kohya import translation as kohya
from backends.simpletuner import translation as simpletuner
from scripts import record_layers
from tests.support import engine_plans
from trainer_core.draft.facts import Facts
from trainer_core.engines import registry
from trainer_core.engines.costs import Costs
from trainer_core.estimate import disk, formatting, models
from trainer_core.estimate.job import Workload
from trainer_core.models import families

MODELS = models.models()


def test_layers_match_the_recorded_headers():
    how = "python scripts/record_layers.py updates it"
    assert record_layers.FILE.read_text(encoding="utf-8") == record_layers.text(), how


def test_every_family_and_variant_that_an_engine_trains_has_data():
    for backend in registry.available():
        for family in backend.manifest.families:
            if family in families.load_families():
                found = models.find(family)
                assert found is not None, family
                assert {*found.encoders, found.vae} <= set(models.parts())
    assert {model.vae for model in MODELS.values()} == set(disk.LATENT)
    assert {models.find("sd3", variant).id for variant in ("3-medium", "3.5-medium", "3.5-large")} == {
        "sd3-medium",
        "sd35-medium",
        "sd35-large",
    }
    assert {models.find("flux2", variant).id for variant in ("dev", "klein-9b", "klein-4b")} == {
        "flux2-dev",
        "flux2-klein-9b",
        "flux2-klein-4b",
    }
    assert models.find("sd3", "of tomorrow").id == "sd35-large", "the largest is used for an unknown variant"
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
        ("flux2-klein-4b", "original", "lora", 5 * 8 + 20 * 2),
        ("flux2-klein-4b", "diffusers", "lora", 5 * 4 + 20),
        ("z_image", "original", "lora", 30 * 7),
        ("z_image", "diffusers", "lora", 34 * 4),
        ("qwen_image", "original", "lora", 60 * 12),
        ("qwen_image", "diffusers", "lora", 60 * 4),
        # 264 linear layers, of which 140 are attention. Source: musubi-tuner docs/krea2.md.
        ("krea2", "original", "lora", 264),
        ("krea2", "original", "attention", 140),
        # Source: SimpleTuner helpers/models/auraflow/model.py, DEFAULT_LORA_TARGET.
        ("auraflow", "diffusers", "lora", 4 * 8 + 32 * 4),
    ],
)
def test_networks_have_as_many_target_layers_as_the_engines_report(model, layout, target, count):
    """192, 722 and 282 modules: docs/records/2026-11-20-sd-scripts-cpu.md and 2026-11-21-every-setting.md."""
    assert sum(MODELS[model].layers_of(layout, target).values()) == count


def test_text_encoders_have_the_layers_of_a_lora():
    """264 modules: 192 and 72. Source: tests/data/headers/lora-kohya-sd15.json and the sizes of released LoRAs."""
    assert sum(models.parts()["clip_l"].layers.values()) == 72
    assert sum(models.parts()["clip_g"].layers.values()) == 192
    assert sum(models.parts()["clip_h"].layers.values()) == 23 * 6


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_memory_and_operations_of_a_step_grow_with_the_image(model):
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
def test_operations_match_published_figures(model, side, known):
    """Two operations per published multiplication: 401 billion for SD1.5 at 512 px, 2.99 trillion for SDXL at 1024 px.

    Source: Kim et al. 2023, BK-SDM, table 1; SSD-1B and Koala report the second.
    """
    assert MODELS[model].forward_operations(side) == pytest.approx(known, rel=0.15)


def test_swapped_blocks_match_the_figures_of_the_presets():
    """Of 22.2 GiB in bf16, 34 swapped blocks leave 2.4 GiB in VRAM, 30 leave 4.8, 27 leave 6.6, 25 leave 7.7.

    Source: presets.toml.
    """
    flux = MODELS["flux"]
    for blocks, left in ((34, 2.4), (30, 4.8), (27, 6.6), (25, 7.7)):
        swapped = flux.swapped_parameters(blocks, paired=True)
        assert 2 * (flux.parameters - swapped) / 2**30 == pytest.approx(left, abs=0.1)
    assert MODELS["sdxl"].swapped_parameters(5, paired=True) == 0


@pytest.mark.parametrize("backend", registry.available(), ids=lambda backend: backend.manifest.id)
def test_an_engine_swaps_fewer_blocks_than_the_estimate_counts(backend):
    for family, claim in backend.manifest.families.items():
        for cell in claim.methods.values():
            for variant, most in cell.swap.items():
                counted = sum(count for count, _ in models.find(family, variant).blocks.values())
                assert most < counted, (family, variant, counted)


def test_a_third_party_engine_declares_its_own_costs():
    plan = engine_plans.plan("sdxl")
    manifest = registry.get("rehearsal").manifest
    third_party = dataclasses.replace(manifest, estimate=Costs(layout="diffusers", start_s=(1, 2)))
    job = Workload.of(plan, Facts(engine_plans.machine()), third_party)
    assert job is not None
    assert job.costs == third_party.estimate
    without = Workload.of(plan, Facts(engine_plans.machine()), dataclasses.replace(manifest, estimate=None))
    assert without is not None
    assert (without.declared, without.costs) == (None, Costs())


@pytest.mark.parametrize("backend", registry.available(), ids=lambda backend: backend.manifest.id)
def test_declared_own_networks_match_the_translation_of_each_engine(backend):
    """The translation tables of the backends contain the module of each algorithm; the core cannot read them."""
    claimed = {name for claim in backend.manifest.families.values() for name in claim.algorithms}
    by_lycoris = {
        "musubi": set(),
        "kohya": {name for name, kind in kohya.TRANSLATION.algorithms.items() if kind.module == "lycoris.kohya"},
        "simpletuner": simpletuner.TRANSLATION.lycoris.keys() - {"lora"},
    }[backend.manifest.id]
    assert set(backend.manifest.estimate.own_networks) == claimed - by_lycoris


def test_declared_default_targets_match_the_translation_of_simpletuner():
    costs = registry.get("simpletuner").manifest.estimate
    for name, kind in simpletuner.TRANSLATION.lycoris.items():
        assert kind.targets == costs.usual_targets.get(name, costs.usual_target)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ((1, 100), "1 to 100 s"),
        ((360, 720), "6 to 12 min"),
        ((7200, 14400), "2.0 to 4.0 h"),
        ((80_000, 200_000), "22 to 56 h"),
        ((82_800, 619_200), "1.0 to 7.2 days"),
        ((2_294_031, 17_206_080), "27 to 199 days"),
        ((3600, 3600), "60 min"),
        ((32, 780), "32 s to 13 min"),
        ((300, 9000), "5 min to 2.5 h"),
        ((7620, 1500), "25 min to 2.1 h"),
    ],
)
def test_a_range_of_time_has_a_readable_unit(seconds, text):
    assert formatting.span(seconds) == text

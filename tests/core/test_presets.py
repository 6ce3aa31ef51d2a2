"""Memory presets: the documents' figures, how they relate, and that a training with each is possible."""

import pytest

from tests.support import engine_plans, told_variants
from trainer_core import hardware, profiles
from trainer_core.catalog import presets
from trainer_core.draft.facts import Facts
from trainer_core.engines import registry
from trainer_core.errors import EaselError
from trainer_core.estimate import estimate, models
from trainer_core.models.detection import Detection
from trainer_core.models.families import load_families
from trainer_core.plan import fields
from trainer_core.problems import blocking

CARDS = [
    ("flux-16", 512, 1, 16, "Prodigy", 1500),
    ("flux-24", 768, 2, 32, "AdamW8bit", 2000),
    ("sdxl-8", 512, 1, 8, "Prodigy", 1000),
    ("sdxl-16", 768, 1, 16, "AdamW8bit", 1500),
    ("sdxl-24", 1024, 2, 32, "AdamW8bit", 2000),
    ("sd3-8", 512, 1, 12, "Prodigy", 1000),
    ("sd3-16", 768, 1, 24, "AdamW8bit", 1500),
    ("sd3-24", 1024, 2, 32, "AdamW8bit", 2000),
]
MEMORY = {"ultra-low-memory": (1, 16), "low-memory": (1, 16), "standard-memory": (2, 8), "high-memory": (4, 4)}
EVERY = list(presets.shipped())


@pytest.mark.parametrize(
    ("name", "resolution", "batch", "rank", "optimizer", "steps"), CARDS, ids=[c[0] for c in CARDS]
)
def test_the_presets_for_eight_gpus_have_the_documents_figures(name, resolution, batch, rank, optimizer, steps):
    preset = presets.get(name)
    family, vram = name.split("-")
    assert (preset.families, preset.vram_gib) == ((family,), int(vram))
    shown = ("dataset.resolution", "schedule.batch_size", "network.rank", "optimizer.name", "schedule.steps")
    assert tuple(preset.values[path] for path in shown) == (resolution, batch, rank, optimizer, steps)
    assert preset.values["optimizer.learning_rate"] == (1.0 if optimizer == "Prodigy" else 1e-4)
    assert preset.values["network.alpha"] * 2 == rank


@pytest.mark.parametrize(("name", "figures"), MEMORY.items(), ids=list(MEMORY))
def test_the_four_memory_presets_average_sixteen_images_per_step(name, figures):
    values = presets.get(name).values
    assert (values["schedule.batch_size"], values["schedule.gradient_accumulation"]) == figures
    assert figures[0] * figures[1] == 16


def test_presets_that_keep_the_result_set_nothing_that_changes_it():
    harmless = {
        "schedule.batch_size",
        "schedule.gradient_accumulation",
        "memory.gradient_checkpointing",
        "memory.cache_latents",
        "memory.cache_text_encoder",
        "memory.blocks_to_swap",
        "memory.offload_checkpointing",
    }
    assert {preset.id for preset in presets.shipped().values() if preset.keeps_result} == set(MEMORY)
    for name in MEMORY:
        preset = presets.get(name)
        assert set(preset.values).union(*preset.by_family.values()) <= harmless


NEW_FAMILIES = {
    "flux2": "klein-9b",
    "z-image": "base",
    "qwen-image": "image",
    "qwen-image21": "",
    "krea2": "",
    "ernie-image": "base",
    "auraflow": "pony-v7",
    "kandinsky5-image": "",
    "longcat-image": "",
    "pixart": "900m",
}
"""The newer families by the beginning of their presets, with the variant that the presets are for."""
LARGE_ENCODERS = [
    "flux",
    "chroma",
    "sd3",
    "hunyuan_image",
    "lumina2",
    "flux2",
    "z_image",
    "qwen_image",
    "qwen_image21",
    "krea2",
    "ernie_image",
    "auraflow",
    "kandinsky5_image",
    "longcat_image",
    "pixart",
]


@pytest.mark.parametrize("family", LARGE_ENCODERS)
@pytest.mark.parametrize("name", MEMORY)
def test_large_text_encoders_do_not_stay_in_vram(name, family):
    assert presets.get(name).values_for(family)["memory.cache_text_encoder"] is True
    assert "memory.cache_text_encoder" not in presets.get(name).values_for("sdxl"), "tags may be shuffled there"


@pytest.mark.parametrize("name", EVERY)
def test_a_preset_contains_valid_settings_and_leaves_the_precision_to_the_gpu(name):
    preset = presets.get(name)
    assert preset.title
    assert preset.explanation
    assert preset.sources
    assert {*preset.families, *preset.by_family} <= set(load_families())
    for family in ("", *preset.by_family):
        values = preset.values_for(family)
        assert {path: sentence for path, value in values.items() if (sentence := fields.check(path, value)[1])} == {}
        assert all(fields.all_fields()[path].is_shared for path in values)


def jobs():
    """Every preset with every family it is for that an engine trains, on that engine, with and without each profile."""
    for preset in presets.shipped().values():
        for family in load_families():
            engines = [engine for engine in registry.available() if family in engine.manifest.families]
            if engines and preset.suits(family, "lora"):
                engine = min(engines, key=lambda engine: engine.manifest.rank)
                networks = [profile for profile in profiles.for_family(family) if profile.method == "lora"]
                for profile in (None, *networks):
                    yield pytest.param(
                        preset, family, engine, profile, id=f"{preset.id}-{family}-{profile and profile.id}"
                    )


@pytest.mark.parametrize(("preset", "family", "engine", "profile"), list(jobs()))
def test_a_preset_trains_over_every_profile_of_its_families(preset, family, engine, profile):
    claim = engine.manifest.families[family]
    values = {**(profile.settings if profile else {}), **preset.values_for(family), **told_variants.told(claim, "lora")}
    if not claim.cell("lora").swap:
        values.pop("memory.blocks_to_swap", None)
    values |= {
        f"model.{part}": f"/models/{part}.safetensors" for part in claim.parts if part not in claim.optional_parts
    }
    plan = engine_plans.plan(family, **{path.replace(".", "__"): value for path, value in values.items()})
    ignored = ("model.path", "dataset.path")
    found = [problem for problem in engine_plans.problems(engine, plan) if problem.path not in ignored]
    assert blocking(found) == ()
    assert engine.render(plan, engine_plans.place()).steps


FINETUNING = [
    pytest.param(preset, family, method, id=f"{preset.id}-{method}")
    for preset in presets.shipped().values()
    if preset.id.startswith("finetune-")
    for family in preset.families
    for method in preset.methods
]


@pytest.mark.parametrize(("preset", "family", "method"), FINETUNING)
def test_a_preset_for_finetuning_renders_and_fits_its_gpu_by_the_estimate(preset, family, method):
    engine = min(
        (one for one in registry.available() if method in getattr(one.manifest.families.get(family), "methods", ())),
        key=lambda one: one.manifest.rank,
    )
    claim = engine.manifest.families[family]
    values = {**preset.values_for(family), "model.method": method, "schedule.scheduler": "constant_with_warmup"}
    values |= {
        f"model.{part}": f"/models/{part}.safetensors" for part in claim.parts if part not in claim.optional_parts
    }
    plan = engine_plans.plan(family, **{path.replace(".", "__"): value for path, value in values.items()})
    ignored = ("model.path", "dataset.path")
    found = [problem for problem in engine_plans.problems(engine, plan) if problem.path not in ignored]
    assert blocking(found) == ()
    assert engine.render(plan, engine_plans.place()).steps
    variant = {"sd3": "3.5-medium", "flux": "dev"}.get(family, "base")
    detection = Detection(family=family, variant=variant, role="checkpoint")
    needed = estimate(plan, Facts(card(preset.vram_gib), detection=detection), (), engine.manifest)
    assert needed.vram_gib[0] < preset.vram_gib, needed.vram_gib
    middle = (needed.vram_gib[0] * needed.vram_gib[1]) ** 0.5
    assert middle <= preset.vram_gib * 0.95, needed.vram_gib


@pytest.mark.parametrize("name", [name for name in EVERY if name.rpartition("-")[0] in NEW_FAMILIES])
def test_a_preset_for_a_lora_of_a_family_of_2026_fits_its_gpu_by_the_estimate(name):
    """Weights in bf16 without the swapped blocks, and the activations; the rest is for the network and its optimizer."""
    preset = presets.get(name)
    model = models.find(preset.families[0], NEW_FAMILIES[name.rpartition("-")[0]])
    values = preset.values
    # musubi-tuner swaps the two kinds of blocks of FLUX.2 together, SimpleTuner one kind after the other.
    swapped = model.swapped_parameters(values["memory.blocks_to_swap"], paired=preset.families[0] == "flux2")
    left = model.parameters - swapped
    step = model.step_bytes(values["dataset.resolution"], trains_model=False, checkpointing=True)
    assert 2 * left + values["schedule.batch_size"] * step < 0.85 * preset.vram_gib * 2**30


TOO_LARGE = [("flux2-12", "musubi"), ("flux2-12", "simpletuner")]
"""Presets that the guide says do not fit with an engine: FLUX.2 klein 9B is trained on larger GPUs only."""


@pytest.mark.parametrize("name", [name for name in EVERY if name.rpartition("-")[0] in NEW_FAMILIES])
def test_a_preset_of_a_family_of_2026_fits_its_gpu_by_the_whole_estimate_of_each_engine(name):
    """With the text encoder in 8 bits while captions are encoded, which the plan proposes where it is too large."""
    preset, variant = presets.get(name), NEW_FAMILIES[name.rpartition("-")[0]]
    family = preset.families[0]
    detection = Detection(family=family, variant=variant, role="checkpoint")
    for engine in (one for one in registry.available() if family in one.manifest.families):
        values = {**preset.values, "model.variant": variant}
        native = engine.manifest.estimate.captions_in_8_bits.get(family, {})
        plan = engine_plans.plan(
            family,
            native={engine.manifest.id: dict(native)},
            **{path.replace(".", "__"): value for path, value in values.items()},
        )
        least, most = estimate(plan, Facts(card(preset.vram_gib), detection=detection), (), engine.manifest).vram_gib
        fits = (least * most) ** 0.5 < preset.vram_gib
        assert fits != ((name, engine.manifest.id) in TOO_LARGE), (engine.manifest.id, least, most)


def test_presets_for_loras_are_not_offered_for_finetuning_and_the_other_way_round():
    for family in ("sd15", "sdxl", "flux", "sd3"):
        full = {preset.id for preset in presets.for_family(family, "full")}
        assert full
        assert not full & {preset.id for preset in presets.for_family(family, "lora")}


def card(gib):
    device = hardware.Accelerator("cuda", "a card", int(gib * presets.GIB))
    return engine_plans.machine(device)


@pytest.mark.parametrize(
    ("family", "gib", "best"),
    [
        ("sdxl", 24, "sdxl-24"),
        ("sdxl", 22.5, "sdxl-24"),  # an A10G is sold as 24 GB
        ("sdxl", 15, "sdxl-16"),  # a T4 as 16
        ("sdxl", 12, "sdxl-8"),
        ("sdxl", 80, "sdxl-24"),
        ("flux", 12, "low-memory"),
        ("flux", 6, None),
        ("sd15", 12, "low-memory"),
    ],
)
def test_the_best_preset_is_the_largest_that_fits_the_gpu_and_one_for_the_family_first(family, gib, best):
    found = presets.best(presets.for_family(family), card(gib))
    assert (found and found.id) == best


def test_no_preset_fits_a_machine_without_a_gpu():
    assert presets.best(presets.for_family("sdxl"), engine_plans.machine()) is None


def test_the_presets_of_a_family_come_before_those_for_any_family():
    assert [preset.id for preset in presets.for_family("flux")] == ["flux-16", "flux-24", *MEMORY]
    assert [preset.id for preset in presets.for_family("sd15")] == list(MEMORY)


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(EaselError, match="sdxl-16"):
        presets.get("sdxl-17")

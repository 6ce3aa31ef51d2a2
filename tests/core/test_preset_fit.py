"""A memory preset whose training needs more than its GPU says so, with what makes it fit where something does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support import engine_plans
from trainer_core.catalog import presets
from trainer_core.draft.facts import Facts
from trainer_core.engines import registry
from trainer_core.estimate import estimate, memory, models
from trainer_core.hardware import Accelerator
from trainer_core.models.detection import Detection
from trainer_core.prepare import preset_fit, preset_job, problems, provenance
from trainer_core.prepare.state import State, begun
from trainer_core.problems import Problem

GIB = 2**30
ENGINES = [engine for engine in registry.available() if engine.manifest.estimate is not None]


def state_of(engine: str, family: str, variant: str, preset: str, gib: float = 0) -> State:
    """A job of a LoRA with a preset, on a machine with as much memory as the preset is for, or `gib`."""
    backend, size = registry.get(engine), int((gib or presets.get(preset).vram_gib) * GIB)
    machine = engine_plans.machine(Accelerator("cuda", "a card", size, size, "8.9"))
    facts = Facts(machine, Detection(family, "diffusion_model", variant=variant, prediction="flow"))
    is_told = bool(backend.manifest.families[family].cell("lora").flavours)
    values = {"model.family": family, "model.variant": variant if is_told else ""}
    return begun(facts, (backend,), {}).set(values).use_preset(presets.get(preset))


def cells(engine: str) -> Iterator[tuple[str, str, str, str]]:
    """(engine, family, variant, preset) of every preset for LoRAs, with each size of the family's model."""
    for family, claim in registry.get(engine).manifest.families.items():
        sizes = [model.variant for model in models.models().values() if model.family == family]
        for variant in sizes if "lora" in claim.methods else ():
            if variant not in claim.without:
                yield from ((engine, family, variant, one.id) for one in presets.for_family(family))


NO_FIX = {
    ("musubi", "flux2", "ultra-low-memory"),
    ("musubi", "krea2", "ultra-low-memory"),
    ("musubi", "qwen_image", "ultra-low-memory"),
    ("simpletuner", "flux2", "ultra-low-memory"),
    ("simpletuner", "krea2", "ultra-low-memory"),
    ("simpletuner", "krea2", "high-memory"),
    ("simpletuner", "qwen_image", "ultra-low-memory"),
    ("simpletuner", "ernie_image", "ultra-low-memory"),
    ("simpletuner", "longcat_image", "ultra-low-memory"),
    ("simpletuner", "kandinsky5_image", "ultra-low-memory"),
    ("simpletuner", "kandinsky5_image", "low-memory"),
    ("simpletuner", "kandinsky5_image", "standard-memory"),
}
"""Presets for a newer family that no change makes fit: they say that it needs a larger GPU."""


def needed(state: State) -> float:
    """The middle of the whole estimate, with every phase of the run."""
    assert state.backend is not None
    low, high = estimate(state.draft.sketch(), state.facts, (), state.backend.manifest).vram_gib
    return (low * high) ** 0.5


def said(state: State) -> list[Problem]:
    return [each for each in problems.problems(state) if "its memory preset is for" in each.message]


@pytest.mark.parametrize("engine", [engine.manifest.id for engine in ENGINES])
def test_a_preset_that_is_too_small_by_the_whole_estimate_is_never_silent(engine):
    silent, wrong, seen = [], [], 0
    for cell in cells(engine):
        state = state_of(*cell)
        assert state.preset is not None
        is_too_large, found = needed(state) > 0.95 * state.preset.vram_gib, preset_fit.shortfall(state)
        seen += 1
        if is_too_large != (found is not None):
            (silent if is_too_large else wrong).append(cell)
    assert seen > 10
    assert (silent, wrong) == ([], [])


NEWER = ["flux2", "z_image", "qwen_image", "krea2"]
NEWER += ["ernie_image", "auraflow", "kandinsky5_image", "longcat_image", "pixart"]


@pytest.mark.parametrize("family", NEWER)
def test_what_is_said_has_a_fix_with_which_it_fits(family):
    for engine, _, variant, preset in [cell for one in ENGINES for cell in cells(one.manifest.id) if cell[1] == family]:
        state = state_of(engine, family, variant, preset)
        assert state.preset is not None
        for problem in said(state):
            assert f"{state.preset.vram_gib:g} GB" in problem.message
            assert problem.fix is not None
            if problem.fix.is_advice:
                assert (engine, family, preset) in NO_FIX
                assert "larger GPU" in problem.fix.label
                continue
            assert needed(state.set(problem.fix.changes)) <= 0.95 * state.preset.vram_gib, problem.fix.label


def in_8_bits(preset: str, **values: object) -> State:
    """A job of Qwen-Image with a file in 8 bits, which musubi-tuner does not keep so."""
    state = state_of("musubi", "qwen_image", "image", preset)
    detection = replace(state.facts.detection, dtype="F8_E4M3") if state.facts.detection else None
    return state.with_facts(detection=detection).set({path.replace("__", "."): each for path, each in values.items()})


@pytest.mark.parametrize("preset", ["standard-memory", "high-memory"])
def test_a_change_that_the_file_does_not_allow_is_no_fix_and_another_one_is_tried(preset):
    (problem,) = said(in_8_bits(preset))
    assert problem.fix is not None
    assert "memory.fp8_base" not in problem.fix.changes
    assert problem.fix.changes["schedule.batch_size"] == 1
    assert not said(in_8_bits(preset).set(problem.fix.changes))


def test_an_option_that_the_program_does_not_have_is_no_fix_and_another_one_is_tried():
    """Only hunyuan_image_train_network.py can encode captions on the CPU."""
    found = {family: said(state_of("kohya", family, "", "low-memory"))[0].fix for family in ("flux", "hunyuan_image")}
    assert all(fix is not None and fix.changes for fix in found.values())
    assert found["flux"]
    assert "native" not in found["flux"].changes
    assert found["hunyuan_image"]
    assert "native" in found["hunyuan_image"].changes


def test_what_would_fit_but_for_the_file_is_told_with_the_reason():
    values = {"memory__blocks_to_swap": 0, "dataset__resolution": 512, "schedule__batch_size": 1}
    (problem,) = said(in_8_bits("high-memory", **values))
    assert problem.fix is not None
    assert problem.fix.is_advice
    assert "the base model in 8 bits: with that it would fit, but not with these files" in problem.fix.label
    assert "The weights in the file are F8_E4M3" in problem.fix.label


def test_images_get_smaller_only_if_nothing_gentler_is_enough():
    values = {"dataset__resolution": 1328, "schedule__batch_size": 1, "memory__blocks_to_swap": 44}
    (problem,) = said(in_8_bits("qwen-image-16", **values))
    assert problem.fix is not None
    assert problem.fix.changes["dataset.resolution"] == 1024
    divided = said(in_8_bits("qwen-image-16", schedule__batch_size=8))[0].fix
    assert divided
    assert divided.changes["schedule.gradient_accumulation"] == 8
    assert "dataset.resolution" not in divided.changes


def test_captions_of_a_large_text_encoder_are_named_before_the_start():
    state = state_of("musubi", "qwen_image", "image", "qwen-image-16").set({"sampling.every_steps": 0})
    (problem,) = said(state)
    assert (problem.severity, problem.path) == ("warning", "")
    assert problem.message.endswith("the most while encoding captions.")
    assert problem.fix is not None
    assert problem.fix.changes == {"native": {"musubi": {"fp8_vl": True}}}
    assert not said(state.set(problem.fix.changes))


def test_on_a_larger_gpu_it_is_only_information_and_without_a_preset_nothing_is_said():
    state = state_of("musubi", "qwen_image", "image", "qwen-image-16", gib=48)
    assert [each.severity for each in said(state)] == ["info"]
    assert not said(state.use_preset(None))


def test_a_preset_is_judged_with_the_precision_of_a_gpu_on_a_machine_without_one():
    state = state_of("simpletuner", "z_image", "turbo", "z-image-24")
    here = state.with_facts(machine=engine_plans.machine(Accelerator("cpu", "a CPU")))
    assert here.draft.values["memory.mixed_precision"] == "no"
    job = preset_fit._job(here)
    assert job is not None
    assert job.compute_bytes == 2
    assert not preset_fit.sentence(here)
    precise = here.set({"memory.mixed_precision": "no"})
    assert preset_fit.sentence(precise), "what the user set stays"


def test_the_size_of_a_variant_is_counted_where_only_the_plan_names_it():
    def at_most(variant: str) -> float:
        state = state_of("simpletuner", "flux2", "klein-9b", "flux2-24").set({"model.variant": variant})
        found = replace(state.facts, detection=Detection("flux2", "diffusion_model", prediction="flow"))
        return estimate(state.draft.sketch(), found, (), registry.get("simpletuner").manifest).vram_gib[1]

    assert at_most("klein-4b") + 5 < at_most("klein-9b")


SIZES = tuple(preset_job.sample_sides())


def test_a_preset_makes_samples_as_small_as_they_must_be_and_says_so():
    state = state_of("musubi", "qwen_image", "image", "qwen-image-24")
    assert [state.draft.values[path] for path in SIZES] == [1024, 1024]
    assert str(provenance.of(state, SIZES[0])).startswith("the memory preset 24 GB")
    (note,) = (each for each in problems.problems(state) if each.path == SIZES[0])
    assert note.severity == "info"
    assert "1024 x 1024 px instead of 1328 x 1328" in note.message
    assert not said(state)
    without = state.use_preset(None)
    assert [without.draft.values[path] for path in SIZES] == [1328, 1328]
    assert not [each for each in problems.problems(without) if each.path == SIZES[0]]
    assert [state.set({"sampling.every_steps": 0}).draft.values[path] for path in SIZES] == [1328, 1328]


def test_a_size_of_the_user_stays_and_its_shortfall_has_the_smaller_one_as_its_fix():
    state = state_of("musubi", "qwen_image", "image", "qwen-image-24").set(dict.fromkeys(SIZES, 1328))
    assert [state.draft.values[path] for path in SIZES] == [1328, 1328]
    (problem,) = said(state)
    assert problem.fix is not None
    assert problem.fix.label == "Use samples of 1024 x 1024 px"
    assert not said(state.set(problem.fix.changes))


@pytest.mark.parametrize("engine", [engine.manifest.id for engine in ENGINES])
def test_samples_of_a_preset_made_for_a_family_fit_its_gpu_or_the_shortfall_is_told(engine):
    for cell in (cell for cell in cells(engine) if presets.get(cell[3]).families):
        state = state_of(*cell)
        job = preset_fit._job(state)
        assert job is not None
        assert state.preset is not None
        fits = [phase for phase in memory.phases(job) if phase.name == memory.SAMPLES]
        low, high = fits[0].range_gib(job)
        if (low * high) ** 0.5 > 0.95 * state.preset.vram_gib:
            assert preset_fit.shortfall(state), cell
            assert state.draft.values[SIZES[0]] > 512, cell

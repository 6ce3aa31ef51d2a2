"""SimpleTuner: every setting is rendered or refused in every cell, and every rendered key is one its parser knows."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from backends.simpletuner import backend, problems, render, results, target
from tests.support import engine_plans, golden
from tests.support.simpletuner_plans import CELLS, FAMILIES, VARIANTS, found, full_plan, place, said
from trainer_core.engines import contract, launcher
from trainer_core.plan import fields
from trainer_core.problems import blocking

OWNED = set(backend.manifest.options.owned)
WITHOUT_A_FIX = {"dataset.path", "model.path"}
"""The model and the folder do not exist in a test."""


def options(plan, where=None) -> dict:
    return json.loads(backend.render(plan, where or place()).files[render.CONFIG])


def lycoris(plan) -> dict:
    return json.loads(backend.render(plan, place()).files[target.LYCORIS])


def images(plan) -> dict:
    return json.loads(backend.render(plan, place()).files[render.DATA])[0]


def unknown(plan, version: str = "4.10.1") -> list[str]:
    return problems.unknown_keys(backend.render(plan, place(version)).files, problems.recorded(version))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("family", "method"), CELLS)
def test_every_rendered_key_is_known_and_well_typed(family, method, variant):
    assert unknown(full_plan(family, method, **VARIANTS[variant])) == []


@pytest.mark.parametrize("variant", ["plain", "sampled"])
def test_every_key_for_version_3_is_known_to_it(variant):
    values = {**VARIANTS[variant], "dataset__shuffle_captions": False, "dataset__keep_tokens": 0}
    plan = engine_plans.plan("sdxl", network__alpha=16.0, **values)
    assert not blocking(found(plan, "3.1.6"))
    assert unknown(plan, "3.1.6") == []


@pytest.mark.parametrize(("family", "method"), CELLS)
def test_rendered_files_are_as_recorded(family, method):
    """One readable file a cell, in four plans that between them set most of what it has."""
    jobs = {name: backend.render(full_plan(family, method, **values), place()) for name, values in VARIANTS.items()}
    golden.check(f"simpletuner/{family}_{method}.txt", jobs)


@pytest.mark.parametrize(("family", "method"), CELLS)
def test_all_rendered_keys_belong_to_the_plan_alone(family, method):
    """A native setting can never meet a rendered one, except those of which a Problem says that they are said twice."""
    free = {"base_model_precision", "gradient_checkpointing_backend", "flow_schedule_auto_shift", "optimizer_config"}
    free |= {"validation_guidance_real", "disable_assistant_lora"}
    for values in VARIANTS.values():
        assert set(options(full_plan(family, method, **{**values, "native": {}}))) - free <= OWNED


@pytest.mark.parametrize(("family", "method"), CELLS)
def test_the_default_plan_can_be_trained_on_a_gpu(family, method):
    assert not blocking(found(engine_plans.plan(family, model__method=method)))


@pytest.mark.parametrize(("family", "word"), [("sd15", "SD1.x"), ("sd2", "SD2"), ("hunyuan_image", "HunyuanVideo")])
def test_families_it_cannot_train_are_refused_with_a_reason(family, word):
    assert family not in backend.manifest.families
    assert word in backend.manifest.refused[family]


def test_the_trainer_is_run_directly_by_its_configuration():
    job = backend.render(engine_plans.plan("sdxl"), place())
    assert job.steps[0].argv[1:] == ("-m", "simpletuner.train")
    assert job.steps[0].environment["CONFIG_PATH"] == str(place().run / render.CONFIG)


def test_launch_settings_go_through_accelerate():
    plan = engine_plans.plan("sdxl", native={"simpletuner": {"launch": {"num_processes": 2, "multi_gpu": True}}})
    job = backend.render(plan, place())
    assert job.steps[0].argv[1:3] == ("-m", "accelerate.commands.launch")
    assert job.steps[0].argv[3] == f"--config_file={place().run / launcher.CONFIG}"
    assert {"--num_processes=2", "--multi_gpu"} < set(job.steps[0].argv)
    assert launcher.CONFIG in job.files
    assert job.steps[0].argv[-2:] == ("--module", "simpletuner.train")
    assert "launch" not in options(plan)


def test_the_configuration_of_the_run_outranks_one_in_the_environment():
    variables = backend.render(engine_plans.plan("sdxl"), place()).steps[0].environment
    assert variables["SIMPLETUNER_CONFIG_BACKEND"] == variables["CONFIG_BACKEND"] == "json"


def test_the_shim_is_used_without_a_gpu_only():
    with_gpu = backend.render(engine_plans.plan("sdxl"), place()).steps[0].environment
    without = backend.render(engine_plans.plan("sdxl"), place(accelerator="cpu")).steps[0].environment
    assert "PYTHONPATH" not in with_gpu
    assert (Path(without["PYTHONPATH"]) / "sitecustomize.py").is_file()


@pytest.mark.parametrize("has_cuda", [True, False])
def test_the_shim_changes_torch_only_where_there_is_no_cuda(tmp_path, has_cuda):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text(
        "class Tensor:\n    def pin_memory(self): return 'pinned'\n"
        f"class cuda:\n    is_available = staticmethod(lambda: {has_cuda})\n"
        "class compiler:\n    cudagraph_mark_step_begin = staticmethod(lambda: 'compiler loaded')\n"
    )
    program = "import torch; tensor = torch.Tensor(); print(tensor.pin_memory() is tensor, torch.compiler.cudagraph_mark_step_begin())"
    path = f"{render.SHIM}{os.pathsep}{tmp_path}"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ("False compiler loaded" if has_cuda else "True None")


def test_a_cosine_lasts_as_long_as_the_run_and_ends_at_its_floor():
    plan = {"schedule__scheduler": "cosine_with_min_lr", "schedule__min_rate_ratio": 0.25, "schedule__steps": 700}
    rendered = options(engine_plans.plan("sdxl", optimizer__learning_rate=4e-4, **plan))
    assert (rendered["lr_scheduler"], rendered["lr_warmup_steps"]) == ("cosine", 700)
    assert rendered["lr_end"] == pytest.approx(1e-4)


def test_no_vae_is_downloaded():
    rendered = options(engine_plans.plan("sdxl"))
    assert rendered["pretrained_vae_model_name_or_path"] == rendered["pretrained_model_name_or_path"]


def test_a_prodigy_with_a_curve_is_another_than_the_schedule_free_one():
    plain = options(engine_plans.plan("sdxl", optimizer__name="Prodigy", schedule__scheduler="cosine"))
    free = options(engine_plans.plan("sdxl", optimizer__name="ProdigyPlusScheduleFree"))
    assert plain["optimizer"] == free["optimizer"] == "prodigy"
    assert "use_schedulefree=false" in plain["optimizer_config"].split(",")
    assert (plain["lr_scheduler"], free["lr_scheduler"]) == ("cosine", "constant")


def test_one_beta_brings_the_other_with_it_as_the_engine_has_it():
    rendered = options(engine_plans.plan("sdxl", optimizer__beta1=0.8))
    assert (rendered["optimizer_beta1"], rendered["optimizer_beta2"]) == (0.8, 0.99)
    assert "optimizer_beta1" not in options(engine_plans.plan("sdxl"))


@pytest.mark.parametrize("family", FAMILIES)
def test_shift_is_that_of_the_family_unless_asked_otherwise(family):
    usual = options(engine_plans.plan(family)).get("flow_schedule_shift")
    assert usual == {"sdxl": None, "pixart": None, "lumina2": 0.0, "auraflow": 1.73}.get(family, 3.0)
    if usual is not None:
        rendered = options(engine_plans.plan(family, schedule__flow_shift=5.0))
        assert (rendered["flow_schedule_shift"], rendered["flow_schedule_auto_shift"]) == (5.0, False)
        by_size = {"simpletuner": {"flow_schedule_auto_shift": True}}
        assert options(engine_plans.plan(family, native=by_size))["flow_schedule_shift"] == 0.0


def test_tags_are_shuffled_behind_those_that_are_kept():
    entry = images(engine_plans.plan("sdxl", dataset__shuffle_captions=True, dataset__keep_tokens=3))
    assert entry["caption_shuffle"]["position_start"] == 3
    assert entry["caption_shuffle"]["count"] > 1


def test_a_network_lies_on_the_layers_that_were_chosen():
    plan = engine_plans.plan("chroma", network__algorithm="lokr", network__targets="attention")
    assert lycoris(plan)["apply_preset"] == {"target_module": ["FluxAttention"]}
    everything = lycoris(engine_plans.plan("sdxl", network__algorithm="locon", network__rank_stabilized=True))
    assert "ResnetBlock2D" in everything["apply_preset"]["target_module"]
    assert everything["apply_preset"]["module_algo_map"]["ResnetBlock2D"] == {"rs_lora": True}


def test_a_plain_lora_of_chroma_is_made_by_lycoris_whose_names_are_known():
    plan = engine_plans.plan("chroma", network__rank=8, network__alpha=4.0)
    assert options(plan)["lora_type"] == "lycoris"
    made = lycoris(plan)
    assert (made["algo"], made["linear_dim"], made["linear_alpha"]) == ("lora", 8, 4)
    assert made["apply_preset"] == {"target_module": ["FluxAttention"]}


def test_dora_is_made_by_lycoris_whose_files_other_programs_read():
    found = lycoris(engine_plans.plan("sdxl", network__algorithm="dora", network__dropout=0.1))
    assert (found["algo"], found["dora_wd"], found["dropout"]) == ("lora", True, 0.1)


@pytest.mark.parametrize(
    ("steps", "every", "file"), [(100, 0, "checkpoint-100/"), (100, 50, "checkpoint-100/"), (100, 30, "")]
)
def test_the_finished_lora_is_the_checkpoint_of_the_last_step_which_alone_has_the_right_alpha(steps, every, file):
    plan = engine_plans.plan("sdxl", schedule__steps=steps, output__save_every_steps=every, network__alpha=16.0)
    final = backend.render(plan, place()).artefacts.final
    assert re.search(final.pattern, f"{file}{results.NETWORK_FILE}")
    assert "output.save_every_steps" not in said(plan)


def test_a_fully_trained_model_is_a_folder_with_all_its_parts():
    job = backend.render(engine_plans.plan("flux", model__method="full", output__save_every_steps=50), place())
    assert job.artefacts.final.glob == "pipeline"
    assert re.search(job.artefacts.checkpoints.pattern, "checkpoint-50/transformer")["step"] == "50"
    assert options(engine_plans.plan("flux", model__method="full"))["save_text_encoder"] is True


def test_a_last_step_that_is_not_saved_is_an_error_when_alpha_is_not_the_rank():
    plan = engine_plans.plan("sdxl", schedule__steps=1520, output__save_every_steps=500)
    (problem,) = [problem for problem in found(plan) if problem.path == "output.save_every_steps"]
    assert problem.severity == "error"
    assert problem.fix.changes == {"output.save_every_steps": 380}


@pytest.mark.parametrize(("family", "method"), CELLS)
def test_accepting_what_is_offered_ends_in_a_plan_that_can_be_trained(family, method):
    """Plans in which a third of all settings is another; a problem without a fix names what nobody can know."""
    draw = random.Random(f"{family} {method}")
    free = [path for path in fields.all_fields() if path not in ("model.path", "model.family", "model.method")]
    for _ in range(30):
        chosen = draw.sample(free, len(free) // 3)
        values = {path: contract.other_value(fields.all_fields()[path]) for path in chosen}
        plan = full_plan(family, method)
        for _ in range(12):
            plan = full_plan(family, method, **{path.replace(".", "__"): value for path, value in values.items()})
            fixes = [each.fix for each in engine_plans.problems(backend, plan, engine_plans.CARD) if each.fix]
            if not fixes:
                break
            for fix in fixes:
                values |= fix.changes
        left = {each.path for each in blocking(engine_plans.problems(backend, plan, engine_plans.CARD))}
        assert left <= WITHOUT_A_FIX, values
        assert unknown(plan) == []


def test_several_prompts_are_a_library_in_their_order():
    prompts = ({"text": "{trigger} at sea"}, {"text": "a castle"})
    job = backend.render(engine_plans.plan("sdxl", sampling__every_steps=5, sampling__prompts=prompts), place())
    config, library = (json.loads(job.files[path]) for path in (render.CONFIG, render.PROMPTS))
    assert list(library.items()) == [("prompt0", "blobbert at sea"), ("prompt1", "a castle")]
    assert config["user_prompt_library"] == str(place().run / render.PROMPTS)
    assert "validation_prompt" not in config


def test_a_value_that_all_prompts_share_is_used_for_all():
    prompts = ({"text": "one", "width": 768, "seed": 7}, {"text": "two", "width": 768, "seed": 7})
    plan = engine_plans.plan("sdxl", sampling__every_steps=5, sampling__prompts=prompts)
    config = json.loads(backend.render(plan, place()).files[render.CONFIG])
    assert (config["validation_resolution"], config["validation_seed"]) == ("768x512", 7)
    assert "sampling.prompts" not in {problem.path for problem in blocking(found(plan))}


@pytest.mark.parametrize(
    ("family", "guidance", "rendered"),
    [("krea2", 5.5, 4.5), ("krea2", 1.0, 0.0), ("krea2", 0.5, 0.0), ("flux", 5.5, 5.5)],
)
def test_guidance_is_counted_as_the_pipeline_of_the_family_counts_it(family, guidance, rendered):
    """A plan has the usual scale, where 1 is no guidance; the pipeline of Krea 2 adds 1 to what it is given."""
    plan = engine_plans.plan(family, sampling__every_steps=5, sampling__guidance=guidance)
    assert options(plan)["validation_guidance"] == rendered


def test_values_that_differ_between_prompts_are_refused_with_a_fix_that_works():
    prompts = ({"text": "one", "width": 768}, {"text": "two", "guidance": 2.0})
    plan = engine_plans.plan("sdxl", sampling__every_steps=5, sampling__prompts=prompts)
    (problem,) = [each for each in blocking(found(plan)) if each.path == "sampling.prompts"]
    assert "sample width, guidance" in problem.message
    assert problem.fix is not None
    mended = engine_plans.plan(
        "sdxl", sampling__every_steps=5, sampling__prompts=problem.fix.changes["sampling.prompts"]
    )
    assert "sampling.prompts" not in {each.path for each in found(mended)}


@pytest.mark.parametrize(
    ("name", "step", "prompt"),
    [
        ("step_10_validation_0_64x64.png", "10", "0"),
        ("step_10_validation_64x64.png", "10", None),
        ("step_240_prompt3_0_1024x1024.png", "240", "3"),
        ("step_240_prompt12_1024x1024.png", "240", "12"),
        ("step_0_prompt1__base_0_64x64.png", "0", "1"),
    ],
)
def test_a_sample_has_the_number_of_its_prompt(name, step, prompt):
    samples = backend.render(engine_plans.plan("sdxl"), place()).artefacts.samples
    match = re.search(samples.pattern, f"validation_images/{name}")
    assert match is not None
    assert (match["step"], match["prompt"]) == (step, prompt)

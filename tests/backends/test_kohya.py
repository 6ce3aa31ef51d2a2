"""sd-scripts: every setting is rendered or refused in every cell, and every rendered key is one its parsers know."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import pytest

from backends.kohya import backend, problems, render, target
from backends.kohya import dataset as dataset_files
from backends.kohya.cell import cell_of
from tests.support import engine_plans, golden
from tests.support.kohya_plans import CELLS, VARIANTS, full_plan, place
from trainer_core.engines import launcher
from trainer_core.engines.status import NOT_KNOWN

FAMILIES = sorted(backend.manifest.families)
OWNED = set(backend.manifest.options.owned)


def dataset(plan) -> dict:
    return tomllib.loads(backend.render(plan, place()).files[render.DATASET])["datasets"][0]


def configuration(plan) -> dict:
    tables = tomllib.loads(backend.render(plan, place()).files[render.CONFIG])
    return {name: value for table in tables.values() for name, value in table.items()}


PREDICTS_V = {"model__prediction": "v_prediction", "model__zero_terminal_snr": True}


def unknown(plan) -> list[str]:
    return problems.unknown_keys(backend.render(plan, place()).files, problems.script_options(plan, backend.manifest))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("family", "method"), CELLS)
def test_every_rendered_key_is_known_and_well_typed(family, method, variant):
    predicts = PREDICTS_V if "v_prediction" in backend.manifest.families[family].predictions else {}
    assert unknown(full_plan(family, method, **VARIANTS[variant], **predicts)) == []


@pytest.mark.parametrize(("family", "method"), CELLS)
def test_rendered_files_are_as_recorded(family, method):
    """One readable file a cell, in four plans that between them set most of what it has."""
    jobs = {name: backend.render(full_plan(family, method, **values), place()) for name, values in VARIANTS.items()}
    golden.check(f"kohya/{family}_{method}.txt", jobs)


def test_betas_are_one_argument_and_the_unset_ones_are_those_of_the_optimizer():
    arguments = configuration(engine_plans.plan("sd15", optimizer__name="Lion", optimizer__beta1=0.95))[
        "optimizer_args"
    ]
    assert "betas=(0.95, 0.99)" in arguments
    assert not [each for each in configuration(engine_plans.plan("sd15"))["optimizer_args"] if "betas" in each]


def test_warm_up_counts_the_steps_of_all_processes():
    values = {"schedule__scheduler": "cosine", "schedule__warmup_steps": 100}
    alone = engine_plans.plan("sdxl", **values)
    together = engine_plans.plan("sdxl", **values, native={"kohya": {"launch": {"num_processes": 4}}})
    assert (configuration(alone)["lr_warmup_steps"], configuration(together)["lr_warmup_steps"]) == (100, 400)


def test_lycoris_gets_a_choice_of_layers_that_names_none_twice():
    """Source: a run of sd-scripts with lycoris-lora 4.1.3: "duplicated lora name: lora_unet_time_embedding_linear_1"."""
    job = backend.render(engine_plans.plan("sd15", network__algorithm="locon"), place())
    layers = tomllib.loads(job.files[target.LAYERS])
    assert "TimestepEmbedding" not in layers["unet_target_module"]
    assert (
        configuration(engine_plans.plan("sd15", network__algorithm="locon"))["network_args"][-1]
        == "preset=engine/layers.toml"
    )
    ia3 = tomllib.loads(
        backend.render(engine_plans.plan("sdxl", network__algorithm="ia3"), place()).files[target.LAYERS]
    )
    assert ia3["use_fnmatch"]
    assert target.LAYERS not in backend.render(full_plan("flux", "lora", network__algorithm="full"), place()).files
    for values in ({"network__algorithm": "lora"}, {"network__algorithm": "lokr", "network__targets": "attention"}):
        assert target.LAYERS not in backend.render(engine_plans.plan("sd15", **values), place()).files
    assert target.LAYERS not in backend.render(engine_plans.plan("sdxl", network__algorithm="locon"), place()).files


def test_captions_reach_the_script_that_reads_them_from_one_file():
    where = dataclasses.replace(place(), captions={"1-a.png": "a cat", "2-b.png": "blobbert"})
    files = backend.render(engine_plans.plan("sd15", model__method="full"), where).files
    assert json.loads(files[dataset_files.METADATA]) == {
        "1-a.png": {"caption": "a cat"},
        "2-b.png": {"caption": "blobbert"},
    }


def test_launch_settings_go_through_accelerate():
    launch = {"num_processes": 2, "multi_gpu": True, "dynamo_backend": "no"}
    job = backend.render(engine_plans.plan("sdxl", native={"kohya": {"launch": launch}}), place())
    assert job.steps[0].argv[1:3] == ("-m", "accelerate.commands.launch")
    assert job.steps[0].argv[3] == f"--config_file={place().run / launcher.CONFIG}"
    assert {"--num_processes=2", "--multi_gpu"} < set(job.steps[0].argv)
    assert launcher.CONFIG in job.files
    assert job.steps[0].argv[-2:] == ("--config_file", str(place().run / render.CONFIG))
    assert "launch" not in str(job.files[render.CONFIG])


@pytest.mark.parametrize(("family", "method"), CELLS)
def test_all_rendered_keys_belong_to_the_plan_alone(family, method):
    """A native setting can never meet a rendered one, except those that Easel fixes for the user to change."""
    cell = cell_of(engine_plans.plan(family, model__method=method), backend.manifest)
    free = {
        "max_data_loader_n_workers",
        "persistent_data_loader_workers",
        "sdpa",
        "sample_sampler",
        *cell.fixed,
    }
    for values in VARIANTS.values():
        rendered = set(configuration(full_plan(family, method, **{**values, "native": {}})))
        assert rendered - free <= OWNED | {*cell.always, *cell.shifted, "network_args", "optimizer_args"}


def test_the_script_is_run_directly_and_the_files_are_named_absolutely():
    job = backend.render(engine_plans.plan("sdxl"), place())
    assert job.steps[0].argv[1].endswith("/sdxl_train_network.py")
    assert "accelerate" not in " ".join(job.steps[0].argv)
    assert job.steps[0].argv[-1] == str(place().run / render.CONFIG)


def test_a_relative_model_path_is_made_absolute():
    assert configuration(engine_plans.plan("sd15", model__path="base.safetensors"))[
        "pretrained_model_name_or_path"
    ] == str(Path.cwd() / "base.safetensors")


def test_prompts_cannot_become_options():
    plan = engine_plans.plan("sd15", **VARIANTS["sampled"])
    prompt = json.loads(backend.render(plan, place()).files[render.PROMPTS])[0]
    assert prompt["prompt"] == "blobbert --w 9999, smiling"
    assert prompt["width"] == 512


def test_each_of_several_prompts_has_its_own_values():
    prompts = ({"text": "{trigger} at sea"}, {"text": "a castle", "seed": 9, "guidance": 3.0, "negative_prompt": "fog"})
    job = backend.render(engine_plans.plan("sd15", **VARIANTS["sampled"], sampling__prompts=prompts), place())
    first, second = json.loads(job.files[render.PROMPTS])
    assert (first["prompt"], first["seed"], first["negative_prompt"]) == ("blobbert at sea", 42, "text")
    assert (second["prompt"], second["seed"], second["negative_prompt"]) == ("a castle", 9, "fog")
    assert second["scale"] == 3.0


def test_a_sample_has_the_number_of_its_prompt():
    samples = backend.render(engine_plans.plan("sd15", output__name="elena"), place()).artefacts.samples
    found = re.search(samples.pattern, "sample/elena_000240_11_20261129120000_42.png")
    assert found is not None
    assert (found["step"], found["prompt"]) == ("000240", "11")


def test_small_resolutions_get_buckets_the_engine_accepts():
    table = dataset(engine_plans.plan("sd15", dataset__resolution=64))
    assert table["min_bucket_reso"] <= 64 <= table["max_bucket_reso"]
    assert table["min_bucket_reso"] % 64 == table["max_bucket_reso"] % 64 == 0


@pytest.mark.parametrize(
    ("family", "values", "path"),
    [
        ("sd15", {"memory__cache_text_encoder": True}, "memory.cache_text_encoder"),
        ("sdxl", {"memory__cache_text_encoder": True, "dataset__shuffle_captions": True}, "memory.cache_text_encoder"),
        ("sdxl", {"memory__cache_text_encoder": True, "dataset__caption_dropout": 0.1}, "memory.cache_text_encoder"),
        (
            "sdxl",
            {"memory__cache_text_encoder": True, "network__train_text_encoder": True},
            "memory.cache_text_encoder",
        ),
        ("sd15", {"dataset__bucket_step": 32}, "dataset.bucket_step"),
        ("sdxl", {"dataset__bucket_step": 48}, "dataset.bucket_step"),
        ("sd15", {"dataset__bucketing": False, "dataset__resolution": 500}, "dataset.resolution"),
        ("sd15", {"schedule__scheduler": "constant", "schedule__warmup_steps": 10}, "schedule.warmup_steps"),
        ("sd15", {"memory__mixed_precision": "fp16"}, "memory.mixed_precision"),
        ("sd15", {"model__clip_skip": 2}, "model.clip_skip"),
        ("sd15", {"network__algorithm": "boft", "network__rank": 4}, "network.rank"),
        ("sd15", {"model__method": "full", "memory__cache_latents": False}, "memory.cache_latents"),
        ("sd15", {"model__method": "full", "dataset__random_crop": True}, "dataset.random_crop"),
        ("sd3", {"network__algorithm": "loha", "network__targets": "attention"}, "network.targets"),
        (
            "sd15",
            {"optimizer__name": "Prodigy", "optimizer__learning_rate": 1.0, "network__train_text_encoder": True},
            "optimizer.text_encoder_learning_rate",
        ),
    ],
)
def test_what_would_stop_the_engine_is_an_error_with_a_fix_that_mends_it(family, values, path):
    def found(changed):
        said = backend.problems(engine_plans.plan(family, **changed), engine_plans.machine(engine_plans.CPU), NOT_KNOWN)
        return [problem for problem in said if problem.path == path and problem.severity == "error"]

    (problem,) = found(values)[:1]
    assert problem.fix is not None
    changes = {key.replace(".", "__"): value for key, value in problem.fix.changes.items()}
    assert found({**values, **changes}) == []


@pytest.mark.parametrize(
    ("family", "method", "values", "path"),
    [
        ("sd15", "lora", {"dataset__keep_tokens": 2}, "dataset.keep_tokens"),
        ("sd15", "lora", {"optimizer__text_encoder_learning_rate": 1e-3}, "optimizer.text_encoder_learning_rate"),
        ("sdxl", "lora", {"model__clip_skip": 2}, "model.clip_skip"),
        ("flux", "lora", {"schedule__min_snr_gamma": 5.0}, "schedule.min_snr_gamma"),
        ("flux", "lora", {"schedule__noise_offset": 0.1}, "schedule.noise_offset"),
        ("sd15", "lora", {"schedule__flow_shift": 3.0}, "schedule.flow_shift"),
        ("sdxl", "lora", {"memory__blocks_to_swap": 3}, "memory.blocks_to_swap"),
        ("sdxl", "lora", {"memory__fused_backward": True}, "memory.fused_backward"),
        ("flux", "lora", {"network__algorithm": "lokr", "network__conv_rank": 4}, "network.conv_rank"),
        (
            "sdxl",
            "lora",
            {"optimizer__name": "RAdamScheduleFree", "schedule__warmup_steps": 5},
            "schedule.warmup_steps",
        ),
        ("sdxl", "textual_inversion", {"dataset__caption_dropout": 0.1}, "dataset.caption_dropout"),
        (
            "sdxl",
            "lora",
            {"network__algorithm": "lokr", "network__targets": "attention_mlp", "network__conv_rank": 4},
            "network.conv_rank",
        ),
    ],
)
def test_what_has_no_effect_is_said(family, method, values, path):
    said = engine_plans.problems(backend, full_plan(family, method, **values))
    (problem,) = [problem for problem in said if problem.path == path]
    assert problem.severity in ("info", "warning")
    assert problem.fix is not None


def test_a_step_of_32_is_fine_for_sdxl():
    plan = engine_plans.plan("sdxl", dataset__bucket_step=32)
    assert not backend.problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)


@pytest.mark.parametrize(("family", "method"), CELLS)
def test_the_default_plan_has_no_problems_on_a_gpu(family, method):
    assert not backend.problems(full_plan(family, method), engine_plans.machine(engine_plans.CARD), NOT_KNOWN)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("lerning_rate", 1e-4, "learning_rate"),
        ("xformers", True, "easel backends trial kohya"),
        ("lr_scheduler_type", "torch.optim.lr_scheduler.StepLR", "does not name code"),
        ("network_weights", "/models/old.pt", "must be a .safetensors file"),
        ("launch", {"num_process": 2}, "num_processes"),
        ("launch", {"num_processes": "two"}, "whole number"),
        ("launch", {"module": True}, "cannot be set"),
        ("fused_optimizer_groups", 4, "no option"),
        ("scale_weight_norms", "0.1", "must be a number"),
        ("loss_type", "l3", "must be one of"),
        ("network_args", "conv_dim=4", "must be a list"),
        ("network_args", ["block_dims=4"], "more than one rank"),
        ("network_args", ["rank_dropout=0.1"], "change network.rank_dropout"),
        ("network_args", ["loraplus_lr=4"], "Did you mean loraplus_lr_ratio?"),
        ("network_args", ["conv_dim=4"], "change network.conv_rank"),
        ("network_args", ["use_tucker=True"], "choose locon"),
        ("optimizer_args", ["growth_rat=2"], "AdamW does not take 'growth_rat'"),
        ("optimizer_args", ["amsgrd=True"], "Did you mean amsgrad?"),
        ("optimizer_args", ["weight_decay=0.1"], "change optimizer.weight_decay"),
        ("optimizer_args", ["betas=(0.9, 0.9)"], "change optimizer.beta1 and optimizer.beta2"),
        ("optimizer_args", ["lr=1"], "change optimizer.learning_rate"),
        ("optimizer_args", ["growth_rate=1.02"], "Prodigy does"),
        ("optimizer_args", ["amsgrad=1"], "must be True or False"),
        ("optimizer_args", ["amsgrad=true"], "in Python's notation"),
        ("optimizer_args", ["maximize=True"], "away from the images"),
        ("optimizer_args", ["amsgrad=True", "amsgrad=False"], "is there twice"),
        ("metadata_thumbnail", "/home/user/.ssh/id_ed25519", "any file of this machine"),
        ("network_weights", "/models/old.SAFETENSORS", "must be a .safetensors file"),
        ("masked_loss", True, "has no effect without alpha_mask"),
        ("block_lr", "1e-4", "no option"),
        ("network_args", ["loraplus_lr_ratio=many"], "must be a number"),
        ("save_last_n_epochs", 10, "output.keep_last"),
        ("network_args", ["loraplus_lr_ratio"], "must have the form"),
        ("scale_v_pred_loss_like_noise_pred", True, "only with v-prediction models"),
        ("adaptive_noise_scale", 0.1, "noise offset"),
        ("min_bucket_reso", 1024, "does not fit the resolution"),
        ("dim_from_weights", True, "cannot be set"),
        ("network_train_text_encoder_only", True, "cannot be set"),
        ("learning_rate", 1.0, "follows from optimizer.learning_rate: change that one"),
        ("max_train_epochs", 3, "cannot be set"),
        ("wandb_api_key", "secret", "cannot be set"),
    ],
)
def test_native_settings_are_checked_against_the_recorded_schema(name, value, said):
    plan = engine_plans.plan("sd15", native={"kohya": {name: value}})
    (problem,) = backend.problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)
    assert problem.path.startswith(f"native.kohya.{name}")
    assert said in problem.message


def test_a_masked_loss_without_masks_can_be_mended_by_one_click():
    plan = engine_plans.plan("sd15", native={"kohya": {"masked_loss": True, "lowram": True}})
    (problem,) = backend.problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)
    assert problem.fix.changes == {"native": {"kohya": {"masked_loss": True, "lowram": True, "alpha_mask": True}}}
    mended = engine_plans.plan("sd15", **problem.fix.changes)
    assert not backend.problems(mended, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate_te3", 1.0),
        ("network_args", ["loraplus_lr_ratio=20000"]),
        ("network_args", ["up_lr_weight=1,1,1,1,1,1,1,1,1,1,1,99999"]),
    ],
)
def test_a_learning_rate_in_a_native_setting_that_destroys_the_weights_is_an_error(name, value):
    family, method = ("sd3", "full") if name == "learning_rate_te3" else ("sd15", "lora")
    plan = engine_plans.plan(family, model__method=method, native={"kohya": {name: value}})
    found = backend.problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)
    assert any(one.severity == "error" and "destroys the weights" in one.message for one in found)


def test_samples_are_drawn_as_the_model_was_made_for():
    sampled = {"sampling__every_steps": 5}
    chroma = backend.render(full_plan("chroma", "lora", **sampled), place()).files[render.PROMPTS]
    assert json.loads(chroma)[0]["guidance_scale"] == 0.0
    lumina = full_plan("lumina2", "lora", **sampled, sampling__seed=0)
    (problem,) = backend.problems(lumina, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)
    assert (problem.path, problem.severity) == ("sampling.seed", "error")


@pytest.mark.parametrize("native", [{"weighted_captions": True}, {"token_warmup_step": 10}])
def test_native_settings_that_change_cached_captions_are_refused(native):
    plan = full_plan("sdxl", "lora", memory__cache_text_encoder=True, native={"kohya": native})
    assert [each.severity for each in backend.problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)] == [
        "error"
    ]


def test_a_native_sampling_of_timesteps_does_not_hide_the_shift():
    plan = full_plan("flux", "lora", schedule__flow_shift=5.0, native={"kohya": {"timestep_sampling": "sigmoid"}})
    (problem,) = backend.problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)
    assert problem.path == "native.kohya.timestep_sampling"


def test_a_flow_model_has_no_signal_to_noise_ratio():
    def said(**native):
        plan = full_plan("flux", "lora", native={"kohya": {"loss_type": "huber", **native}})
        return [problem.path for problem in backend.problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)]

    assert said() == ["native.kohya.loss_type"]
    assert said(huber_schedule="constant") == []


def test_native_settings_that_are_known_reach_the_configuration():
    plan = engine_plans.plan("sd15", native={"kohya": {"network_args": ["loraplus_lr_ratio=4"], "ip_noise_gamma": 0.1}})
    assert not backend.problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)
    assert configuration(plan)["network_args"] == ["loraplus_lr_ratio=4"]

"""What SimpleTuner would fail at or ignore is a Problem, and its fix removes the Problem."""

from __future__ import annotations

import json

import pytest

from backends.simpletuner import backend
from tests.support import engine_plans
from tests.support.simpletuner_plans import FAMILIES, said

LOKR = {"network__algorithm": "lokr"}
FUSED = {"model__method": "full", "memory__fused_backward": True}


@pytest.mark.parametrize(
    ("family", "values", "path"),
    [
        ("sdxl", {"network__train_text_encoder": True}, "network.train_text_encoder"),
        ("sdxl", {"memory__mixed_precision": "fp16"}, "memory.mixed_precision"),
        ("sdxl", {"schedule__min_snr_gamma": 4.5}, "schedule.min_snr_gamma"),
        ("sdxl", {"dataset__resolution": 1000}, "dataset.resolution"),
        ("sdxl", {"model__vae": "/models/vae.safetensors"}, "model.vae"),
        ("flux", {"model__vae": "/models/sdxl/vae"}, "model.vae"),
        ("anima", {"model__qwen": "/models/qwen.safetensors"}, "model.qwen"),
        ("sdxl", {"model__prediction": "flow"}, "model.prediction"),
        ("flux", {"model__prediction": "epsilon"}, "model.prediction"),
        ("sdxl", {"schedule__seed": 0}, "schedule.seed"),
        ("sdxl", {"schedule__scheduler": "sine"}, "schedule.warmup_steps"),
        ("sdxl", {"optimizer__name": "Adan", "optimizer__beta3": 0.9}, "optimizer.beta3"),
        ("sdxl", {"optimizer__name": "Prodigy", "optimizer__safeguard_warmup": True}, "optimizer.safeguard_warmup"),
        ("sdxl", {**LOKR, "network__alpha": 2.5}, "network.alpha"),
        ("sdxl", {"network__algorithm": "dylora", "network__block_size": 5}, "network.block_size"),
        ("chroma", {"network__alpha": 2.5}, "network.alpha"),
        ("sdxl", {"network__algorithm": "boft", "network__rank": 4}, "network.rank"),
        ("flux", {"network__algorithm": "boft", "network__targets": "full"}, "network.rank"),
        ("sdxl", {"network__algorithm": "glora", "network__rank_stabilized": True}, "network.rank_stabilized"),
        ("sd3", {**LOKR, "network__train_norm": True}, "network.train_norm"),
        ("sdxl", {**LOKR, "memory__fp8_base": True}, "memory.fp8_base"),
        ("sdxl", {"model__method": "full", "memory__fp8_base": True}, "memory.fp8_base"),
        (
            "flux",
            {"memory__offload_checkpointing": True, "memory__gradient_checkpointing": False},
            "memory.offload_checkpointing",
        ),
        ("sdxl", {**FUSED, "optimizer__name": "Adafactor"}, "memory.fused_backward"),
        ("sdxl", FUSED, "optimizer.max_grad_norm"),
        ("sdxl", {**FUSED, "schedule__gradient_accumulation": 2}, "schedule.gradient_accumulation"),
        ("flux", {"sampling__every_steps": 9, "sampling__width": 520}, "sampling.width"),
    ],
)
def test_what_would_stop_or_spoil_a_run_is_an_error_with_a_fix_that_mends_it(family, values, path):
    def wrong(changed):
        plan = engine_plans.plan(family, **changed)
        every = engine_plans.problems(backend, plan)
        return [problem for problem in every if problem.path == path and problem.severity == "error"]

    (problem,) = wrong(values)
    assert problem.fix is not None
    changes = {key.replace(".", "__"): value for key, value in problem.fix.changes.items()}
    assert wrong({**values, **changes}) == []


@pytest.mark.parametrize(
    ("family", "values", "path", "severity"),
    [
        ("sdxl", {"dataset__shuffle_captions": True}, "dataset.shuffle_captions", "info"),
        ("sdxl", {"dataset__keep_tokens": 1}, "dataset.keep_tokens", "info"),
        ("sdxl", {"dataset__flip": True}, "dataset.flip", "warning"),
        ("sdxl", {"dataset__random_crop": True}, "dataset.random_crop", "warning"),
        ("sdxl", {"dataset__color_augmentation": True}, "dataset.color_augmentation", "warning"),
        ("sdxl", {"dataset__tag_dropout": 0.1}, "dataset.tag_dropout", "warning"),
        ("sdxl", {"model__clip_skip": 2}, "model.clip_skip", "warning"),
        ("sdxl", {"dataset__bucket_step": 32}, "dataset.bucket_step", "warning"),
        ("anima", {}, "dataset.bucket_step", "info"),
        ("sdxl", {"schedule__scheduler": "cosine", "schedule__warmup_steps": 5}, "schedule.warmup_steps", "warning"),
        (
            "sdxl",
            {"optimizer__name": "ProdigyPlusScheduleFree", "schedule__warmup_steps": 5},
            "schedule.warmup_steps",
            "warning",
        ),
        ("flux", {"schedule__min_snr_gamma": 5.0}, "schedule.min_snr_gamma", "warning"),
        ("flux", {"schedule__noise_offset": 0.1}, "schedule.noise_offset", "warning"),
        ("sdxl", {"schedule__flow_shift": 3.0}, "schedule.flow_shift", "warning"),
        ("sdxl", {"sampling__every_steps": 9, "sampling__seed": 0}, "sampling.seed", "warning"),
        ("sdxl", {"output__save_precision": "fp16"}, "output.save_precision", "info"),
        ("sdxl", {"network__rank_dropout": 0.1}, "network.rank_dropout", "warning"),
        ("sdxl", {"network__algorithm": "boft", "network__rank_dropout": 0.1}, "network.rank_dropout", "warning"),
        ("sdxl", {**LOKR, "network__conv_rank": 4}, "network.conv_rank", "warning"),
        ("flux", {**LOKR, "network__tucker": True}, "network.tucker", "warning"),
        ("sdxl", {"memory__blocks_to_swap": 3}, "memory.blocks_to_swap", "warning"),
        ("sdxl", {"memory__offload_checkpointing": True}, "memory.offload_checkpointing", "warning"),
        ("sdxl", {"memory__fused_backward": True}, "memory.fused_backward", "warning"),
        ("sdxl", {}, "memory.half_weights", "info"),
        (
            "sdxl",
            {"memory__half_weights": True, "memory__mixed_precision": "no"},
            "memory.half_weights",
            "warning",
        ),
    ],
)
def test_what_it_does_otherwise_or_not_at_all_is_said(family, values, path, severity):
    assert said(engine_plans.plan(family, **values)).get(path) == severity


@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_file_is_enough_where_the_file_holds_everything(family):
    plan = engine_plans.plan(family, model__path="/models/base.safetensors")
    assert said(plan)["model.path"] == ("info" if family == "sdxl" else "error")
    whole = engine_plans.plan(family, model__path="/models/base.safetensors", model__method="full")
    assert said(whole)["model.path"] == "error"


def test_what_a_gpu_is_needed_for_is_said_without_one():
    plan = engine_plans.plan("flux", memory__offload_checkpointing=True, memory__blocks_to_swap=4)
    without = said(plan, accelerator=engine_plans.CPU)
    assert without["memory.offload_checkpointing"] == without["memory.blocks_to_swap"] == "warning"
    assert not {"memory.offload_checkpointing", "memory.blocks_to_swap"} & said(plan).keys()


@pytest.mark.parametrize(
    ("native", "path"),
    [
        ({"resume_from_checkpoint": "latest"}, "resume_from_checkpoint"),
        ({"use_ema": "yes"}, "use_ema"),
        ({"nonsense": 1}, "nonsense"),
        ({"lora_rank": 4}, "lora_rank"),
        ({"launch": {"num_process": 2}}, "launch.num_process"),
        ({"launch": {"module": True}}, "launch.module"),
        ({"launch": {"num_processes": "two"}}, "launch.num_processes"),
    ],
)
def test_native_settings_are_checked(native, path):
    plan = engine_plans.plan("sdxl", native={"simpletuner": native})
    assert said(plan)[f"native.simpletuner.{path}"] == "error"


@pytest.mark.parametrize(
    ("family", "native", "values"),
    [
        ("sdxl", {"base_model_precision": "int8-quanto"}, {"memory__fp8_base": True}),
        ("flux", {"gradient_checkpointing_backend": "unsloth"}, {"memory__offload_checkpointing": True}),
        ("flux", {"flow_schedule_auto_shift": True}, {"schedule__flow_shift": 3.0}),
    ],
)
def test_what_is_said_twice_is_an_error(family, native, values):
    (name,) = native
    plan = engine_plans.plan(family, native={"simpletuner": native}, **values)
    assert said(plan)[f"native.simpletuner.{name}"] == "error"
    alone = engine_plans.plan(family, native={"simpletuner": native})
    assert f"native.simpletuner.{name}" not in said(alone)


def test_version_3_may_have_an_alpha_that_is_not_the_rank_because_easel_adds_it_to_the_layers():
    plan = engine_plans.plan("sdxl", network__rank=8, network__alpha=4.0)
    assert "network.alpha" not in said(plan, "3.1.6")


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"network__algorithm": "lokr"}, "network.algorithm"),
        ({"model__method": "full"}, "model.method"),
        ({"model__family": "flux"}, "model.family"),
        ({"optimizer__name": "Lion8bit"}, "optimizer.name"),
        ({"optimizer__beta1": 0.8}, "optimizer.beta1"),
        ({"memory__fp8_base": True}, "memory.fp8_base"),
    ],
)
def test_what_version_3_does_not_have_is_an_error_there_and_not_with_4(values, path):
    plan = engine_plans.plan("sdxl", **values)
    assert said(plan, "3.1.6")[path] == "error"
    assert said(plan).get(path) != "error"


ADAPTER = "ostris/zimage_turbo_training_adapter/zimage_turbo_training_adapter_v2.safetensors"


def test_a_distilled_model_is_trained_with_an_adapter_from_a_file_or_without_one():
    turbo, file = {"model__variant": "turbo"}, {"assistant_lora_path": "/adapters/v2.safetensors"}
    setting, off = "native.simpletuner.assistant_lora_path", "native.simpletuner.disable_assistant_lora"

    def about(native, **values):
        return said(engine_plans.plan("z_image", **{**turbo, **values}, native={"simpletuner": native}))

    assert about({})[setting] == "error"
    found = {
        each.path: each for each in engine_plans.problems(backend, engine_plans.plan("z_image", model__variant="turbo"))
    }
    assert found[setting].fix.task.setting == setting
    assert found[setting].fix.task.command == f"easel models download hf:{ADAPTER}"
    assert found[off].fix.changes == {"native": {"simpletuner": {"disable_assistant_lora": True}}}
    assert setting not in about(file)
    assert about({"disable_assistant_lora": True})[off] == "warning"
    assert about({}, model__method="full")["model.variant"] == "warning"
    assert setting not in about({}, model__variant="base")
    for family, claim in backend.manifest.families.items():
        for cell in claim.methods.values():
            assert cell.adapters.keys() <= (cell.flavours.keys() or {""}), family


def rendered(family, **values):
    files = backend.render(engine_plans.plan(family, **values), engine_plans.place()).files
    return json.loads(next(text for path, text in files.items() if path.name == "config.json"))


def test_qwen_image_21_gets_its_adapter_from_a_file_or_none_and_is_not_called_distilled():
    setting, file = "native.simpletuner.assistant_lora_path", {"assistant_lora_path": "/adapters/v3.safetensors"}
    off = {"disable_assistant_lora": True}

    def about(native, **values):
        return engine_plans.problems(
            backend, engine_plans.plan("qwen_image21", **values, native={"simpletuner": native})
        )

    (problem,) = (each for each in about({}) if each.path == setting)
    assert problem.severity == "info"
    assert "distilled" not in problem.message
    assert problem.fix.task.setting == setting
    assert problem.fix.task.command.startswith(
        "easel models download hf:SimpleTuner/Qwen-Image-2.1-training-assistant-v3/"
    )
    for native, values in ((file, {}), (off, {}), ({}, {"model__method": "full"})):
        assert not {each.path for each in about(native, **values)} & {setting, "model.variant"}
    assert rendered("qwen_image21")["disable_assistant_lora"] is True
    assert "disable_assistant_lora" not in rendered("qwen_image21", native={"simpletuner": file})


def test_the_vae_of_qwen_image_21_is_the_one_of_the_model_unless_another_is_chosen():
    """The engine would use one from the Hub that is no part of the model."""
    assert rendered("qwen_image21")["pretrained_vae_model_name_or_path"] == "/models/base"
    assert rendered("qwen_image21", model__vae="/models/fix")["pretrained_vae_model_name_or_path"] == "/models/fix"


def test_the_guidance_of_qwen_images_samples_is_the_one_of_the_plan_or_that_is_said():
    for family in ("qwen_image", "qwen_image21"):
        sampled = {"sampling__every_steps": 10, "sampling__prompt": "a cat", "sampling__guidance": 5.0}
        config = rendered(family, **sampled)
        assert config["validation_guidance_real"] == 5.0
        assert "validation_guidance" not in config
        weak = said(engine_plans.plan(family, **{**sampled, "sampling__guidance": 1.0}))
        assert ("sampling.guidance" in weak) == (family == "qwen_image")


def test_samples_of_qwen_image_21_have_sides_that_its_pipeline_does_not_shorten():
    sides = {
        "sampling__every_steps": 10,
        "sampling__prompt": "a cat",
        "sampling__width": 1040,
        "sampling__height": 1024,
    }
    assert said(engine_plans.plan("qwen_image21", **sides))["sampling.width"] == "error"
    assert "sampling.width" not in said(engine_plans.plan("qwen_image", **sides))

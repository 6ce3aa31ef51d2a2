"""Plans with a Problem, and what the scripts of sd-scripts do with them if they are started anyway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from backends.kohya import backend
from backends.kohya.cell import KohyaCell, cell_of
from tests.support import engine_plans
from trainer_core.engines import contract

OFFLOAD = "got an unexpected keyword argument 'cpu_offload'"
CACHED_CAPTIONS = "when caching Text Encoder output"
TRAINED_AND_CACHED = {
    "sdxl_train_network.py": "network for Text Encoder cannot be trained with caching",
    "anima_train_network.py": "network for Text Encoder cannot be trained with caching",
    "sdxl_train.py": "cache_text_encoder_outputs is not supported when training text encoder",
    "sd3_train.py": "when training text encoder, text encoder outputs must not be cached",
}
"""By script. The other scripts do not check this: they do not train the text encoder, or they do not use the cache."""
SWAP_AND_OFFLOAD = "blocks_to_swap is not supported with cpu_offload_checkpointing"
FINETUNED_FLOWS = "sd3_train.py", "flux_train.py", "lumina_train.py", "anima_train.py"


@dataclass(frozen=True)
class Refused:
    """One plan with a Problem at `path`, and what the engine does.

    "stops": it raises an error that contains `message`. "warns": it continues, and its log contains `message`. "not rendered":
    the value is in none of the rendered files, so that it would have no effect; the options in `forced` are then added to the
    files, and the engine raises `message`, if there is one. "accepts": it accepts the value without an error or a warning.
    """

    family: str
    method: str
    values: Mapping[str, Any]
    path: str
    engine: Literal["stops", "warns", "not rendered", "accepts"]
    message: str = ""
    severity: str = "error"
    forced: Mapping[str, Any] = field(default_factory=dict)
    native: Mapping[str, Any] = field(default_factory=dict)
    """Native settings of the plan, which cause the Problem."""


def cases() -> dict[str, Refused]:
    """The cases by a descriptive name. Each script is tested with one of the families that it trains."""
    found: dict[str, Refused] = {}
    seen: set[str] = set()
    for family, method in contract.cells(backend):
        cell = cell_of(engine_plans.plan(family, model__method=method), backend.manifest)
        if cell.program in seen and family != "chroma":
            continue
        seen.add(cell.program)
        for name, case in (
            *_images(family, method, cell),
            *_captions(family, method, cell),
            *_precision(family, method, cell),
            *_blocks(family, method, cell),
            *_learning(family, method, cell),
        ):
            found[f"{family}, {method}: {name}"] = case
    found |= {f"{case.family}, {case.method}: {name}": case for name, case in _single()}
    return found


Cases = Iterator[tuple[str, Refused]]


def _images(family: str, method: str, cell: KohyaCell) -> Cases:
    wanted = cell.bucket_step
    wrong = wanted // 2 if wanted > 8 else wanted + wanted // 2
    yield (
        "bucket step",
        Refused(
            family,
            method,
            {"dataset__bucket_step": wrong},
            "dataset.bucket_step",
            "stops",
            f"it must be divisible by {wanted}",
        ),
    )
    name = "color_augmentation" if family == "sdxl" else "random_crop"
    yield (
        name,
        Refused(
            family,
            method,
            {f"dataset__{name}": True},
            f"dataset.{name}",
            "stops",
            "when caching latents, either color_aug or random_crop cannot be used",
        ),
    )


def _captions(family: str, method: str, cell: KohyaCell) -> Cases:
    path, how = "memory.cache_text_encoder", cell.cache_text_encoder
    cached = {"memory__cache_text_encoder": True}
    if how == "no":
        yield "nothing to cache", Refused(family, method, cached, path, "not rendered")
        return
    checks = cell.program != "lumina_train_network.py"  # the only script that does not check
    changes: dict[str, Any] = {"dataset__shuffle_captions": True}
    if family == "sdxl":  # the same check in all scripts
        changes |= {"dataset__tag_dropout": 0.1, "dataset__caption_dropout": 0.1}
    for name, value in changes.items():
        message = "when caching text encoder output" if cell.program in (*FINETUNED_FLOWS, "sdxl_train.py") else ""
        case = ("stops", message or CACHED_CAPTIONS) if checks else ("accepts",)
        yield f"cached, {name}", Refused(family, method, {**cached, name: value}, path, *case)
    trains = cell.text_encoders or cell.text_encoder_switch
    if trains and how != "partly":
        message = TRAINED_AND_CACHED.get(cell.program, "")
        values = {**cached, "network__train_text_encoder": True}
        yield (
            "cached and trained",
            Refused(family, method, values, path, "stops" if message else "accepts", message),
        )


def _precision(family: str, method: str, cell: KohyaCell) -> Cases:
    eight = {"memory__fp8_base": True}
    if not cell.fp8:
        yield "fp8", Refused(family, method, eight, "memory.fp8_base", "not rendered")
    else:
        scaled = cell.fp8 != "fp8_base"  # the scaled format has no requirement
        message = "" if scaled else "fp8_base requires mixed precision='fp16' or 'bf16'"
        values = {**eight, "memory__mixed_precision": "no"}
        yield (
            "fp8 without precision",
            Refused(family, method, values, "memory.fp8_base", "accepts" if scaled else "stops", message),
        )
    half = {"memory__half_weights": True}
    if "bf16" not in cell.half_weights:
        yield "half weights in bf16", Refused(family, method, half, "memory.half_weights", "not rendered")
    known = cell.half_weights[-1]
    checks = (
        method != "textual_inversion" or family == "sdxl"
    )  # other scripts load models in that precision without a check
    yield (
        "half weights without precision",
        Refused(
            family,
            method,
            {**half, "memory__mixed_precision": "no"},
            "memory.half_weights",
            "not rendered",
            f"full_{known} requires mixed" if checks else "",
            forced={f"full_{known}": True},
        ),
    )


def _blocks(family: str, method: str, cell: KohyaCell) -> Cases:
    path, offload = "memory.blocks_to_swap", {"memory__offload_checkpointing": True}
    if not cell.swap:
        yield (
            "swapped blocks",
            Refused(family, method, {"memory__blocks_to_swap": 4}, path, "not rendered", severity="warning"),
        )
    else:
        variant = {"sd3": "3-medium"}.get(family, "")
        values = {"memory__blocks_to_swap": cell.swap[variant] + 1}
        yield "too many swapped blocks", Refused(family, method, values, path, "stops", "Cannot swap more than")
    path = "memory.offload_checkpointing"
    if not cell.offload_checkpointing:
        stops = cell.program in ("train_network.py", "sdxl_train_network.py", "sd3_train_network.py")
        yield (
            "offloaded checkpoints",
            Refused(
                family,
                method,
                offload,
                path,
                "not rendered",
                OFFLOAD if stops else "",
                severity="warning",
                forced={"cpu_offload_checkpointing": True} if stops else {},
            ),
        )
        return
    if cell.swap and not cell.swap_and_offload:
        values = {**offload, "memory__blocks_to_swap": 4}
        yield "swapped and offloaded", Refused(family, method, values, path, "stops", SWAP_AND_OFFLOAD)
    values = {**offload, "memory__gradient_checkpointing": False}
    message = "so gradient_checkpointing is also enabled" if method == "full" else ""
    yield "nothing to offload", Refused(family, method, values, path, "warns" if message else "accepts", message)


def _learning(family: str, method: str, cell: KohyaCell) -> Cases:
    path, fused = "memory.fused_backward", {"memory__fused_backward": True}
    if not cell.fused:
        yield "fused", Refused(family, method, fused, path, "not rendered", severity="warning")
    else:
        yield (
            "fused, AdamW",
            Refused(
                family, method, fused, path, "stops", "fused_backward_pass currently only works with optimizer_type"
            ),
        )
        values = {**fused, "optimizer__name": "Adafactor", "schedule__gradient_accumulation": 2}
        yield (
            "fused, gradient accumulation",
            Refused(
                family,
                method,
                values,
                "schedule.gradient_accumulation",
                "stops",
                "fused_backward_pass does not work with gradient_accumulation_steps > 1",
            ),
        )
    trained = {"network__train_text_encoder": True}
    if not (cell.text_encoders or cell.text_encoder_switch):
        yield (
            "text encoder",
            Refused(family, method, trained, "network.train_text_encoder", "not rendered"),
        )
    if not cell.clip_skip:
        yield (
            "clip skip",
            Refused(family, method, {"model__clip_skip": 2}, "model.clip_skip", "not rendered", severity="warning"),
        )
    flows = backend.manifest.families[family].predictions == ("flow",)
    for name in ("min_snr_gamma", "noise_offset") if flows else ("flow_shift",):
        case = {f"schedule__{name}": 0.5}
        yield name, Refused(family, method, case, f"schedule.{name}", "not rendered", severity="warning")
    if method == "textual_inversion":
        for name in ("caption_dropout", "tag_dropout"):
            case = {f"dataset__{name}": 0.5}
            yield name, Refused(family, method, case, f"dataset.{name}", "not rendered", severity="warning")
        yield (
            "a trigger word in the tokenizer",
            Refused(
                family,
                method,
                {"dataset__trigger": "girl"},
                "dataset.trigger",
                "stops",
                "tokenizer has same word to token string",
            ),
        )


def _single() -> Cases:
    """Cases for code that is the same in every script, each with one script."""
    yield (
        "constant with warm-up",
        Refused(
            "sd15",
            "lora",
            {"schedule__scheduler": "constant", "schedule__warmup_steps": 5},
            "schedule.warmup_steps",
            "stops",
            "does not require `num_warmup_steps`",
        ),
    )
    yield (
        "polynomial decay to a higher learning rate",
        Refused(
            "sd15",
            "lora",
            {"schedule__scheduler": "polynomial", "optimizer__learning_rate": 1e-8},
            "schedule.scheduler",
            "stops",
            "must be smaller than initial lr",
        ),
    )
    yield (
        "Prodigy with two learning rates",
        Refused(
            "sd15",
            "lora",
            {
                "optimizer__name": "Prodigy",
                "optimizer__learning_rate": 1.0,
                "network__train_text_encoder": True,
            },
            "optimizer.text_encoder_learning_rate",
            "warns",
            "only the first one will take effect",
        ),
    )
    yield (
        "DyLoRA with a rank that is no multiple of the block size",
        Refused(
            "sd15",
            "lora",
            {"network__algorithm": "dylora", "network__block_size": 3},
            "network.block_size",
            "stops",
            "rank must be a multiple of unit",
        ),
    )
    yield (
        "a learning rate of 0 for the text encoder",
        Refused(
            "sdxl",
            "full",
            {"network__train_text_encoder": True, "optimizer__text_encoder_learning_rate": 0.0},
            "optimizer.text_encoder_learning_rate",
            "warns",
            "text_encoder1: False, text_encoder2: False",
        ),
    )
    yield (
        "DreamBooth with the text encoder and gradient accumulation",
        Refused(
            "sd15",
            "dreambooth",
            {"network__train_text_encoder": True, "schedule__gradient_accumulation": 2},
            "schedule.gradient_accumulation",
            "warns",
            "accelerate does not support gradient_accumulation_steps when training multiple models",
        ),
    )
    yield (
        "a bucket step above the resolution",
        Refused(
            "sd15",
            "lora",
            {"dataset__bucket_step": 128, "dataset__resolution": 64},
            "dataset.bucket_step",
            "stops",
            "integer division or modulo by zero",
        ),
    )
    yield (
        "epsilon prediction for a flow model",
        Refused("flux", "lora", {"model__prediction": "epsilon"}, "model.prediction", "not rendered"),
    )
    yield (
        "a warm-up for an optimizer without one",
        Refused(
            "sd15",
            "lora",
            {
                "optimizer__name": "RAdamScheduleFree",
                "schedule__scheduler": "constant",
                "schedule__warmup_steps": 5,
            },
            "schedule.warmup_steps",
            "not rendered",
            severity="warning",
        ),
    )
    yield (
        "a convolution rank for a transformer",
        Refused(
            "flux",
            "lora",
            {"network__algorithm": "lokr", "network__conv_rank": 2},
            "network.conv_rank",
            "accepts",
            severity="warning",
        ),
    )
    yield (
        "latents that are not cached",
        Refused(
            "sd15",
            "full",
            {"memory__cache_latents": False},
            "memory.cache_latents",
            "stops",
            "'NoneType' object has no attribute 'cache_suffix'",
        ),
    )
    for family in backend.manifest.families:
        cell = cell_of(engine_plans.plan(family), backend.manifest)
        values: dict[str, Any] = {"network__algorithm": "boft", "network__rank": cell.boft_rank - 1}
        message = "It is impossible to decompose"
        yield "BOFT with a rank that is too low", Refused(family, "lora", values, "network.rank", "stops", message)
        if not cell.attention_layers:
            values = {"network__algorithm": "lokr", "network__targets": "attention"}
            message = "optimizer got an empty parameter list"
            yield "LoKr on attention only", Refused(family, "lora", values, "network.targets", "stops", message)

"""Plans that a Problem keeps from sd-scripts, with what its scripts do to them where the Problem is overlooked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from backends.kohya import backend
from tests.backends import engine_plans

OFFLOAD = "got an unexpected keyword argument 'cpu_offload'"
CACHED_CAPTIONS = "when caching Text Encoder output"
TRAINED_AND_CACHED = {
    "sdxl_train_network.py": "network for Text Encoder cannot be trained with caching",
    "anima_train_network.py": "network for Text Encoder cannot be trained with caching",
    "sdxl_train.py": "cache_text_encoder_outputs is not supported when training text encoder",
    "sd3_train.py": "when training text encoder, text encoder outputs must not be cached",
}
"""By script; the others do not look, and train nothing, or cache for nothing."""
SWAP_AND_OFFLOAD = "blocks_to_swap is not supported with cpu_offload_checkpointing"
FINETUNED_FLOWS = "sd3_train.py", "flux_train.py", "lumina_train.py", "anima_train.py"


@dataclass(frozen=True)
class Refused:
    """One plan with a Problem at `path`, and what the engine does.

    "stops": it raises `says`. "warns": it goes on, and `says` is in its log. "is told nothing": the value reaches none of its
    files, so that it would vanish without the Problem; with `forced`, what stands behind that is given to it all the same,
    and it raises `says`. "looks away": it takes the value and says nothing at all.
    """

    family: str
    method: str
    values: Mapping[str, Any]
    path: str
    engine: Literal["stops", "warns", "is told nothing", "looks away"]
    says: str = ""
    severity: str = "error"
    forced: Mapping[str, Any] = field(default_factory=dict)
    native: Mapping[str, Any] = field(default_factory=dict)
    """Settings in the engine's own words; without them nothing is wrong."""


def cases() -> dict[str, Refused]:
    """Every case by a name that says what it is about; what a script does is shown with one of the families it trains."""
    found: dict[str, Refused] = {}
    seen: set[str] = set()
    for family, method in engine_plans.cells(backend):
        cell = backend.manifest.families[family].cell(method)
        if cell["script"] in seen and family != "chroma":
            continue
        seen.add(cell["script"])
        for name, case in (
            *_pictures(family, method, cell),
            *_captions(family, method, cell),
            *_precision(family, method, cell),
            *_blocks(family, method, cell),
            *_learning(family, method, cell),
        ):
            found[f"{family}, {method}: {name}"] = case
    found |= {f"{case.family}, {case.method}: {name}": case for name, case in _single()}
    return found


Cases = Iterator[tuple[str, Refused]]
Cell = Mapping[str, Any]


def _pictures(family: str, method: str, cell: Cell) -> Cases:
    wanted = cell["bucket_step"]
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


def _captions(family: str, method: str, cell: Cell) -> Cases:
    path, how = "memory.cache_text_encoder", cell.get("cache_text_encoder")
    cached = {"memory__cache_text_encoder": True}
    if how is None:
        yield "nothing to cache", Refused(family, method, cached, path, "is told nothing")
        return
    looks = cell["script"] != "lumina_train_network.py"  # the only script that does not look
    changes: dict[str, Any] = {"dataset__shuffle_captions": True}
    if family == "sdxl":  # the same check in all scripts
        changes |= {"dataset__tag_dropout": 0.1, "dataset__caption_dropout": 0.1}
    for name, value in changes.items():
        words = "when caching text encoder output" if cell["script"] in (*FINETUNED_FLOWS, "sdxl_train.py") else ""
        case = ("stops", words or CACHED_CAPTIONS) if looks else ("looks away",)
        yield f"cached, {name}", Refused(family, method, {**cached, name: value}, path, *case)
    trains = cell.get("text_encoders", 0) or "text_encoder_switch" in cell
    if trains and how != "partly":
        says = TRAINED_AND_CACHED.get(cell["script"], "")
        values = {**cached, "network__train_text_encoder": True}
        yield (
            "cached and trained",
            Refused(family, method, values, path, "stops" if says else "looks away", says),
        )


def _precision(family: str, method: str, cell: Cell) -> Cases:
    eight = {"memory__fp8_base": True}
    if "fp8" not in cell:
        yield "fp8", Refused(family, method, eight, "memory.fp8_base", "is told nothing")
    else:
        scaled = cell["fp8"] != "fp8_base"  # it brings its own scales, and asks for nothing
        says = "" if scaled else "fp8_base requires mixed precision='fp16' or 'bf16'"
        values = {**eight, "memory__mixed_precision": "no"}
        yield (
            "fp8 without precision",
            Refused(family, method, values, "memory.fp8_base", "looks away" if scaled else "stops", says),
        )
    half = {"memory__half_weights": True}
    if "bf16" not in cell.get("half_weights", ["bf16"]):
        yield "half weights in bf16", Refused(family, method, half, "memory.half_weights", "is told nothing")
    known = cell.get("half_weights", ["fp16", "bf16"])[-1]
    looks = method != "textual_inversion" or family == "sdxl"  # whose models are loaded in that precision
    yield (
        "half weights without precision",
        Refused(
            family,
            method,
            {**half, "memory__mixed_precision": "no"},
            "memory.half_weights",
            "is told nothing",
            f"full_{known} requires mixed" if looks else "",
            forced={f"full_{known}": True},
        ),
    )


def _blocks(family: str, method: str, cell: Cell) -> Cases:
    path, offload = "memory.blocks_to_swap", {"memory__offload_checkpointing": True}
    if "swap" not in cell:
        yield (
            "swapped blocks",
            Refused(family, method, {"memory__blocks_to_swap": 4}, path, "is told nothing", severity="warning"),
        )
    else:
        variant = {"sd3": "3-medium"}.get(family, "")
        values = {"memory__blocks_to_swap": cell["swap"][variant] + 1}
        yield "too many swapped blocks", Refused(family, method, values, path, "stops", "Cannot swap more than")
    path = "memory.offload_checkpointing"
    if not cell.get("offload_checkpointing"):
        stops = cell["script"] in ("train_network.py", "sdxl_train_network.py", "sd3_train_network.py")
        yield (
            "offloaded checkpoints",
            Refused(
                family,
                method,
                offload,
                path,
                "is told nothing",
                OFFLOAD if stops else "",
                severity="warning",
                forced={"cpu_offload_checkpointing": True} if stops else {},
            ),
        )
        return
    if "swap" in cell and not cell.get("swap_and_offload"):
        values = {**offload, "memory__blocks_to_swap": 4}
        yield "swapped and offloaded", Refused(family, method, values, path, "stops", SWAP_AND_OFFLOAD)
    values = {**offload, "memory__gradient_checkpointing": False}
    says = "so gradient_checkpointing is also enabled" if method == "full" else ""
    yield "nothing to offload", Refused(family, method, values, path, "warns" if says else "looks away", says)


def _learning(family: str, method: str, cell: Cell) -> Cases:
    path, fused = "memory.fused_backward", {"memory__fused_backward": True}
    if "fused" not in cell:
        yield "fused", Refused(family, method, fused, path, "is told nothing", severity="warning")
    else:
        yield (
            "fused, AdamW",
            Refused(
                family, method, fused, path, "stops", "fused_backward_pass currently only works with optimizer_type"
            ),
        )
        values = {**fused, "optimizer__name": "Adafactor", "schedule__gradient_accumulation": 2}
        yield (
            "fused, many batches",
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
    if not (cell.get("text_encoders", 0) or "text_encoder_switch" in cell):
        yield (
            "text encoder",
            Refused(family, method, trained, "network.train_text_encoder", "is told nothing"),
        )
    if not cell.get("clip_skip"):
        yield (
            "clip skip",
            Refused(family, method, {"model__clip_skip": 2}, "model.clip_skip", "is told nothing", severity="warning"),
        )
    flows = cell["predictions"] == ["flow"]
    for name in ("min_snr_gamma", "noise_offset") if flows else ("flow_shift",):
        case = {f"schedule__{name}": 0.5}
        yield name, Refused(family, method, case, f"schedule.{name}", "is told nothing", severity="warning")
    if method == "textual_inversion":
        for name in ("caption_dropout", "tag_dropout"):
            case = {f"dataset__{name}": 0.5}
            yield name, Refused(family, method, case, f"dataset.{name}", "is told nothing", severity="warning")
        yield (
            "a word the model knows",
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
    """What is the same code in every script, in one of them."""
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
        "polynomial to a higher rate",
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
        "Prodigy with two rates",
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
        "DyLoRA in uneven blocks",
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
        "no rate for the text encoder",
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
        "DreamBooth with the text encoder, many batches",
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
        "noise predicted by a flow model",
        Refused("flux", "lora", {"model__prediction": "epsilon"}, "model.prediction", "is told nothing"),
    )
    yield (
        "a warm-up for one that takes none",
        Refused(
            "sd15",
            "lora",
            {
                "optimizer__name": "RAdamScheduleFree",
                "schedule__scheduler": "constant",
                "schedule__warmup_steps": 5,
            },
            "schedule.warmup_steps",
            "is told nothing",
            severity="warning",
        ),
    )
    yield (
        "convolutions in a transformer",
        Refused(
            "flux",
            "lora",
            {"network__algorithm": "lokr", "network__conv_rank": 2},
            "network.conv_rank",
            "looks away",
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
    for family, claim in backend.manifest.families.items():
        values: dict[str, Any] = {"network__algorithm": "boft", "network__rank": claim.options["boft_rank"] - 1}
        says = "It is impossible to decompose"
        yield "BOFT of too low a rank", Refused(family, "lora", values, "network.rank", "stops", says)
        if not claim.options.get("attention_layers"):
            values = {"network__algorithm": "lokr", "network__targets": "attention"}
            says = "optimizer got an empty parameter list"
            yield "attention alone", Refused(family, "lora", values, "network.targets", "stops", says)

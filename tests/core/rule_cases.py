"""What makes each core rule speak: changes of a good draft, and what is said then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.backends import engine_plans
from trainer_core.detection import Detection
from trainer_core.hardware import Accelerator
from trainer_core.plan.facts import Facts
from trainer_core.plan.rules import Case, choices, course, data, memory, model, output
from trainer_core.problems import Problem

OLD_CARD = Accelerator("cuda", "an old card", 8 * engine_plans.GIB, 7 * engine_plans.GIB, "7.5")
OPTIMIZER_FAILS = {"optimizers": {"kohya": {"Lion": {"ok": False, "reason": "no such package"}}}}


@dataclass(frozen=True)
class Fires:
    """A rule, what is changed in a good draft so that it speaks, and what it says.

    `facts` are changes of the facts, made from the draft's own; `mends`: whether a fix is offered.
    """

    rule: Callable[[Case], Any]
    path: str
    severity: str
    values: Mapping[str, Any] = field(default_factory=dict)
    family: str = "sd15"
    facts: Callable[[Facts], Facts] = lambda facts: facts
    mends: bool = True
    has_engine: bool = True


def seen(**changes: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, detection=replace(facts.detection, **changes))


def beside(**parts: Detection | str) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, parts=parts)


def machine(**changes: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, machine=replace(facts.machine, **changes))


def captions(*texts: str | None) -> Callable[[Facts], Facts]:
    def change(facts: Facts) -> Facts:
        shown = zip(facts.dataset.pictures, texts, strict=True)
        return replace(
            facts,
            dataset=replace(facts.dataset, pictures=tuple(replace(each, caption=text) for each, text in shown)),
        )

    return change


def without(name: str) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, **{name: None})


ENDS_AT_ZERO = seen(prediction="v_prediction", is_prediction_certain=True, zero_terminal_snr=True)
TI = {"model.method": "textual_inversion", "embedding.init_word": "cat"}
ADAPTS = {"optimizer.name": "Prodigy", "optimizer.learning_rate": 1.0}
STABLE = {"schedule.scheduler": "warmup_stable_decay", "schedule.steps": 100}
FIRES = {
    "no model": Fires(model.model_is_known, "model.path", "error", {"model.path": ""}, mends=False),
    "a model that is gone": Fires(
        model.model_is_known, "model.path", "error", {"model.path": "/nowhere/x.safetensors"}, mends=False
    ),
    "a file nobody knows": Fires(model.model_is_known, "model.path", "error", facts=without("detection"), mends=False),
    "a LoRA as a model": Fires(model.model_is_known, "model.path", "error", facts=seen(role="lora"), mends=False),
    "another family": Fires(model.model_is_known, "model.family", "error", {"model.family": "sdxl"}),
    "another prediction": Fires(
        model.model_is_known,
        "model.prediction",
        "error",
        {"model.prediction": "v_prediction"},
        facts=seen(prediction="epsilon", is_prediction_certain=True),
    ),
    "a name that says v": Fires(
        model.prediction_is_confirmed, "model.prediction", "warning", facts=seen(named_prediction="v_prediction")
    ),
    "pure noise for a model of noise": Fires(
        model.zero_snr_suits_model, "model.zero_terminal_snr", "error", {"model.zero_terminal_snr": True}
    ),
    "no pure noise, which is marked": Fires(
        model.zero_snr_suits_model,
        "model.zero_terminal_snr",
        "error",
        {"model.zero_terminal_snr": False},
        facts=ENDS_AT_ZERO,
    ),
    "pure noise, which is not marked": Fires(
        model.zero_snr_suits_model,
        "model.zero_terminal_snr",
        "warning",
        {"model.zero_terminal_snr": True},
        facts=seen(prediction="v_prediction", is_prediction_certain=True, zero_terminal_snr=False),
    ),
    "an offset beside pure noise": Fires(
        model.zero_snr_suits_model,
        "schedule.noise_offset",
        "warning",
        {"schedule.noise_offset": 0.05},
        facts=ENDS_AT_ZERO,
    ),
    "native weights that are gone": Fires(
        choices.native_files_are_there,
        "native.kohya.network_weights",
        "error",
        {"native": {"kohya": {"network_weights": "/nowhere/x.safetensors"}}},
        mends=False,
    ),
    "native weights somewhere": Fires(
        choices.native_files_are_there,
        "native.kohya.base_weights",
        "error",
        {"native": {"kohya": {"base_weights": ["x.safetensors"]}}},
        mends=False,
    ),
    "a first sample of none": Fires(course.schedule_fits, "sampling.at_start", "info", {"sampling.at_start": True}),
    "a part of another kind": Fires(
        model.parts_are_what_they_should_be,
        "model.vae",
        "error",
        {"model.vae": __file__},
        facts=beside(vae=Detection(None, "text_encoder", "t5xxl")),
    ),
    "a part that cannot be read": Fires(
        model.parts_are_what_they_should_be,
        "model.vae",
        "error",
        {"model.vae": __file__},
        facts=beside(vae="it is empty."),
    ),
    "a part of scaled weights": Fires(
        model.parts_are_what_they_should_be,
        "model.vae",
        "error",
        {"model.vae": __file__},
        facts=beside(vae=Detection(None, "vae", "vae_sd", scaled=True)),
    ),
    "a part nobody knows": Fires(
        model.parts_are_what_they_should_be,
        "model.vae",
        "warning",
        {"model.vae": __file__},
        facts=beside(vae=Detection(None, "vae")),
    ),
    "a variant that is not trained": Fires(
        model.model_is_trained_as_its_family,
        "model.path",
        "error",
        facts=seen(variant="inpainting", apart="It takes nine channels."),
        mends=False,
    ),
    "a model of a few bits": Fires(
        model.model_is_trained_as_its_family, "model.path", "error", facts=seen(format="gguf"), mends=False
    ),
    "a model of scaled weights": Fires(
        model.model_is_trained_as_its_family, "model.path", "error", facts=seen(scaled=True), mends=False
    ),
    "names with a prefix": Fires(
        model.model_is_trained_as_its_family,
        "model.path",
        "error",
        family="flux",
        facts=seen(prefix="odd."),
        mends=False,
    ),
    "a file by another ending": Fires(
        model.files_are_safetensors, "model.path", "error", {"model.path": __file__}, mends=False
    ),
    "a folder where a file is read": Fires(
        model.folders_are_read, "model.path", "error", {"model.path": "/"}, family="flux", mends=False
    ),
    "native settings of nobody": Fires(
        choices.native_tables_are_read, "native.khoya", "error", {"native": {"khoya": {}}}, mends=False
    ),
    "native settings of another engine": Fires(
        choices.native_tables_are_read, "native.simpletuner", "info", {"native": {"simpletuner": {"a": 1}}}, mends=False
    ),
    "a part too many": Fires(model.parts_are_there, "model.clip_l", "warning", {"model.clip_l": "/a/clip.safetensors"}),
    "a part that is gone": Fires(model.parts_are_there, "model.vae", "error", {"model.vae": "/a/vae.safetensors"}),
    "a part too few": Fires(
        model.parts_are_there, "model.clip_l", "error", {"model.clip_l": ""}, family="flux", mends=False
    ),
    "names of another layout": Fires(
        model.model_is_trained_as_its_family,
        "model.path",
        "error",
        family="sd3",
        facts=seen(layout="diffusers"),
        mends=False,
    ),
    "half a model": Fires(
        model.model_is_trained_as_its_family, "model.path", "error", facts=seen(role="diffusion_model"), mends=False
    ),
    "a model without one of its text encoders": Fires(
        model.model_is_trained_as_its_family, "model.path", "error", facts=seen(parts=("vae",)), mends=False
    ),
    "a name that is no UTF-8": Fires(
        model.paths_are_readable_by_engines, "model.path", "error", {"model.path": "/a/\udce4.safetensors"}, mends=False
    ),
    "no engine": Fires(model.engine_claims_family, "model.family", "error", has_engine=False, mends=False),
    "a family of others": Fires(
        model.engine_claims_family, "model.family", "error", {"model.family": "pixart"}, mends=False
    ),
    "a method of others": Fires(
        model.engine_claims_method, "model.method", "error", {"model.method": "full"}, family="chroma"
    ),
    "no dataset": Fires(data.dataset_is_usable, "dataset.path", "error", {"dataset.path": ""}, mends=False),
    "an unread dataset": Fires(data.dataset_is_usable, "dataset.path", "error", facts=without("dataset"), mends=False),
    "what the scan found": Fires(
        data.dataset_is_usable,
        "dataset.path",
        "error",
        facts=lambda facts: replace(
            facts, dataset=replace(facts.dataset, problems=(Problem("dataset.path", "error", "No pictures."),))
        ),
        mends=False,
    ),
    "a word that means something": Fires(
        data.trigger_is_good, "dataset.trigger", "warning", {"dataset.trigger": "girl"}, mends=False
    ),
    "no word": Fires(data.trigger_is_good, "dataset.trigger", "warning", {"dataset.trigger": ""}, mends=False),
    "no word and no captions": Fires(
        data.trigger_is_good,
        "dataset.trigger",
        "error",
        {"dataset.trigger": " "},
        facts=captions(None, "a", "b"),
        mends=False,
    ),
    "a beginning of nothing": Fires(
        data.embedding_has_a_beginning, "embedding.init_word", "warning", {"embedding.vectors": 8}
    ),
    "two new words": Fires(
        data.embedding_has_a_beginning,
        "dataset.trigger",
        "error",
        {**TI, "dataset.trigger": "mika, picture"},
        mends=False,
    ),
    "no caption with the new word": Fires(
        data.embedding_has_a_beginning, "dataset.trigger", "error", {**TI, "dataset.trigger": "zwx"}, mends=False
    ),
    "a caption without the new word": Fires(
        data.embedding_has_a_beginning,
        "dataset.trigger",
        "warning",
        TI,
        facts=captions("mika", None, "a cat"),
        mends=False,
    ),
    "no beginning": Fires(
        data.embedding_has_a_beginning,
        "embedding.init_word",
        "warning",
        {**TI, "embedding.init_word": ""},
        mends=False,
    ),
    "no name": Fires(output.name_is_good, "output.name", "error", {"output.name": " "}, mends=False),
    "a name no system takes": Fires(output.name_is_good, "output.name", "error", {"output.name": "a/b:c?"}),
    "a prefix no system takes": Fires(output.name_is_good, "output.prefix", "error", {"output.prefix": "a\\"}),
    "a long name": Fires(
        output.name_is_good, "output.prefix", "error", {"output.prefix": "a" * 70, "output.name": "b" * 70}
    ),
    "no folder for a copy": Fires(
        output.folders_can_be_written, "output.copy_to", "error", {"output.copy_to": "/nowhere/loras"}
    ),
    "a folder that is a file": Fires(
        output.folders_can_be_written, "output.folder", "error", {"output.folder": str(Path(__file__) / "out")}
    ),
    "an optimizer of others": Fires(
        choices.engine_has_what_is_chosen, "optimizer.name", "error", {"optimizer.name": "SOAP"}
    ),
    "a schedule of others": Fires(
        choices.engine_has_what_is_chosen, "schedule.scheduler", "error", {"schedule.scheduler": "sine"}
    ),
    "an algorithm of others": Fires(
        choices.engine_has_what_is_chosen,
        "network.algorithm",
        "error",
        {"network.algorithm": "dylora"},
        family="flux",
    ),
    "an optimizer that failed": Fires(
        choices.optimizer_works_here,
        "optimizer.name",
        "error",
        {"optimizer.name": "Lion"},
        facts=machine(probes=OPTIMIZER_FAILS),
    ),
    "bf16 on an old card": Fires(
        memory.precision_suits_card, "memory.mixed_precision", "warning", facts=machine(accelerators=(OLD_CARD,))
    ),
    "too many blocks": Fires(
        memory.blocks_can_be_swapped, "memory.blocks_to_swap", "error", {"memory.blocks_to_swap": 36}, family="flux"
    ),
    "too many blocks of a variant": Fires(
        memory.blocks_can_be_swapped, "memory.blocks_to_swap", "error", {"memory.blocks_to_swap": 23}, family="sd3"
    ),
    "too many blocks by one method": Fires(
        memory.blocks_can_be_swapped,
        "memory.blocks_to_swap",
        "error",
        {"memory.blocks_to_swap": 25},
        family="lumina2",
    ),
    "a warm-up without end": Fires(
        course.schedule_fits, "schedule.warmup_steps", "error", {"schedule.steps": 5, "schedule.warmup_steps": 5}
    ),
    "samples after the end": Fires(
        course.schedule_fits, "sampling.every_steps", "warning", {"schedule.steps": 5, "sampling.every_steps": 6}
    ),
    "checkpoints after the end": Fires(
        course.schedule_fits, "output.save_every_steps", "warning", {"schedule.steps": 5, "output.save_every_steps": 6}
    ),
    "half a latent pixel": Fires(
        course.samples_can_be_drawn, "sampling.width", "error", {"sampling.width": 67, "sampling.every_steps": 5}
    ),
    "a rate that burns": Fires(
        course.learning_rate_suits_optimizer, "optimizer.learning_rate", "warning", {"optimizer.learning_rate": 1.0}
    ),
    "a rate that burns a model": Fires(
        course.learning_rate_suits_optimizer,
        "optimizer.learning_rate",
        "warning",
        {"model.method": "full", "optimizer.learning_rate": 0.005},
    ),
    "a small rate for one that adapts": Fires(
        course.learning_rate_suits_optimizer,
        "optimizer.learning_rate",
        "error",
        {**ADAPTS, "optimizer.learning_rate": 1e-4},
    ),
    "a curve for one that is free of it": Fires(
        course.learning_rate_suits_optimizer,
        "schedule.scheduler",
        "warning",
        {"optimizer.name": "AdamWScheduleFree", "schedule.warmup_steps": 10},
    ),
    "a name cut at a space": Fires(output.name_is_good, "output.name", "error", {"output.name": "a" * 119 + " long"}),
    "a decay behind a long warm-up": Fires(
        course.curve_fits_scheduler,
        "schedule.decay_steps",
        "error",
        {**STABLE, "schedule.warmup_steps": 95, "schedule.decay_steps": 20},
    ),
    "a decay in few steps": Fires(
        course.curve_fits_scheduler,
        "schedule.decay_steps",
        "error",
        {**STABLE, "schedule.steps": 4, "schedule.decay_steps": 5},
    ),
    "no decay": Fires(course.curve_fits_scheduler, "schedule.decay_steps", "error", STABLE),
    "a decay too long": Fires(
        course.curve_fits_scheduler, "schedule.decay_steps", "error", {**STABLE, "schedule.decay_steps": 101}
    ),
}

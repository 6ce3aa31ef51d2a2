"""Cases for each core rule: changes of a valid draft, and the Problem that the rule then reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support import engine_plans
from trainer_core.draft.checks import Case, choices, hub, memory, model, network, output, schedule
from trainer_core.draft.facts import Facts
from trainer_core.engines.hub import HubFacts, HubFiles
from trainer_core.engines.status import EngineStatus, Trial, Trials
from trainer_core.hardware import Accelerator
from trainer_core.models.detection import Detection

OLD_GPU = Accelerator("cuda", "an old GPU", 8 * engine_plans.GIB, 7 * engine_plans.GIB, "7.5")
NOTHING_TRIED = EngineStatus(True, "1")
NEEDED = HubFiles(id="a/b", title="the tokenizer of CLIP-L", revision="0", files=("vocab.json",), bytes=1)
LION_FAILS = EngineStatus(True, "1", Trials(optimizers={"Lion": Trial(works=False, reason="no such package")}))


@dataclass(frozen=True)
class Fires:
    """A rule, a change of a valid draft, and the path and severity of the Problem that it then reports.

    `facts` changes the facts of the draft; `has_fix`: whether the Problem has a fix that changes settings; `tool` is the tool that
    the fix runs first.
    """

    rule: Callable[[Case], Any]
    path: str
    severity: str
    values: Mapping[str, Any] = field(default_factory=dict)
    family: str = "sd15"
    facts: Callable[[Facts], Facts] = lambda facts: facts
    has_fix: bool = True
    has_engine: bool = True
    tool: str = ""


def seen(**changes: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, detection=replace(facts.detection, **changes))


def companion_files(**parts: Detection | str) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, parts=parts)


def machine(**changes: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, machine=replace(facts.machine, **changes))


def without(name: str) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, **{name: None})


ENDS_AT_ZERO = seen(prediction="v_prediction", is_prediction_certain=True, zero_terminal_snr=True)
ADAPTS = {"optimizer.name": "Prodigy", "optimizer.learning_rate": 1.0}
STABLE = {"schedule.scheduler": "warmup_stable_decay", "schedule.steps": 100}
FIRES = {
    "no model": Fires(model.model_is_known, "model.path", "error", {"model.path": ""}, has_fix=False),
    "a model that does not exist": Fires(
        model.model_is_known, "model.path", "error", {"model.path": "/nowhere/x.safetensors"}, has_fix=False
    ),
    "a file that is not recognised": Fires(
        model.model_is_known, "model.path", "error", facts=without("detection"), has_fix=False
    ),
    "a LoRA as a model": Fires(model.model_is_known, "model.path", "error", facts=seen(role="lora"), has_fix=False),
    "another family": Fires(model.model_is_known, "model.family", "error", {"model.family": "sdxl"}),
    "another prediction": Fires(
        model.model_is_known,
        "model.prediction",
        "error",
        {"model.prediction": "v_prediction"},
        facts=seen(prediction="epsilon", is_prediction_certain=True),
    ),
    "a file name with v-prediction": Fires(
        model.prediction_is_confirmed, "model.prediction", "warning", facts=seen(named_prediction="v_prediction")
    ),
    "zero terminal SNR for an epsilon model": Fires(
        model.zero_snr_suits_model, "model.zero_terminal_snr", "error", {"model.zero_terminal_snr": True}
    ),
    "zero terminal SNR off, but marked in the file": Fires(
        model.zero_snr_suits_model,
        "model.zero_terminal_snr",
        "error",
        {"model.zero_terminal_snr": False},
        facts=ENDS_AT_ZERO,
    ),
    "zero terminal SNR on, but not marked in the file": Fires(
        model.zero_snr_suits_model,
        "model.zero_terminal_snr",
        "warning",
        {"model.zero_terminal_snr": True},
        facts=seen(prediction="v_prediction", is_prediction_certain=True, zero_terminal_snr=False),
    ),
    "noise offset with zero terminal SNR": Fires(
        model.zero_snr_suits_model,
        "schedule.noise_offset",
        "warning",
        {"schedule.noise_offset": 0.05},
        facts=ENDS_AT_ZERO,
    ),
    "native weights that do not exist": Fires(
        choices.native_files_are_there,
        "native.kohya.network_weights",
        "error",
        {"native": {"kohya": {"network_weights": "/nowhere/x.safetensors"}}},
        has_fix=False,
    ),
    "native weights with a relative path": Fires(
        choices.native_files_are_there,
        "native.kohya.base_weights",
        "error",
        {"native": {"kohya": {"base_weights": ["x.safetensors"]}}},
        has_fix=False,
    ),
    "a first sample without samples": Fires(
        schedule.schedule_fits, "sampling.at_start", "info", {"sampling.at_start": True}
    ),
    "an empty prompt": Fires(
        schedule.prompts_are_used,
        "sampling.prompts",
        "warning",
        {"sampling.every_steps": 5, "sampling.prompts": ({"text": "one"}, {"text": ""})},
    ),
    "a variant that is not trained": Fires(
        model.model_is_trained_as_its_family,
        "model.path",
        "error",
        facts=seen(variant="inpainting", apart="It takes nine channels."),
        has_fix=False,
    ),
    "a GGUF model": Fires(
        model.model_is_trained_as_its_family, "model.path", "error", facts=seen(format="gguf"), has_fix=False
    ),
    "a model with scaled weights": Fires(
        model.model_is_trained_as_its_family, "model.path", "error", facts=seen(scaled=True), has_fix=False
    ),
    "tensor names with a prefix": Fires(
        model.model_is_trained_as_its_family,
        "model.path",
        "error",
        family="flux",
        facts=seen(prefix="odd."),
        has_fix=False,
        tool="rename",
    ),
    "a file with another extension": Fires(
        model.files_are_safetensors, "model.path", "error", {"model.path": __file__}, has_fix=False
    ),
    "a folder where a file is read": Fires(
        model.folders_are_read, "model.path", "error", {"model.path": "/"}, family="flux", has_fix=False
    ),
    "native settings of an unknown engine": Fires(
        choices.native_tables_are_read, "native.khoya", "error", {"native": {"khoya": {}}}, has_fix=False
    ),
    "native settings of another engine": Fires(
        choices.native_tables_are_read,
        "native.simpletuner",
        "info",
        {"native": {"simpletuner": {"a": 1}}},
        has_fix=False,
    ),
    "tensor names of another layout": Fires(
        model.model_is_trained_as_its_family,
        "model.path",
        "error",
        family="sd3",
        facts=seen(layout="diffusers"),
        has_fix=False,
    ),
    "a diffusion model alone": Fires(
        model.model_is_trained_as_its_family, "model.path", "error", facts=seen(role="diffusion_model"), has_fix=False
    ),
    "a model without one of its text encoders": Fires(
        model.model_is_trained_as_its_family, "model.path", "error", facts=seen(parts=("vae",)), has_fix=False
    ),
    "a name that is not UTF-8": Fires(
        model.paths_are_readable_by_engines,
        "model.path",
        "error",
        {"model.path": "/a/\udce4.safetensors"},
        has_fix=False,
    ),
    "no engine": Fires(model.engine_claims_family, "model.path", "error", has_engine=False, has_fix=False),
    "an unsupported family": Fires(
        model.engine_claims_family, "model.family", "error", {"model.family": "pixart"}, has_fix=False
    ),
    "an unsupported method": Fires(
        model.engine_claims_method, "model.method", "error", {"model.method": "full"}, family="chroma"
    ),
    "another type": Fires(model.engine_claims_prediction, "model.prediction", "error", {"model.prediction": "flow"}),
    "no name": Fires(output.name_is_good, "output.name", "error", {"output.name": " "}, has_fix=False),
    "an invalid name": Fires(output.name_is_good, "output.name", "error", {"output.name": "a/b:c?"}),
    "an invalid prefix": Fires(output.name_is_good, "output.prefix", "error", {"output.prefix": "a\\"}),
    "a long name": Fires(
        output.name_is_good, "output.prefix", "error", {"output.prefix": "a" * 70, "output.name": "b" * 70}
    ),
    "older checkpoints that go": Fires(
        output.older_checkpoints_go,
        "output.keep_last",
        "info",
        {"schedule.steps": 20, "output.save_every_steps": 5, "output.keep_last": 2},
    ),
    "a checkpoint of every step": Fires(
        output.checkpoints_can_be_looked_through,
        "output.save_every_steps",
        "warning",
        {"schedule.steps": 1000, "output.save_every_steps": 1},
    ),
    "an alpha far above the rank": Fires(
        network.alpha_suits_rank, "network.alpha", "warning", {"network.rank": 8, "network.alpha": 256.0}
    ),
    "a copy folder that does not exist": Fires(
        output.folders_can_be_written, "output.copy_to", "error", {"output.copy_to": "/nowhere/loras"}
    ),
    "a mirror that does not exist": Fires(
        output.mirror_can_be_written, "output.mirror_to", "error", {"output.mirror_to": "/nowhere/drive"}
    ),
    "a mirror in no repository": Fires(
        output.mirror_reaches_the_hub, "output.mirror_to", "error", {"output.mirror_to": "hf://datasets/mika/x"}
    ),
    "a mirror on a Hub that is switched off": Fires(
        output.mirror_reaches_the_hub,
        "output.mirror_to",
        "error",
        {"output.mirror_to": "hf://mika/runs"},
        facts=lambda facts: replace(facts, hub=HubFacts((), "off")),
    ),
    "a folder that is a file": Fires(
        output.folders_can_be_written, "output.folder", "error", {"output.folder": str(Path(__file__) / "out")}
    ),
    "an unsupported optimizer": Fires(
        choices.engine_has_what_is_chosen, "optimizer.name", "error", {"optimizer.name": "SOAP"}
    ),
    "an unsupported schedule": Fires(
        choices.engine_has_what_is_chosen, "schedule.scheduler", "error", {"schedule.scheduler": "sine"}
    ),
    "an unsupported algorithm": Fires(
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
        facts=lambda facts: replace(facts, engines={**facts.engines, "kohya": LION_FAILS}),
    ),
    "an optimizer that was not tried": Fires(
        choices.optimizer_works_here,
        "optimizer.name",
        "info",
        {"optimizer.name": "Lion"},
        facts=lambda facts: replace(facts, engines={**facts.engines, "kohya": NOTHING_TRIED}),
        has_fix=False,
    ),
    "files of the Hub that cannot be had": Fires(
        hub.hub_files_are_there,
        "",
        "error",
        facts=lambda facts: replace(facts, hub=HubFacts((NEEDED,), "off", obtainable=True)),
        has_fix=False,
        tool="hub-files",
    ),
    "bf16 on an old GPU": Fires(
        memory.precision_suits_card, "memory.mixed_precision", "warning", facts=machine(accelerators=(OLD_GPU,))
    ),
    "too many blocks to swap": Fires(
        memory.blocks_can_be_swapped, "memory.blocks_to_swap", "error", {"memory.blocks_to_swap": 36}, family="flux"
    ),
    "too many blocks to swap for a variant": Fires(
        memory.blocks_can_be_swapped, "memory.blocks_to_swap", "error", {"memory.blocks_to_swap": 23}, family="sd3"
    ),
    "too many blocks to swap for a method": Fires(
        memory.blocks_can_be_swapped,
        "memory.blocks_to_swap",
        "error",
        {"memory.blocks_to_swap": 25},
        family="lumina2",
    ),
    "a warm-up as long as the training": Fires(
        schedule.schedule_fits, "schedule.warmup_steps", "error", {"schedule.steps": 5, "schedule.warmup_steps": 5}
    ),
    "samples after the end": Fires(
        schedule.schedule_fits, "sampling.every_steps", "warning", {"schedule.steps": 5, "sampling.every_steps": 6}
    ),
    "checkpoints after the end": Fires(
        schedule.schedule_fits,
        "output.save_every_steps",
        "warning",
        {"schedule.steps": 5, "output.save_every_steps": 6},
    ),
    "a sample width between latent pixels": Fires(
        schedule.samples_can_be_drawn, "sampling.width", "error", {"sampling.width": 67, "sampling.every_steps": 5}
    ),
    "a learning rate that is too high": Fires(
        schedule.learning_rate_suits_optimizer, "optimizer.learning_rate", "warning", {"optimizer.learning_rate": 0.5}
    ),
    "a learning rate that destroys the weights": Fires(
        schedule.learning_rate_suits_optimizer, "optimizer.learning_rate", "error", {"optimizer.learning_rate": 1.0}
    ),
    "a learning rate of Lion that destroys the weights": Fires(
        schedule.learning_rate_suits_optimizer,
        "optimizer.learning_rate",
        "error",
        {"optimizer.name": "Lion", "optimizer.learning_rate": 10.0},
    ),
    "a high learning rate of SGD": Fires(
        schedule.learning_rate_suits_optimizer,
        "optimizer.learning_rate",
        "warning",
        {"optimizer.name": "SGD", "optimizer.learning_rate": 10.0},
    ),
    "a learning rate that destroys the text encoder": Fires(
        schedule.learning_rate_suits_optimizer,
        "optimizer.text_encoder_learning_rate",
        "error",
        {"network.train_text_encoder": True, "optimizer.text_encoder_learning_rate": 1.0},
    ),
    "a weight decay that removes every weight": Fires(
        schedule.weight_decay_leaves_weights,
        "optimizer.weight_decay",
        "error",
        {"optimizer.learning_rate": 0.5, "optimizer.weight_decay": 2.0},
    ),
    "a weight decay that removes what was learned": Fires(
        schedule.weight_decay_leaves_weights,
        "optimizer.weight_decay",
        "warning",
        {"optimizer.learning_rate": 1e-3, "optimizer.weight_decay": 10.0, "schedule.steps": 1000},
    ),
    "a warm-up of most of the training": Fires(
        schedule.schedule_fits, "schedule.warmup_steps", "warning", {"schedule.steps": 100, "schedule.warmup_steps": 60}
    ),
    "a learning rate that is too high for full finetuning": Fires(
        schedule.learning_rate_suits_optimizer,
        "optimizer.learning_rate",
        "warning",
        {"model.method": "full", "optimizer.learning_rate": 0.005},
    ),
    "a low learning rate for Prodigy": Fires(
        schedule.learning_rate_suits_optimizer,
        "optimizer.learning_rate",
        "error",
        {**ADAPTS, "optimizer.learning_rate": 1e-4},
    ),
    "a schedule for a schedule-free optimizer": Fires(
        schedule.learning_rate_suits_optimizer,
        "schedule.scheduler",
        "warning",
        {"optimizer.name": "AdamWScheduleFree", "schedule.warmup_steps": 10},
    ),
    "a name cut at a space": Fires(output.name_is_good, "output.name", "error", {"output.name": "a" * 119 + " long"}),
    "a decay after a long warm-up": Fires(
        schedule.curve_fits_scheduler,
        "schedule.decay_steps",
        "error",
        {**STABLE, "schedule.warmup_steps": 95, "schedule.decay_steps": 20},
    ),
    "a decay longer than a few steps": Fires(
        schedule.curve_fits_scheduler,
        "schedule.decay_steps",
        "error",
        {**STABLE, "schedule.steps": 4, "schedule.decay_steps": 5},
    ),
    "no decay steps": Fires(schedule.curve_fits_scheduler, "schedule.decay_steps", "error", STABLE),
    "a decay longer than the training": Fires(
        schedule.curve_fits_scheduler, "schedule.decay_steps", "error", {**STABLE, "schedule.decay_steps": 101}
    ),
}

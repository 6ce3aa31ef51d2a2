"""Reads what the kohya GUI saves for a LoRA: its fields as options of sd-scripts, as the GUI itself makes them at the start.

Source: github.com/bmaltais/kohya_ss, kohya_gui/lora_gui.py, train_model; common_gui.py, resolve_lr_warmup_steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainer_core.engines.pasted import Given, Item, parse, shown
from trainer_core.errors import PlanError
from trainer_core.plan import fields

MARKS = ("max_resolution", "lr_warmup", "optimizer", "epoch", "model_list", "LyCORIS_preset")
"""Fields that sd-scripts has no option of; two of them make a text one of the GUI."""
MODELS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "sdxl": ("sdxl_train_network", ("sdxl_",)),
    "flux1_checkbox": ("flux_train_network", ("flux1_",)),
    "sd3_checkbox": ("sd3_train_network", ("sd3_",)),
    "hunyuan_image_checkbox": ("hunyuan_image_train_network", ("hunyuan_image_", "hunyuan_")),
    "anima_checkbox": ("anima_train_network", ("anima_",)),
    "lumina_checkbox": ("lumina_train_network", ("lumina_",)),
}
"""The box that chooses a kind of model: its program, and how the names of its own fields begin."""
RENAMED: Mapping[str, str] = {
    "max_resolution": "resolution",
    "optimizer": "optimizer_type",
    "lora_network_weights": "network_weights",
}
"""Fields whose option has another name."""
KEEPS_ZERO = ("learning_rate", "max_data_loader_n_workers", "max_grad_norm", "prior_loss_weight")
"""Fields where 0 is a value; in all others it means that the option is not given."""
OF_FLUX = (
    "ae", "apply_t5_attn_mask", "clip_l", "cpu_offload_checkpointing", "discrete_flow_shift", "double_blocks_to_swap",
    "guidance_scale", "mem_eff_save", "model_prediction_type", "model_type", "single_blocks_to_swap", "split_mode",
    "t5xxl", "t5xxl_lr", "t5xxl_max_token_length", "timestep_sampling", "fp8_base_unet",
)  # fmt: skip
OF_SD3 = (
    "clip_g", "clip_g_dropout_rate", "logit_mean", "logit_std", "mode_scale", "pos_emb_random_crop_rate", "save_clip",
    "save_t5xxl", "t5xxl_device", "t5xxl_dtype", "weighting_scheme",
)  # fmt: skip
OF_MODELS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(OF_FLUX, ("flux1_checkbox",)),
    **dict.fromkeys(OF_SD3, ("sd3_checkbox",)),
    "blocks_to_swap": ("flux1_checkbox", "sd3_checkbox", "hunyuan_image_checkbox", "anima_checkbox", "lumina_checkbox"),
    "show_timesteps": (),
    "show_timesteps_resolution": (),
}
"""Fields without such a beginning that only some kinds of model have."""
OF_THE_GUI = (
    "LoRA_type", "dynamo_backend", "dynamo_mode", "dynamo_use_dynamic", "dynamo_use_fullgraph", "epoch",
    "gpu_ids", "lr_warmup", "lr_warmup_steps", "main_process_port", "max_train_epochs", "max_train_steps", "model_list",
    "multi_gpu", "network_train_unet_only", "no_token_padding", "noise_offset_type", "num_cpu_threads_per_process",
    "num_machines", "num_processes", "text_encoder_lr", "t5xxl_lr", "xformers", *MODELS,
)  # fmt: skip
"""Fields that are no option: read together with others, or for the start of the process."""
NOT_USED = ("lowvram", "stop_text_encoder_training", "stop_text_encoder_training_pct")
"""Fields that the GUI itself ignores."""
BLOCKS = (
    "down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_lr_zero_threshold", "block_dims", "block_alphas",
    "conv_block_dims", "conv_block_alphas", "rank_dropout", "module_dropout",
)  # fmt: skip
CONVOLUTION = ("conv_dim", "conv_alpha")
LYCORIS = ("LyCORIS_preset", *CONVOLUTION, "rank_dropout", "module_dropout", "rank_dropout_scale", "train_norm")
WEIGHTS = ("bypass_mode", "dora_wd", "use_scalar")
FLUX = (
    "img_attn_dim", "img_mlp_dim", "img_mod_dim", "single_dim", "txt_attn_dim", "txt_mlp_dim", "txt_mod_dim",
    "single_mod_dim", "in_dims", "train_double_block_indices", "train_single_block_indices", "split_qkv", "train_t5xxl",
)  # fmt: skip
DROPOUT = ("rank_dropout", "module_dropout")
OF_LORA_PLUS = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
TYPES: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "Standard": ("networks.lora", "", BLOCKS),
    "Kohya LoCon": ("networks.lora", "", (*BLOCKS, *CONVOLUTION)),
    "Kohya DyLoRA": ("networks.dylora", "", (*BLOCKS, *CONVOLUTION, "unit")),
    "Kohya LoHa": ("networks.loha", "", (*CONVOLUTION, *DROPOUT, "use_tucker")),
    "Kohya LoKr": ("networks.lokr", "", (*CONVOLUTION, *DROPOUT, "use_tucker", "factor")),
    "LoRA-FA": ("networks.lora_fa", "", BLOCKS),
    "Flux1": ("networks.lora_flux", "", (*FLUX, *DROPOUT)),
    "Flux1 OFT": ("networks.oft_flux", "", ("enable_all_linear",)),
    "HunyuanImage-2.1": ("networks.lora_hunyuan_image", "", DROPOUT),
    "Anima": ("networks.lora_anima", "", DROPOUT),
    "Lumina": ("networks.lora_lumina", "", DROPOUT),
    "LoCon": ("lycoris.kohya", "locon", (*LYCORIS, *WEIGHTS, "use_tucker")),
    "LyCORIS/LoCon": ("lycoris.kohya", "locon", (*LYCORIS, *WEIGHTS, "use_tucker")),
    "LyCORIS/LoHa": ("lycoris.kohya", "loha", (*LYCORIS, *WEIGHTS, "use_tucker")),
    "LyCORIS/LoKr": ("lycoris.kohya", "lokr", (*LYCORIS, *WEIGHTS, "use_cp", "factor", "decompose_both")),
    "LyCORIS/BOFT": ("lycoris.kohya", "boft", (*LYCORIS, "use_tucker")),
    "LyCORIS/Diag-OFT": ("lycoris.kohya", "diag-oft", (*LYCORIS, "use_tucker", "constrain", "rescaled")),
    "LyCORIS/DyLoRA": ("lycoris.kohya", "dylora", (*LYCORIS, "use_tucker", "unit")),
    "LyCORIS/GLoRA": ("lycoris.kohya", "glora", (*LYCORIS, "use_tucker")),
    "LyCORIS/iA3": ("lycoris.kohya", "ia3", ("LyCORIS_preset", *CONVOLUTION, "train_on_input")),
    "LyCORIS/Native Fine-Tuning": ("lycoris.kohya", "full", LYCORIS),
}
"""The kinds of network of the GUI: the module, the algorithm of LyCORIS, and the fields that are its arguments."""
ARGUMENTS = frozenset(
    [field for _, _, names in TYPES.values() for field in names]
    + [*OF_LORA_PLUS, "ggpo_beta", "ggpo_sigma", "train_blocks"]
)
SPELLED: Mapping[str, str] = {"LyCORIS_preset": "preset", "unit": "block_size", "constrain": "constraint"}
"""Fields whose argument has another name."""
OTHER = "This is a saved configuration of the kohya GUI, but not one for a LoRA, and Easel reads only that."
OTHER_HINT = "Press “Print training command” in the GUI, and paste the command that it prints."


@dataclass(frozen=True)
class Form:
    """A configuration of the GUI as options of sd-scripts: with the field of each option whose name differs, and what is read here."""

    given: Given
    fields: Mapping[str, str]
    items: tuple[Item, ...]

    def named(self, one: Item) -> Item:
        """An item with the name of its field, as it is in the text."""
        return one if one.is_default else replace(one, option=self.fields.get(one.option, one.option))


def is_saved(given: Given) -> bool:
    """Whether a text is one that the GUI saved."""
    if given.program:
        return False
    return "LoRA_type" in given.options or sum(name in given.options for name in MARKS) > 1


def converted(given: Given) -> Form:
    """A configuration that the GUI saved as options of sd-scripts.

    Raises:
        PlanError: it is for another training method than a LoRA.
    """
    form = given.options
    if "LoRA_type" not in form:
        raise PlanError(OTHER, OTHER_HINT)
    model = next((name for name in MODELS if form.get(name) in (True, "true", "True")), "")
    program, begins = MODELS.get(model, ("train_network", ()))
    own = {name: value for name, value in form.items() if _is_set(name, value)}
    found: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name, value in own.items():
        option = next((name.removeprefix(begin) for begin in begins if name.startswith(begin)), RENAMED.get(name, name))
        if _is_read(name, model, form):
            found[option] = value
            names[option] = name
    for option, name, value in (*_network(own), *_rates(own), *_length(own)):
        found[option], names[option] = value, name
    names |= {f"network_args {_spelled(name)}": name for name in ARGUMENTS}
    for name in ("optimizer_args", "lr_scheduler_args"):
        if isinstance(text := found.get(name), str):
            found[name] = text.replace('"', "").split()
    items = [*_prompts(found.pop("sample_prompts", None)), *_ignored(own)]
    items += _additional(found.pop("additional_parameters", None), found)
    told = {*names.values(), *(one.option for one in items), "additional_parameters"}
    rest = [name for name in form if name not in told]
    if rest:
        reason = "they are empty, off, or not used by the GUI for this model and this kind of network."
        items.append(Item("other fields", str(len(rest)), "same", reason=reason))
    return Form(Given(program, found), names, tuple(items))


def _is_set(name: str, value: Any) -> bool:
    """Whether a field says something: most are empty, off or 0."""
    if isinstance(value, str) and value.strip() in ("0", "0.0"):
        return name in KEEPS_ZERO
    if isinstance(value, int | float) and not isinstance(value, bool) and value == 0:
        return name in KEEPS_ZERO
    return value not in (None, False, "", [], "None", "none")


def _is_read(name: str, model: str, form: Mapping[str, Any]) -> bool:
    """Whether the GUI gives a field of its form to the program as an option, for a kind of model."""
    others = [begin for box, (_, begins) in MODELS.items() if box != model for begin in begins]
    if name in OF_THE_GUI or name in ARGUMENTS or name in NOT_USED or any(name.startswith(each) for each in others):
        return False
    if name in OF_MODELS and model not in OF_MODELS[name]:
        return False
    kind = form.get("noise_offset_type", "Original")
    if name in ("multires_noise_iterations", "multires_noise_discount"):
        return kind == "Multires"
    return kind == "Original" or name not in ("noise_offset", "noise_offset_random_strength", "adaptive_noise_scale")


def _network(form: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """The options of the network: each with the field that it follows from, and the value."""
    chosen = str(form.get("LoRA_type"))
    # A kind that is not known stays as it is; the reader refuses it.
    module, algorithm, names = TYPES.get(chosen, (chosen, "", ()))
    if form.get("sd3_checkbox") and chosen == "Standard":
        module = "networks.lora_sd3"
    yield "network_module", "LoRA_type", module
    arguments = [
        *([f"algo={algorithm}"] if algorithm else []),
        *(
            f"{_spelled(name)}={form[name]}"
            for name in (*names, *OF_LORA_PLUS)
            if name in form and not (name == "factor" and str(form[name]) == "-1")
        ),
    ]
    if arguments:
        yield "network_args", "network_args", arguments
    if form.get("xformers") in (True, "xformers"):
        yield "xformers", "xformers", True
    elif form.get("xformers") == "sdpa":
        yield "sdpa", "xformers", True


def _spelled(name: str) -> str:
    return SPELLED.get(name, name)


def _number(value: Any) -> float:
    try:
        return float(value or 0)
    except (TypeError, ValueError):
        return 0.0


def _rates(form: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """The learning rate of the text encoders, and whether they are trained: a rate of 0 says that they are not."""
    text, unet = form.get("text_encoder_lr"), form.get("unet_lr")
    if text is not None and form.get("t5xxl_lr") and form.get("flux1_checkbox"):
        yield "text_encoder_lr", "text_encoder_lr", [text, form["t5xxl_lr"]]
    elif text is not None:
        yield "text_encoder_lr", "text_encoder_lr", text if isinstance(text, list) else [text]
    if text is None and unet is not None:
        yield "network_train_unet_only", "text_encoder_lr", True
    if text is not None and unet is None:
        yield "network_train_text_encoder_only", "unet_lr", True


def _length(form: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """The length, and the warm-up, which the GUI has in percent."""
    if "max_train_epochs" in form:
        yield "max_train_epochs", "max_train_epochs", form["max_train_epochs"]
    elif "max_train_steps" in form:
        yield "max_train_steps", "max_train_steps", form["max_train_steps"]
    elif "epoch" in form and "dataset_config" not in form:
        yield "max_train_epochs", "epoch", form["epoch"]
    if _number(form.get("lr_warmup_steps")) > 0:
        yield "lr_warmup_steps", "lr_warmup_steps", int(_number(form["lr_warmup_steps"]))
    elif _number(form.get("lr_warmup")) > 0:
        yield "lr_warmup_steps", "lr_warmup", _number(form["lr_warmup"]) / 100


def _prompts(text: Any) -> Iterator[Item]:
    """What becomes of the prompts of the samples, which the GUI keeps as text."""
    if not text:
        return
    lines = [line for line in str(text).splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found, problem = fields.from_text("sampling.prompts", "\n".join(lines))
    if problem or not found:
        yield Item("sample_prompts", shown(text), "refused", reason=problem or "it has no prompt.")
    else:
        yield Item("sample_prompts", shown(text), "setting", "sampling.prompts", found)


def _ignored(form: Mapping[str, Any]) -> Iterator[Item]:
    for name in NOT_USED:
        if name in form:
            yield Item(name, shown(form[name]), "same", reason="the GUI ignores it for a LoRA.")


def _additional(text: Any, found: dict[str, Any]) -> Iterator[Item]:
    """Adds the additional parameters, which are written as in a command, to the options; an item if they cannot be read."""
    if not text:
        return
    try:
        found |= parse(str(text)).options
    except PlanError as error:
        yield Item("additional_parameters", shown(text), "refused", reason=error.message)

"""What pasted commands of sd-scripts say about the network, the optimizer, the learning rates and what is saved."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from backends.kohya import arguments, target
from backends.kohya.cell import KohyaCell
from backends.kohya.pasted_values import Read, direct, item, refused, same
from backends.kohya.translation import TRANSLATION
from trainer_core import catalog
from trainer_core.engines import optimizer_arguments
from trainer_core.engines.pasted import Item, shown
from trainer_core.plan import fields

MISSING = ("network_dim", "text_encoder_lr", "optimizer_args", "stop_text_encoder_training")
"""Options whose absence means something, although the parser has no default for them."""
USUAL_RANK = 4
"""Source: networks/lora.py, create_network."""
LYCORIS_ALGORITHMS = {"lora": "locon", "locon": "locon", "diag-oft": "oft"}
TEXT_RATE, RATE = "optimizer.text_encoder_learning_rate", "optimizer.learning_rate"
TRAINS_TEXT = "network.train_text_encoder"


def _pairs(value: Any) -> dict[str, str]:
    """{key: text} of a list of key=value."""
    parts = [str(entry).partition("=") for entry in value or ()]
    return {key.strip(): text.strip() for key, _, text in parts}


def _one(read: Read, option: str, key: str, text: Any, path: str, value: Any) -> Iterator[Item]:
    """What becomes of one key inside an option that follows from a setting."""
    found, problem = fields.check(path, value)
    name = f"{option} {key}"
    is_default = option not in read.given
    if problem:
        yield Item(name, shown(text), "refused", reason=problem)
    elif not is_default or found != fields.all_fields()[path].default:
        yield Item(name, shown(text), "setting", path, found, is_default=is_default)


def _literal(text: str) -> Any:
    """A text in Python's notation as a value; the text itself if it is none, with true and false also in lower case."""
    if text.lower() in ("true", "false", "none"):
        return {"true": True, "false": False}.get(text.lower())
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


# ---- the network ---------------------------------------------------------------------------------------------------


def _algorithm(read: Read) -> str:
    """The algorithm of the network; "" if Easel has none of this kind."""
    module, pairs = str(read.value("network_module") or "networks.lora"), _pairs(read.value("network_args"))
    entries = {f"{key}={text}".lower() for key, text in pairs.items()}
    if module == target.LYCORIS:
        fitting = [
            name
            for name, kind in TRANSLATION.algorithms.items()
            if kind.module == module and all(entry.lower() in entries for entry in kind.arguments)
        ]
        best = max(fitting, key=lambda name: len(TRANSLATION.algorithms[name].arguments), default="")
        return best or LYCORIS_ALGORITHMS.get(pairs.get("algo", "lora").lower(), "")
    own = next((name for name, kind in TRANSLATION.algorithms.items() if kind.module == module), "")
    cells = (cell for claim in read.manifest.families.values() for cell in claim.methods.values())
    modules = {cell.network for cell in cells if isinstance(cell, KohyaCell)}
    return own or ("lora" if module in modules - {""} else "")


def _module(read: Read, name: str, _: Any) -> Iterator[Item]:
    if name not in read.given:
        return
    if found := _algorithm(read):
        yield item(read, name, "setting", "network.algorithm", found)
    else:
        yield refused(read, name, "Easel has no network of this kind.")


def _network(read: Read, option: str, value: Any) -> Iterator[Item]:
    algorithm = _algorithm(read)
    kind = TRANSLATION.algorithms.get(algorithm)
    selecting = {entry.partition("=")[0] for entry in (kind.arguments if kind else ())} | {"algo"}
    names = {key: setting for setting, key in TRANSLATION.network_settings.items()}
    for key, text in _pairs(value).items():
        setting = names.get(key)
        if key in selecting:
            yield Item(f"{option} {key}", text, "same", reason="it is part of the algorithm.")
        elif key == "preset":
            yield from _targets(read, option, text)
        elif setting is None:
            yield Item(f"{option} {key}", text, "native", f"native.{read.manifest.id}.{option}.{key}", text)
        else:
            yield from _one(read, option, key, text, f"network.{setting}", _of_type(f"network.{setting}", text))


def _of_type(path: str, text: str) -> Any:
    found = _literal(text)
    return float(found) if fields.all_fields()[path].base_type is float and isinstance(found, int) else found


def _targets(read: Read, option: str, text: str) -> Iterator[Item]:
    known = {spelled: name for name, spelled in TRANSLATION.targets.items()}
    if text == target.LAYERS.as_posix():
        yield Item(f"{option} preset", text, "same", reason="Easel writes this file.")
    elif text in known:
        yield from _one(read, option, "preset", text, "network.targets", known[text])
    else:
        reason = f"Easel knows the presets {', '.join(known)}, and reads no file of layers."
        yield Item(f"{option} preset", shown(text), "refused", reason=reason)


def _rank(read: Read, name: str, value: Any) -> Iterator[Item]:
    if read.method == "lora" and "rank" in _reads(read):
        yield from direct(read, name, "network.rank", USUAL_RANK if value is None else value)
    elif name in read.given:
        yield same(read, name, "this network has no rank.")


def _reads(read: Read) -> tuple[str, ...]:
    found = catalog.algorithms().get(_algorithm(read))
    return found.settings if found else ()


def _alpha(read: Read, name: str, value: Any) -> Iterator[Item]:
    if read.method == "lora" and "alpha" in _reads(read):
        # 0 means the rank. Source: networks/lora.py, LoRAModule.
        yield from direct(read, name, "network.alpha", value or read.value("network_dim") or USUAL_RANK)


def _only_unet(read: Read, name: str, value: Any) -> Iterator[Item]:
    if read.method == "lora" and read.cell.text_encoders:
        yield from direct(read, name, TRAINS_TEXT, not value)
    elif name in read.given:
        yield same(read, name, "no text encoder is trained here.")


def _stop_text(read: Read, name: str, value: Any) -> Iterator[Item]:
    if read.cell.text_encoder_switch != name:
        return
    if value in (None, target.NEVER):
        yield from direct(read, name, TRAINS_TEXT, value is None)
    else:
        yield refused(read, name, "Easel trains the text encoder to the end or not at all.")


# ---- learning rates ------------------------------------------------------------------------------------------------


def _rate(read: Read, name: str, value: Any) -> Iterator[Item]:
    if read.method == "lora" and read.given.get("unet_lr") is not None:
        if name in read.given:
            yield same(read, name, "unet_lr counts for the network.")
        return
    yield from direct(read, name, RATE, value)


def _unet_rate(read: Read, name: str, value: Any) -> Iterator[Item]:
    if name in read.given and read.method == "lora":
        yield from direct(read, name, RATE, value)


def _text_rate(read: Read, name: str, value: Any) -> Iterator[Item]:
    if read.method != "lora" or not read.cell.text_encoders:
        return
    if not value:
        if not read.value("network_train_unet_only"):
            yield from (
                replace(one, shown=shown(one.value))
                for one in direct(read, name, TEXT_RATE, read.value("learning_rate"))
            )
    elif len(set(value)) > 1:
        yield refused(read, name, "Easel has one learning rate for all text encoders.")
    else:
        yield from direct(read, name, TEXT_RATE, value[0])


def _model_text_rate(read: Read, name: str, value: Any) -> Iterator[Item]:
    others = {read.value(each) for each in read.cell.text_encoder_rates}
    if name in read.given and len(others) > 1:
        yield refused(read, name, "Easel has one learning rate for all text encoders.")
    elif name in read.given:
        yield from direct(read, name, TEXT_RATE, value)


# ---- the optimizer and the schedule --------------------------------------------------------------------------------


def _optimizer(read: Read) -> str:
    """Easel's name of the optimizer; "" if it has none of this name."""
    if read.given.get("use_8bit_adam"):
        return "AdamW8bit"
    if read.given.get("use_lion_optimizer"):
        return "Lion"
    spelled = str(read.value("optimizer_type") or "AdamW").lower()
    return next((name for name, own in read.manifest.optimizers.items() if own.lower() == spelled), "")


def _optimizer_type(read: Read, name: str, _: Any) -> Iterator[Item]:
    if name not in read.given:
        return
    if found := _optimizer(read):
        yield item(read, name, "setting", "optimizer.name", found)
    else:
        known = ", ".join(read.manifest.optimizers.values())
        yield refused(read, name, f"Easel does not know this optimizer of the engine. It knows {known}.")


def _optimizer_args(read: Read, option: str, value: Any) -> Iterator[Item]:
    name = _optimizer(read)
    if not name:
        if value:
            yield refused(read, option, "the optimizer is not known.")
        return
    follows, pairs = arguments.follows(name, read.manifest), _pairs(value)
    always = _pairs(read.manifest.optimizer_arguments.get(name, ()))
    for key, text in pairs.items():
        paths = follows.get(key)
        if paths is None:
            yield Item(f"{option} {key}", text, "native", f"native.{read.manifest.id}.{option}.{key}", text)
        elif not paths:
            is_same = always.get(key) == text
            reason = "Easel sets it so." if is_same else f"Easel always sets it to {always.get(key)}."
            yield Item(f"{option} {key}", text, "same" if is_same else "refused", reason=reason)
        else:
            yield from _argument(read, option, key, text, paths)
    if "weight_decay" not in pairs and (record := optimizer_arguments.recorded(read.manifest).get(name)):
        usual = float(record.takes.get("weight_decay", {}).get("default", 0.0))
        if usual != fields.all_fields()["optimizer.weight_decay"].default:
            yield Item(
                f"{option} weight_decay", str(usual), "setting", "optimizer.weight_decay", usual, is_default=True
            )


def _argument(read: Read, option: str, key: str, text: str, paths: tuple[str, ...]) -> Iterator[Item]:
    found = _literal(text)
    if key != "betas":
        yield from _one(read, option, key, text, paths[0], _of_type(paths[0], text))
    elif isinstance(found, tuple | list) and len(found) == len(paths):
        for path, beta in zip(paths, found, strict=True):
            yield from _one(read, option, key, text, path, beta)
    else:
        yield Item(f"{option} {key}", shown(text), "refused", reason=f"it must be {len(paths)} numbers in brackets.")


def _scheduler(read: Read, name: str, value: Any) -> Iterator[Item]:
    found = next((own for own, spelled in read.manifest.schedulers.items() if spelled == value), None)
    if found is None:
        yield refused(read, name, "Easel does not know this schedule.")
        return
    warms_up = bool(read.value("lr_warmup_steps"))
    if found == "constant" and warms_up:
        found = "constant_with_warmup"
    yield from direct(read, name, "schedule.scheduler", found)


def _warmup(read: Read, name: str, value: Any) -> Iterator[Item]:
    if _optimizer(read) in TRANSLATION.warms_up_itself and "warmup_steps" in _pairs(read.value("optimizer_args")):
        if name in read.given:
            yield same(read, name, "this optimizer warms up by itself: warmup_steps in optimizer_args counts.")
    elif isinstance(value, float) and 0 < value < 1:
        yield item(read, name, "share", "schedule.warmup_steps", value)
    else:
        yield from direct(read, name, "schedule.warmup_steps", _of_one(read, value))


def _of_one(read: Read, value: Any) -> Any:
    """A number of steps of the schedule as one of the optimizer."""
    return round(value / read.processes) if isinstance(value, int) and not isinstance(value, bool) else value


def _of_schedule(setting: str) -> Callable[[Read, str, Any], Iterator[Item]]:
    """The reader of an option that only some schedules read."""

    def found(read: Read, name: str, value: Any) -> Iterator[Item]:
        spelled = read.value("lr_scheduler")
        chosen = next((own for own, each in read.manifest.schedulers.items() if each == spelled), "")
        if chosen in catalog.schedulers() and setting in catalog.schedulers()[chosen].settings:
            counts = setting in ("decay_steps", "timescale")
            yield from direct(read, name, f"schedule.{setting}", _of_one(read, value) if counts else value)
        elif name in read.given:
            yield same(read, name, "this schedule does not read it.")

    return found


# ---- memory, model and what is saved -------------------------------------------------------------------------------


def _half(read: Read, name: str, value: Any) -> Iterator[Item]:
    if not value:
        return
    if name == f"full_{read.value('mixed_precision')}":
        yield item(read, name, "setting", "memory.half_weights", True)
    else:
        yield refused(read, name, "it needs the same mixed_precision.")


def _prediction(read: Read, name: str, value: Any) -> Iterator[Item]:
    if value:
        yield item(read, name, "setting", "model.prediction", "v_prediction")


def _keep(read: Read, name: str, value: Any) -> Iterator[Item]:
    """Steps before the newest checkpoint as a number of checkpoints."""
    if name not in read.given:
        return
    every = read.value("save_every_n_steps") or 0
    if every and isinstance(value, int) and value > 1:
        yield from direct(read, name, "output.keep_last", -(-(value + 1) // every))
    elif value == 1:
        yield same(read, name, "checkpoints that only belong to a state are not kept.")
    else:
        yield refused(read, name, "it counts only with save_every_n_steps.")


def _states(read: Read, name: str, value: Any) -> Iterator[Item]:
    if not value:
        return
    every, last = read.value("save_every_n_steps") or 0, read.given.get("save_last_n_steps_state")
    keep = max(1, int(last) // every - 1) if every and last else 1
    yield item(read, name, "setting", "output.keep_states", keep)


def _states_kept(read: Read, name: str, _: Any) -> Iterator[Item]:
    if name in read.given:
        yield same(read, name, "it is read together with save_state.")


def _save_every(read: Read, name: str, value: Any) -> Iterator[Item]:
    if name not in read.given:
        return
    if read.value("save_last_n_steps") == 1 and read.value("save_state"):
        yield same(read, name, "it saves states only.")
    else:
        yield from direct(read, name, "output.save_every_steps", value)


def _fixed(read: Read, name: str, value: Any) -> Iterator[Item]:
    """The shift of a flow model; the value that Easel writes without one is none."""
    if name not in read.given:
        return
    if read.cell.fixed.get(name) == value:
        yield same(read, name, "Easel sets it so.")
    else:
        yield from direct(read, name, "schedule.flow_shift", value)


def _text_encoder_file(read: Read, name: str, value: Any) -> Iterator[Item]:
    if name in read.given:
        yield from direct(read, name, "model.qwen", value)


def _model_type(read: Read, name: str, _: Any) -> Iterator[Item]:
    if name in read.given:
        yield same(read, name, "the model's file says it.")


SPECIAL: Mapping[str, Callable[[Read, str, Any], Iterator[Item]]] = {
    "discrete_flow_shift": _fixed,
    "full_bf16": _half,
    "full_fp16": _half,
    "learning_rate": _rate,
    "learning_rate_te": _model_text_rate,
    "learning_rate_te1": _model_text_rate,
    "learning_rate_te2": _model_text_rate,
    "lr_decay_steps": _of_schedule("decay_steps"),
    "lr_scheduler": _scheduler,
    "lr_scheduler_min_lr_ratio": _of_schedule("min_rate_ratio"),
    "lr_scheduler_num_cycles": _of_schedule("restarts"),
    "lr_scheduler_power": _of_schedule("power"),
    "lr_scheduler_timescale": _of_schedule("timescale"),
    "lr_warmup_steps": _warmup,
    "model_type": _model_type,
    "network_alpha": _alpha,
    "network_args": _network,
    "network_dim": _rank,
    "network_module": _module,
    "network_train_unet_only": _only_unet,
    "optimizer_args": _optimizer_args,
    "optimizer_type": _optimizer_type,
    "save_every_n_steps": _save_every,
    "save_last_n_steps": _keep,
    "save_last_n_steps_state": _states_kept,
    "save_state": _states,
    "stop_text_encoder_training": _stop_text,
    "text_encoder": _text_encoder_file,
    "text_encoder_lr": _text_rate,
    "training_shift": _fixed,
    "unet_lr": _unet_rate,
    "use_8bit_adam": _optimizer_type,
    "use_lion_optimizer": _optimizer_type,
    "v_parameterization": _prediction,
}
"""The options whose value has another form in a plan."""

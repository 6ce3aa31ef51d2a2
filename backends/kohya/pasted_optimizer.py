"""What pasted commands of sd-scripts say about the optimizer, the learning rates and the schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from backends.kohya import arguments
from backends.kohya.pasted_values import Read, checked, direct, item, literal, of_type, pairs_in, refused, same
from backends.kohya.translation import TRANSLATION
from trainer_core import catalog
from trainer_core.engines import optimizer_arguments
from trainer_core.engines.pasted import Item, shown
from trainer_core.plan import fields

TEXT_RATE, RATE = "optimizer.text_encoder_learning_rate", "optimizer.learning_rate"
NO_OPTIMIZER = "it belongs to the optimizer of the text, which cannot be taken over."


# ---- learning rates ------------------------------------------------------------------------------------------------


def _rate(read: Read, name: str, value: Any) -> Iterator[Item]:
    if read.method == "lora" and read.given.get("unet_lr") is not None:
        if name in read.given:
            yield same(read, name, "unet_lr counts for the network.")
        return
    yield from _of_optimizer(read, name, RATE, value)


def _of_optimizer(read: Read, name: str, path: str, value: Any) -> Iterator[Item]:
    """A learning rate, which only fits the optimizer that it is given for."""
    if _optimizer(read):
        yield from direct(read, name, path, value)
    elif name in read.given:
        yield refused(read, name, NO_OPTIMIZER)


def _unet_rate(read: Read, name: str, value: Any) -> Iterator[Item]:
    if name in read.given and read.method == "lora":
        yield from _of_optimizer(read, name, RATE, value)


def _text_rate(read: Read, name: str, value: Any) -> Iterator[Item]:
    if read.method != "lora" or not read.cell.text_encoders:
        if name in read.given:
            yield same(read, name, "no text encoder is trained here.")
        return
    if not value:
        if _optimizer(read) and not read.value("network_train_unet_only"):
            yield from (
                replace(one, shown=shown(one.value))
                for one in direct(read, name, TEXT_RATE, read.value("learning_rate"))
            )
    elif len(set(value)) > 1:
        yield refused(read, name, "Easel has one learning rate for all text encoders.")
    else:
        yield from _of_optimizer(read, name, TEXT_RATE, value[0])


def _model_text_rate(read: Read, name: str, value: Any) -> Iterator[Item]:
    others = {read.value(each) for each in read.cell.text_encoder_rates}
    if name in read.given and len(others) > 1:
        yield refused(read, name, "Easel has one learning rate for all text encoders.")
    elif name in read.given:
        yield from _of_optimizer(read, name, TEXT_RATE, value)


# ---- the optimizer and the schedule --------------------------------------------------------------------------------


def _optimizer(read: Read) -> str:
    """Easel's name of the optimizer; "" if it has none of this name, or the text names two."""
    if len(_optimizers(read)) > 1:
        return ""
    if read.given.get("use_8bit_adam"):
        return "AdamW8bit"
    if read.given.get("use_lion_optimizer"):
        return "Lion"
    spelled = str(read.value("optimizer_type") or "AdamW").lower()
    return next((name for name, own in read.manifest.optimizers.items() if own.lower() == spelled), "")


def _optimizers(read: Read) -> list[str]:
    """The given options that choose the optimizer. Source: library/train_util.py, get_optimizer, which refuses two."""
    return [name for name in ("optimizer_type", "use_8bit_adam", "use_lion_optimizer") if read.given.get(name)]


def _optimizer_type(read: Read, name: str, value: Any) -> Iterator[Item]:
    if name not in read.given:
        return
    chosen = _optimizers(read)
    if not value:
        yield same(read, name, "it is off.")
    elif len(chosen) > 1:
        yield refused(read, name, f"sd-scripts refuses {' and '.join(chosen)} together. Keep one of them in the text.")
    elif found := _optimizer(read):
        yield item(read, name, "setting", "optimizer.name", found)
    else:
        known = ", ".join(read.manifest.optimizers.values())
        yield refused(read, name, f"Easel does not know this optimizer of the engine. It knows {known}.")


def _optimizer_args(read: Read, option: str, value: Any) -> Iterator[Item]:
    name = _optimizer(read)
    if not name:
        if value:
            yield refused(read, option, NO_OPTIMIZER)
        return
    follows, pairs = arguments.follows(name, read.manifest), pairs_in(value)
    always = pairs_in(read.manifest.optimizer_arguments.get(name, ()))
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
    found = literal(text)
    if key != "betas":
        yield from checked(read, option, key, text, paths[0], of_type(paths[0], text))
    elif isinstance(found, tuple | list) and len(found) == len(paths):
        for path, beta in zip(paths, found, strict=True):
            yield from checked(read, option, key, text, path, beta)
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
    if _optimizer(read) in TRANSLATION.warms_up_itself and "warmup_steps" in pairs_in(read.value("optimizer_args")):
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


SPECIAL: Mapping[str, Callable[[Read, str, Any], Iterator[Item]]] = {
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
    "optimizer_args": _optimizer_args,
    "optimizer_type": _optimizer_type,
    "text_encoder_lr": _text_rate,
    "unet_lr": _unet_rate,
    "use_8bit_adam": _optimizer_type,
    "use_lion_optimizer": _optimizer_type,
}
"""The options whose value has another form in a plan."""

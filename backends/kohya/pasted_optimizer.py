"""What pasted commands of sd-scripts say about the optimizer, the learning rates and the schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from backends.kohya import arguments
from backends.kohya.pasted_read import Read
from backends.kohya.translation import TRANSLATION
from trainer_core.engines import pasted_options
from trainer_core.engines.pasted import Item, shown
from trainer_core.engines.pasted_options import direct, item, refused, same
from trainer_core.engines.pasted_training import NO_OPTIMIZER, OptimizerReader

TEXT_RATE, RATE = "optimizer.text_encoder_learning_rate", "optimizer.learning_rate"


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


def _optimizer(read: pasted_options.Read) -> str:
    """Easel's name of the optimizer; "" if it has none of this name, or the text names two."""
    if len(_optimizers(read)) > 1:
        return ""
    if read.given.get("use_8bit_adam"):
        return "AdamW8bit"
    if read.given.get("use_lion_optimizer"):
        return "Lion"
    spelled = str(read.value("optimizer_type") or "AdamW").lower()
    return next((name for name, own in read.manifest.optimizers.items() if own.lower() == spelled), "")


def _optimizers(read: pasted_options.Read) -> list[str]:
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


READER = OptimizerReader(_optimizer, arguments.follows, TRANSLATION.warms_up_itself)
SPECIAL: Mapping[str, Callable[[Read, str, Any], Iterator[Item]]] = {
    **READER.special,
    "learning_rate": _rate,
    "learning_rate_te": _model_text_rate,
    "learning_rate_te1": _model_text_rate,
    "learning_rate_te2": _model_text_rate,
    "optimizer_type": _optimizer_type,
    "text_encoder_lr": _text_rate,
    "unet_lr": _unet_rate,
    "use_8bit_adam": _optimizer_type,
    "use_lion_optimizer": _optimizer_type,
}
"""The options whose value has another form in a plan."""

"""What pasted commands of sd-scripts say about the network, the memory, the model and what is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from backends.kohya import pasted_optimizer, target
from backends.kohya.cell import KohyaCell
from backends.kohya.pasted_read import Read
from backends.kohya.translation import TRANSLATION
from trainer_core import catalog
from trainer_core.engines.pasted import Item, shown
from trainer_core.engines.pasted_options import checked, direct, item, of_type, pairs_in, refused, same

MISSING = ("network_dim", "text_encoder_lr", "optimizer_args", "stop_text_encoder_training")
"""Options whose absence means something, although the parser has no default for them."""
USUAL_RANK = 4
"""Source: networks/lora.py, create_network."""
LYCORIS_ALGORITHMS = {"lora": "locon", "locon": "locon", "diag-oft": "oft"}
TRAINS_TEXT = "network.train_text_encoder"


# ---- the network ---------------------------------------------------------------------------------------------------


def _algorithm(read: Read) -> str:
    """The algorithm of the network; "" if Easel has none of this kind."""
    module, pairs = str(read.value("network_module") or "networks.lora"), pairs_in(read.value("network_args"))
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
    for key, text in pairs_in(value).items():
        setting = names.get(key)
        if key in selecting:
            yield Item(f"{option} {key}", text, "same", reason="it is part of the algorithm.")
        elif key == "preset":
            yield from _targets(read, option, text)
        elif setting is None:
            yield Item(f"{option} {key}", text, "native", f"native.{read.manifest.id}.{option}.{key}", text)
        else:
            yield from checked(read, option, key, text, f"network.{setting}", of_type(f"network.{setting}", text))


def _targets(read: Read, option: str, text: str) -> Iterator[Item]:
    known = {spelled: name for name, spelled in TRANSLATION.targets.items()}
    if text == target.LAYERS.as_posix():
        yield Item(f"{option} preset", text, "same", reason="Easel writes this file.")
    elif text in known:
        yield from checked(read, option, "preset", text, "network.targets", known[text])
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
    elif name in read.given:
        yield same(read, name, "this network has no alpha.")


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
    **pasted_optimizer.SPECIAL,
    "discrete_flow_shift": _fixed,
    "full_bf16": _half,
    "full_fp16": _half,
    "model_type": _model_type,
    "network_alpha": _alpha,
    "network_args": _network,
    "network_dim": _rank,
    "network_module": _module,
    "network_train_unet_only": _only_unet,
    "stop_text_encoder_training": _stop_text,
    "text_encoder": _text_encoder_file,
    "training_shift": _fixed,
    "v_parameterization": _prediction,
}
"""The options whose value has another form in a plan."""

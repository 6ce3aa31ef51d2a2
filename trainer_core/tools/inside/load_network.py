"""Loads a network with diffusers' own loader, into the model of its family without weights, and reports what was loaded.

    python load_network.py NETWORK.safetensors MODEL.json REPORT.json

Run by the Python of an engine that has diffusers and PEFT. MODEL.json has, for each
variant of the family, the name of the pipeline and the configuration of each component. The model is on PyTorch's "meta" device, which has shapes and no values, so
this takes the memory of the network only. Nothing is downloaded. The last line of the output is the report, as JSON.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

ADAPTER = "default_0"
REFUSALS = (LookupError, ValueError, TypeError, RuntimeError, AttributeError, AssertionError, ImportError, OSError)
"""What the loaders of diffusers, PEFT and transformers raise for a file that they cannot load."""
SKIPPED = ("_class_name", "_diffusers_version", "_name_or_path", "architectures", "model_type", "transformers_version")


def model(row: dict[str, Any]) -> Any:
    """A pipeline object with the components of a row: their modules have shapes, but no weights."""
    torch = importlib.import_module("torch")
    diffusers = importlib.import_module("diffusers")
    mixins = importlib.import_module("diffusers.loaders.lora_pipeline")
    kind = getattr(diffusers, row["pipeline"], None) or getattr(mixins, row["pipeline"])

    class Holder(kind):
        """The pipeline, without what it needs to make images."""

        hf_device_map = None
        components: Any = MappingProxyType({})
        text_encoder = text_encoder_2 = text_encoder_3 = unet = transformer = None

    holder = object.__new__(Holder)
    with torch.device("meta"):
        for name, config in row["components"].items():
            holder.__dict__[name] = _component(diffusers, config)
    return holder


def _component(diffusers: Any, config: dict[str, Any]) -> Any:
    values = {key: value for key, value in config.items() if key not in SKIPPED}
    if "_class_name" in config:
        return getattr(diffusers, config["_class_name"]).from_config(values)
    transformers = importlib.import_module("transformers")
    name = config["architectures"][0]
    kind = getattr(transformers, name)
    return kind(kind.config_class(**values))


def load(holder: Any, path: Path) -> dict[str, Any]:
    """What diffusers loads of a file: the error, the warnings, and by component the scale of each layer that it changes.

    `unexpected` are the names that PEFT had no layer for. `first` is the product of the first numbers of each layer's two
    matrices.
    """
    found: dict[str, Any] = {"error": "", "warnings": [], "loaded": {}, "unexpected": [], "first": {}}
    handler = _Collector(found["warnings"])
    logging.getLogger("diffusers").addHandler(handler)
    undo = _watch(holder, found)
    try:
        holder.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=ADAPTER, local_files_only=True)
    except REFUSALS as error:
        found["error"] = f"{type(error).__name__}: {error}"[:2000]
    finally:
        undo()
        logging.getLogger("diffusers").removeHandler(handler)
    for name, component in holder.__dict__.items():
        found["loaded"] |= _scales(name, component, found["first"].get(name, {}))
    return found


def _watch(holder: Any, found: dict[str, Any]) -> Callable[[], None]:
    """Notes what PEFT and the text encoders are given; returns the function that ends this."""
    places: list[Any] = [importlib.import_module(name) for name in ("peft", "peft.utils")]
    original = places[0].set_peft_model_state_dict
    names = {id(component): name for name, component in holder.__dict__.items()}

    def watched(model: Any, state: dict[str, Any], *args: Any, **options: Any) -> Any:
        result = original(model, state, *args, **options)
        found["unexpected"] += list(getattr(result, "unexpected_keys", None) or ())
        found["first"].setdefault(names.get(id(model), ""), {}).update(_first(state))
        return result

    for place in places:
        place.set_peft_model_state_dict = watched
    for name, component in holder.__dict__.items():
        # A text encoder is a model of transformers, which loads adapters in its own way.
        if hasattr(type(component), "load_adapter") and hasattr(type(component), "get_input_embeddings"):
            vars(component)["load_adapter"] = _noting(component, found["first"].setdefault(name, {}))

    def undo() -> None:
        for place in places:
            place.set_peft_model_state_dict = original
        for component in holder.__dict__.values():
            vars(component).pop("load_adapter", None)

    return undo


def _noting(component: Any, first: dict[str, float]) -> Any:
    """The method `load_adapter` of a text encoder, which also notes what it is given."""
    original = component.load_adapter

    def load_adapter(*args: Any, **options: Any) -> Any:
        result = original(*args, **options)
        first.update(_first(options.get("adapter_state_dict") or {}))
        return result

    return load_adapter


def _first(state: dict[str, Any]) -> dict[str, float]:
    """By layer, the product of the first numbers of its two matrices."""
    found = {}
    for key, value in state.items():
        layer, is_second, _ = key.partition(".lora_B.")
        if is_second:
            other = state.get(key.replace(".lora_B.", ".lora_A."))
            found[layer] = float(value.flatten()[0]) * (1.0 if other is None else float(other.flatten()[0]))
    return found


def _scales(name: str, component: Any, first: dict[str, float]) -> dict[str, dict[str, float]]:
    """The scale of each layer of a component that was given to it; {} if there is none."""
    given = {layer.removeprefix("text_model."): layer for layer in first}
    found = {}
    for layer, module in component.named_modules():
        scales, short = getattr(module, "scaling", None), layer.removeprefix("text_model.")
        if short in given and isinstance(scales, dict) and ADAPTER in scales:
            found[given[short]] = float(scales[ADAPTER])
    return {name: found} if found else {}


def remove(holder: Any) -> None:
    """Takes the network out of the model again, for the next one."""
    for component in holder.__dict__.values():
        for _, parent in list(component.named_modules()):
            for name, child in list(parent.named_children()):
                if hasattr(child, "base_layer"):
                    setattr(parent, name, child.base_layer)
        for attribute in ("_hf_peft_config_loaded", "peft_config"):
            vars(component).pop(attribute, None)


class _Collector(logging.Handler):
    """Collects the messages of a logger."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the text of a message."""
        self._messages.append(record.getMessage()[:2000])


def main(arguments: list[str]) -> int:
    """Writes the report; returns the exit status."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    path, rows = Path(arguments[0]), json.loads(Path(arguments[1]).read_text("utf-8"))
    found: dict[str, Any] = {}
    for row in rows:
        print("Building the model without weights", flush=True)
        holder = model(row)
        print("Loading the network", flush=True)
        found = load(holder, path)
        # A network of another variant has the same names, and other sizes.
        if "size mismatch" not in found["error"]:
            break
    found["version"] = importlib.import_module("diffusers").__version__
    Path(arguments[2]).write_text(json.dumps(found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

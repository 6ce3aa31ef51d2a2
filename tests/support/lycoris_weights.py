"""Merges modules into weights with LyCORIS itself. Run it with the Python of an engine that has LyCORIS: INPUT OUTPUT."""

import sys

import torch
from lycoris.functional.lokr import kron_weight
from lycoris.modules import get_module, make_module
from lycoris.modules.ia3 import IA3Module
from safetensors.torch import load_file, save_file


def layer(weight):
    """A layer with this weight."""
    if weight.ndim == 2:
        made = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    else:
        made = torch.nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], bias=False)
    made.weight.data.copy_(weight)
    return made


state = load_file(sys.argv[1])
results = {}
with torch.no_grad():
    for name in sorted({key.removesuffix(".base") for key in state if key.endswith(".base")}):
        base = state.pop(f"{name}.base")
        if f"{name}.lora_down.weight" in state:
            # Without an alpha the scale is 1, but LyCORIS loads no file without it.
            state.setdefault(f"{name}.alpha", torch.tensor(float(len(state[f"{name}.lora_down.weight"]))))
        if f"{name}.on_input" in state:
            # LyCORIS cannot load its own IA3 from a file: the loader is called with one value too many.
            module = IA3Module(name, layer(base), 1, train_on_input=bool(state[f"{name}.on_input"]))
            module.weight.copy_(state[f"{name}.weight"].reshape(module.weight.shape))
        elif f"{name}.lokr_t2" in state:
            # The loader of LyCORIS takes another side of a Tucker product for the rank, so only its formula is compared.
            own = {
                part: state.get(f"{name}.lokr_{part}") for part in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")
            }
            change = kron_weight(*own.values(), scale=float(state[f"{name}.alpha"]) / len(own["t2"]))
            results |= {f"{name}@{strength}": base + strength * change for strength in (1.0, 0.6)}
            continue
        else:
            module = make_module(*get_module(state, name), name, layer(base))
        assert module is not None, name
        for strength in (1.0, 0.6):
            if hasattr(module, "get_weight"):
                # Its merge of LoHa and LoKr multiplies by alpha / rank twice; its training, which is compared here, does so once.
                changed = base + module.get_weight(module.shape) * (1.0 if module.wd else strength)
                merged = module.apply_weight_decompose(changed, strength) if module.wd else changed
            else:
                merged = module.get_merged_weight(multiplier=strength)[0]
            results[f"{name}@{strength}"] = merged.float().reshape(base.shape).contiguous().clone()
save_file(results, sys.argv[2])

"""Records the files in tests/data/networks: the tensors of each kind of network before and after a training step.

Run it with an engine's Python, which has the required packages. Nothing is downloaded and no model is needed:

    workspace/engines/kohya/venv/bin/python scripts/record_networks.py sd-scripts workspace/engines/kohya/source
    workspace/engines/simpletuner/venv/bin/python scripts/record_networks.py simpletuner

Each network is created by the engine's own class on a toy model whose layers have the class names that it looks for, trained
for one step, and saved by that class. Only the dtype, the shape and whether all values are zero are recorded:
{"lora_unet_x.alpha": "F32 - 2"} for single numbers, "F32 4x8 zero" and "F32 4x8" for others.
"""

import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "networks"
FORMATS = {"torch.bfloat16": "BF16", "torch.float16": "F16", "torch.float32": "F32", "torch.int64": "I64"}
RANK, ALPHA, CONV_RANK, CONV_ALPHA = 4, 2.0, 3, 1.5
SAME = {"conv_dim": RANK, "conv_alpha": ALPHA}
LYCORIS: Mapping[str, Mapping[str, Any]] = {
    "locon": {"algo": "locon"},
    "locon-tucker": {"algo": "locon", "use_tucker": True},
    "locon-stabilized": {"algo": "locon", "rs_lora": True},
    "locon-scalar": {"algo": "locon", "use_scalar": True},
    "locon-norms": {"algo": "locon", "train_norm": True},
    "dora": {"algo": "locon", "dora_wd": True},
    "loha": {"algo": "loha"},
    "loha-tucker": {"algo": "loha", "use_tucker": True, "rs_lora": True},
    "loha-scalar": {"algo": "loha", "use_scalar": True},
    "lokr": {"algo": "lokr", "factor": 4},
    "lokr-both": {"algo": "lokr", "factor": -1, "decompose_both": True, **SAME},
    "lokr-tucker": {"algo": "lokr", "factor": 2, "use_tucker": True},
    "lokr-full": {"algo": "lokr", "factor": 4, "full_matrix": True, "rs_lora": True},
    "lokr-large": {"algo": "lokr", "factor": 4, "linear_dim": 1000, "conv_dim": 1000},
    "dylora": {"algo": "dylora", "block_size": 1, **SAME},
    "glora": {"algo": "glora", "rs_lora": True, **SAME},
    "ia3": {"algo": "ia3"},
    "oft": {"algo": "diag-oft", "constraint": 0.5, "rescaled": True, **SAME},
    "boft": {"algo": "boft", "constraint": 0.5, **SAME},
    "full": {"algo": "full"},
    "tlora": {"algo": "tlora", "preset": "attn-mlp"},
}
SD_SCRIPTS = {
    "lora": {"conv_dim": CONV_RANK, "conv_alpha": CONV_ALPHA},
    "lora_fa": {},
    "dylora": {"unit": 2},
    "lora_flux": {},
    "lora_sd3": {},
    "lora_lumina": {},
    "lora_hunyuan_image": {},
    "lora_anima": {},
}


def toy(torch: Any, *names: str) -> Any:
    """A model with one layer for each class name, which contains linear layers, two convolutions and norms."""

    class Layers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.to_q = torch.nn.Linear(64, 32)
            self.proj = torch.nn.Conv2d(32, 32, 1)
            self.conv = torch.nn.Conv2d(32, 64, 3, padding=1)
            self.norm = torch.nn.LayerNorm(64)

        def forward(self, x: Any) -> Any:
            image = self.to_q(x).transpose(1, 2).reshape(len(x), 32, 4, 4)
            return self.norm(self.conv(self.proj(image)).flatten(2).transpose(1, 2))

    model = torch.nn.Module()
    for index, name in enumerate(names):
        model.add_module(f"block_{index}", type(name, (Layers,), {})())
    return model


def run(torch: Any, model: Any) -> Any:
    """A loss that depends on every layer."""
    return sum(block(torch.randn(2, 16, 64)).pow(3).mean() for block in model.children())


def steps(torch: Any, parameters: Any, loss: Callable[[], Any]) -> None:
    """Trains for a few steps, so that every part of a product gets a gradient."""
    optimizer = torch.optim.SGD(list(parameters), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def shown(tensor: Any) -> str:
    """The text that is recorded for a tensor."""
    kind = FORMATS[str(tensor.dtype)]
    if tensor.dim() == 0:
        return f"{kind} - {tensor.item():g}"
    return f"{kind} {'x'.join(map(str, tensor.shape))}{'' if tensor.any() else ' zero'}"


def written(save: Callable[[str], None]) -> dict[str, str]:
    """The tensors that a network saves."""
    load = importlib.import_module("safetensors.torch").load_file
    with tempfile.TemporaryDirectory() as folder:
        save(f"{folder}/network.safetensors")
        return {key: shown(value) for key, value in sorted(load(f"{folder}/network.safetensors").items())}


def record(name: str, about: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Writes one record: the network before training, and the entries that training has changed."""
    changed = {key: value for key, value in after.items() if before[key] != value}
    assert before.keys() == after.keys()
    content = {"about": about, "before": before, "after": changed}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=0) + "\n")
    print(f"{name}: {len(before)} tensors, {len(changed)} changed")


def kohya(torch: Any, name: str, about: str, create: Callable[..., Any], model: Any, **options: Any) -> None:
    """Records a network that is created and saved like in sd-scripts."""
    text = {name: str(value) for name, value in options.items() if name != "linear_dim"}
    network = create(
        1.0, options.get("linear_dim", RANK), ALPHA, None, [torch.nn.Module()], model, neuron_dropout=None, **text
    )
    network.apply_to([], model, False, True)
    before = written(lambda file: network.save_weights(file, torch.float16, {}))
    network.prepare_grad_etc([], model)
    network.train()
    steps(torch, (each for each in network.parameters() if each.requires_grad), lambda: run(torch, model))
    record(name, about, before, written(lambda file: network.save_weights(file, torch.float16, {})))


def sd_scripts(source: Path) -> None:
    """Records every network of LyCORIS and of the networks folder in an sd-scripts checkout."""
    sys.path.insert(0, str(source))
    torch = importlib.import_module("torch")
    version = importlib.import_module("importlib.metadata").version("lycoris-lora")
    create = importlib.import_module("lycoris.kohya").create_network
    for name, options in LYCORIS.items():
        torch.manual_seed(1)
        model = toy(torch, "Transformer2DModel")
        own = {"conv_dim": CONV_RANK, "conv_alpha": CONV_ALPHA, **options}
        kohya(torch, f"lycoris-{name}", f"lycoris-lora {version}, {options}", create, model, **own)
    for name, options in SD_SCRIPTS.items():
        module = importlib.import_module(f"networks.{name}")
        classes = ("Transformer2DModel", "ResnetBlock2D", "DoubleStreamBlock", "SingleStreamBlock", "SingleDiTBlock")
        more = ("JointTransformerBlock", "MMDoubleStreamBlock", "MMSingleStreamBlock", "Block")
        model = toy(torch, *classes, *more)
        kohya(torch, f"kohya-{name}", f"sd-scripts networks/{name}.py", module.create_network, model, **options)


def simpletuner() -> None:
    """Records the adapters that SimpleTuner trains: LyCORIS with its own names, PEFT in each of its formats."""
    torch = importlib.import_module("torch")
    lycoris = importlib.import_module("lycoris")
    save = importlib.import_module("safetensors.torch").save_file
    for name in ("loha", "lokr", "full"):
        torch.manual_seed(1)
        model = toy(torch, "Attention")
        network = lycoris.create_lycoris(model, 1, RANK, int(ALPHA), algo=name, factor=4)
        network.apply_to()

        def write(file: str, network: Any = network) -> None:
            save({key: value.contiguous() for key, value in network.state_dict().items()}, file)

        before = written(write)
        steps(torch, network.parameters(), partial(run, torch, model))
        record(f"simpletuner-{name}", f"create_lycoris, {name}", before, written(write))
    _peft(torch, save)


def _peft(torch: Any, save: Callable[..., None]) -> None:
    """Records PEFT's LoRA and DoRA with the keys of diffusers, and with SimpleTuner's keys for ComfyUI."""
    peft = importlib.import_module("peft")
    formats = importlib.import_module("simpletuner.helpers.training.lora_format")
    metadata = {"lora_alpha": ALPHA}
    renamed: Mapping[str, Callable[[Any], Any]] = {
        "diffusers": dict,
        "comfyui": lambda state: formats.convert_diffusers_to_comfyui(state, adapter_metadata=metadata),
        "comfyui-sd": lambda state: formats.convert_diffusers_to_comfyui_sd_lora(state, adapter_metadata=metadata),
    }
    for use_dora in (False, True):
        model = toy(torch, "Attention")
        config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["to_q", "proj"], use_dora=use_dora)
        wrapped = peft.inject_adapter_in_model(config, model)
        trained = [each for each in wrapped.parameters() if each.requires_grad]
        states = [peft.get_peft_model_state_dict(wrapped)]
        states[0] = {key: value.clone() for key, value in states[0].items()}
        steps(torch, trained, partial(run, torch, wrapped))
        states.append(peft.get_peft_model_state_dict(wrapped))
        for name, rename in renamed.items():
            before, after = (
                written(partial(save, rename({f"unet.{key}": value for key, value in state.items()})))
                for state in states
            )
            kind = "dora" if use_dora else "lora"
            record(f"simpletuner-{kind}-{name}", f"PEFT, use_dora {use_dora}, {name}", before, after)


if __name__ == "__main__":
    engine, *more = sys.argv[1:]
    if engine == "sd-scripts":
        sd_scripts(Path(more[0]).resolve())
    else:
        simpletuner()

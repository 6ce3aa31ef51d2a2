"""Creates the small model files in tests/data/weights with the libraries that write such files.

Run it with a Python that has torch, and with one that has the `gguf` package; Easel has neither:

    workspace/engines/simpletuner/venv/bin/python scripts/record_weights.py torch
    python scripts/record_weights.py gguf

tests/core/test_header_pickle.py and test_header_gguf.py contain the expected content of each file.
"""

import importlib
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "weights"


def torch_files() -> None:
    """Checkpoints, embeddings and files that are not a state dict, in both formats of torch.save."""
    torch = importlib.import_module("torch")
    layer = torch.nn.Linear(4, 3)
    state = layer.state_dict()
    state |= {
        "half": torch.zeros(2, 3, dtype=torch.float16),
        "brain": torch.zeros(5, dtype=torch.bfloat16),
        "part": torch.zeros(4, 6)[1:3, 2:4],
        "turned": torch.zeros(4, 6).t(),
        "count": torch.tensor(3),
        "spread": torch.zeros(1, 3).expand(5, 3),
        "none": torch.zeros(0, 3),
        "learnt": torch.nn.Parameter(torch.ones(2)),
        "flags": torch.zeros(2, dtype=torch.bool),
    }
    # As written by PyTorch Lightning: optimizer states, callbacks by class, NumPy scalars.
    lightning = {
        "state_dict": state,
        "global_step": 220000,
        "epoch": 3,
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"params": [0]}]}],
        "best": np.float64(0.5),
        "means": np.zeros(3),
        "sizes": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "names": {"a", "b"},
    }
    torch.save(lightning, FOLDER / "lightning.ckpt")
    torch.save({"model": state, "global_step": 7}, FOLDER / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(
        {"w": torch.zeros(2), "f8": torch.zeros(4, dtype=torch.float8_e4m3fn)},
        FOLDER / "protocol5.pt",
        pickle_protocol=5,
    )
    webui = {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.zeros(2, 768)}, "name": "cat", "step": 500}
    torch.save(webui, FOLDER / "webui_embedding.pt")
    words = torch.nn.ParameterDict({"*": torch.nn.Parameter(torch.zeros(1, 768))})
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": words}, FOLDER / "ldm_embedding.pt")
    torch.save({"<cat>": torch.zeros(768)}, FOLDER / "learned_embeds.bin")
    torch.save([torch.zeros(4, 3), torch.zeros(3, 4)], FOLDER / "list.pt")
    torch.save(layer, FOLDER / "module.pt")
    torch.jit.save(torch.jit.script(layer), str(FOLDER / "script.pt"))


def gguf_file() -> None:
    """One file with values of several types, a tensor with a changed shape, and a quantised one."""
    gguf = importlib.import_module("gguf")
    writer = gguf.GGUFWriter(str(FOLDER / "small.gguf"), "flux")
    writer.add_string("general.name", "small")
    writer.add_array("tokenizer.ggml.tokens", ["a", "bb", "ccc"])
    writer.add_array("comfy.gguf.orig_shape.conv", [4, 2, 4])
    writer.add_bool("is_small", True)
    writer.add_float32("scale", 1.5)
    writer.add_tensor("first.weight", np.zeros((3, 64), np.float32))
    writer.add_tensor("conv", np.zeros((32,), np.float16))
    writer.add_tensor("second.weight", np.zeros((5, 68), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    {"torch": torch_files, "gguf": gguf_file}[sys.argv[1]]()

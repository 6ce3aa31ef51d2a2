"""Compares Easel's answers about networks with those of the real loaders, for every recorded network (tests/data/roles).

It writes what the real loaders did into tests/data/loaders.json.

Run it with an engine's Python that has torch, diffusers and PEFT; docs/records has a run of it:

    workspace/engines/simpletuner/venv/bin/python scripts/compare_loaders.py comfyui <folder of a ComfyUI checkout> [family ...]
    workspace/engines/simpletuner/venv/bin/python scripts/compare_loaders.py diffusers [family ...]
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
if importlib.util.find_spec("orjson") is None:
    # An engine's Python has not all packages of Easel; the standard library reads these headers, too.
    sys.modules["orjson"] = json

from scripts import loader_names, record_loaders
from scripts.header_folding import unfold
from trainer_core.models import detection, loaders
from trainer_core.models.header import Header, TensorInfo

ROLES = ROOT / "tests" / "data" / "roles"
TARGET = ROOT / "tests" / "data" / "loaders.json"
"""What the real loaders did with each network: yes, partly or no, and how many layers of how many they loaded."""


def networks(families: Sequence[str]) -> Iterator[tuple[str, str, Header]]:
    """The recorded networks of these families, or of all whose names are recorded: name, family, and header."""
    for path in sorted(ROLES.glob("lora-*.json")):
        recorded = json.loads(path.read_text("utf-8"))
        tensors = {}
        for key, value in unfold(recorded["tensors"]):
            dtype, _, shape = value.partition(" ")
            tensors[key] = TensorInfo(dtype, tuple(int(size) for size in shape.split("x") if size))
        header = Header(Path(path.stem), tensors, recorded.get("metadata") or {}, "safetensors")
        family = detection.detect(header).base_family or ""
        if family in (families or loaders.table.families()):
            yield path.stem, family, header


def state(torch: Any, header: Header) -> dict[str, Any]:
    """The tensors of a network: alpha is the half of a rank of 4, everything else is one."""
    kinds = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
    return {
        key: torch.full(info.shape, 2.0 if key.endswith(".alpha") else 1.0, dtype=kinds.get(info.dtype, torch.float32))
        for key, info in header.tensors.items()
    }


def comfyui(source: Path, *families: str) -> None:
    """Compares with ComfyUI's load_lora: a layer is loaded if none of its tensors is reported as not loaded."""
    sys.path.insert(0, str(source))
    importlib.import_module("comfy.options").enable_args_parsing()
    sys.argv = [sys.argv[0], "--cpu"]
    torch = importlib.import_module("torch")
    lora, convert = importlib.import_module("comfy.lora"), importlib.import_module("comfy.lora_convert")
    maps: dict[str, dict[str, str]] = {}
    for name, family, header in networks(families):
        if family not in maps:
            model = record_loaders.comfy_model(loader_names.FAMILIES[family][0] or loader_names.FAMILIES[family][1])
            places = {
                f"{place}.transformer.{layer}.weight": None
                for place, (_, header_name) in loader_names.ENCODERS.get(family, {}).items()
                for layer in loader_names.encoder(header_name, place)
            }
            known = lora.model_lora_keys_unet(model, {})
            maps[family] = lora.model_lora_keys_clip(record_loaders.Stated(set(places)), known)
        missed: list[str] = []
        handler = _Missed(missed)
        logging.getLogger().addHandler(handler)
        lora.load_lora(convert.convert_lora(state(torch, header)), maps[family])
        logging.getLogger().removeHandler(handler)
        found = loaders.modules(header, family)
        whole = sum(not set(module.keys.values()) & set(missed) for module in found)
        said(name, family, loaders.judge(header, family)[0], whole, len(found))


class _Missed(logging.Handler):
    def __init__(self, names: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._names = names

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the name of a tensor that ComfyUI did not load."""
        self._names.append(record.getMessage().removeprefix("lora key not loaded: "))


def diffusers(*families: str) -> None:
    """Compares with diffusers' load_lora_weights."""
    torch = importlib.import_module("torch")
    save = importlib.import_module("safetensors.torch").save_file
    program = record_loaders.loader()
    for name, family, header in sorted(networks(families), key=lambda row: row[1]):
        rows = loaders.configs().get(family)
        if rows is None:
            said(name, family, loaders.judge(header, family)[1], 0, len(loaders.modules(header, family)))
            continue
        report: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.safetensors"
            save(state(torch, header), path, metadata={"format": "pt", **header.metadata})
            for row in rows:
                report = program.load(program.model(row), path)
                if "size mismatch" not in report["error"]:
                    break
        found = loaders.modules(header, family)
        count = sum(map(len, report["loaded"].values()))
        whole = count if not report["error"] and not report["unexpected"] else 0
        answer = loaders.judge(header, family)[1]
        said(name, family, answer, whole, len(found), report["error"].replace("\n", " ")[:90])


REAL: dict[str, dict[str, Any]] = json.loads(TARGET.read_text("utf-8")) if TARGET.is_file() else {}


def said(name: str, family: str, answer: loaders.Answer, whole: int, of: int, error: str = "") -> None:
    """Records what the real loader did, and prints a row of the table, marked if Easel's answer is another one."""
    real = "no" if not whole else "yes" if whole >= of else "partly"
    REAL.setdefault(name, {"family": family})[answer.program] = [real, whole, of]
    TARGET.write_text(json.dumps(REAL, indent=0) + "\n")
    mark = "" if answer.loads in (real, "not known") else "differs"
    print(f"| {name} | {family} | {answer.loads} | {real} {whole}/{of} {error} | {mark} |", flush=True)


if __name__ == "__main__":
    kind, *more = sys.argv[1:]
    if kind == "comfyui":
        comfyui(Path(more[0]).resolve(), *more[1:])
    else:
        diffusers(*more)

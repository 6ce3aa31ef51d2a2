"""Whether a trained LoRA is one: engines exit 0 on empty datasets, broken weights and runs that learnt nothing.

Tensors are looked at one after the other, straight from the file, by their bits: no number format is converted.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer_core import header
from trainer_core.errors import HeaderError
from trainer_core.header import Header, TensorInfo
from trainer_core.text import printable

# The unsigned integer a number format is read as, and the bits that are all set in its infinities and NaNs.
# F8_E4M3 has no infinity: there they mark its NaN. Source: OCP 8-bit floating point specification, 1.0.
EXPONENTS: Mapping[str, tuple[str, int]] = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F8_E5M2": ("<u1", 0x7C),
    "F8_E4M3": ("<u1", 0x7F),
}
CHUNK_VALUES = 1 << 22

# Down is the factor next to the input, (rank, in_features); up, (out_features, rank), starts at zero.
# Source: kohya's networks/lora.py, PEFT's LoraLayer, diffusers' older attention processors.
FACTORS = re.compile(
    r"^(?P<module>.+?)[._](?:lora_(?P<kohya>down|up)|lora_(?P<peft>[AB])(?:\.default)?|lora\.(?P<old>down|up))\.weight$"
)
NAMED_MODULES = 3


@dataclass(frozen=True)
class Acceptance:
    """Whether a LoRA file is what was asked for; `reasons` says in sentences why not. None stands for not found."""

    ok: bool
    reasons: tuple[str, ...]
    rank: int | None = None
    alpha: float | None = None
    tensors: int = 0
    modules: int = 0
    moved: int = 0
    size_bytes: int = 0


def accept(path: Path | str, rank: int, alpha: float) -> Acceptance:
    """Whether a file is a whole LoRA of this rank and alpha, free of NaN, that has learnt something."""
    path = Path(path)
    try:
        found = header.read_file(path)
        return _judge(found, rank, alpha)
    except HeaderError as error:
        return Acceptance(False, (str(error),))
    except OSError as error:
        return Acceptance(False, (f"{printable(path.name)} cannot be read: {error.strerror}.",))


def _judge(found: Header, rank: int, alpha: float) -> Acceptance:
    downs, ups = _factors(found)
    modules = sorted(downs.keys() & ups.keys())
    reasons = [*_pairing(downs, ups)]
    ranks = {module: _rank(found, downs[module], ups[module]) for module in modules}
    wrong = [module for module in modules if ranks[module] != rank]
    if wrong:
        reasons.append(
            f"The rank is {ranks[wrong[0]] or 'not the same in both factors'}, not {rank}, in {_some(wrong)}."
        )
    alphas = _alphas(found, modules, ranks)
    wrong = [
        module
        for module in modules
        if alphas[module] is None or not math.isclose(alphas[module] or 0, alpha, rel_tol=1e-2)
    ]
    if wrong:
        shown = alphas[wrong[0]]
        reasons.append(
            f"Alpha is {'not readable' if shown is None else f'{shown:g}'}, not {alpha:g}, in {_some(wrong)}."
        )
    broken = [key for key, info in found.tensors.items() if not _is_finite(found.path, info)]
    if broken:
        reasons.append(f"The weights hold NaN or infinity in {_some(broken)}: the training has broken down.")
    moved = sum(_has_values(found.path, found.tensors[ups[module]]) for module in modules)
    if modules and not moved:
        reasons.append("The LoRA has learnt nothing: the factor that starts at zero is still zero in every module.")
    first = modules[0] if modules else None
    return Acceptance(
        not reasons,
        tuple(reasons),
        ranks[first] if first else None,
        alphas[first] if first else None,
        len(found.tensors),
        len(modules),
        moved,
        found.path.stat().st_size,
    )


def _factors(found: Header) -> tuple[dict[str, str], dict[str, str]]:
    """The keys of the down and of the up factors by module."""
    downs, ups = {}, {}
    for key in found.tensors:
        if match := FACTORS.match(key):
            side = match["kohya"] or match["old"] or {"A": "down", "B": "up"}[match["peft"]]
            (downs if side == "down" else ups)[match["module"]] = key
    return downs, ups


def _pairing(downs: Mapping[str, str], ups: Mapping[str, str]) -> list[str]:
    if not downs and not ups:
        return ["The file holds no LoRA factors."]
    lonely = sorted(downs.keys() ^ ups.keys())
    return [f"One of the two factors is missing in {_some(lonely)}."] if lonely else []


def _rank(found: Header, down: str, up: str) -> int | None:
    """The rank of a module; None when its two factors do not fit each other."""
    below, above = found.tensors[down].shape, found.tensors[up].shape
    return below[0] if len(below) >= 2 and len(above) >= 2 and below[0] == above[1] else None


def _alphas(found: Header, modules: list[str], ranks: Mapping[str, int | None]) -> dict[str, float | None]:
    """Alpha of each module: its tensor, else what the metadata says, else the rank, as every loader assumes."""
    noted = _noted_alpha(found.metadata)
    result: dict[str, float | None] = {}
    for module in modules:
        info, rank = found.tensors.get(f"{module}.alpha"), ranks[module]
        if info is not None:
            result[module] = _scalar(found.path, info)
        elif noted is not None:
            result[module] = noted
        else:
            result[module] = None if rank is None else float(rank)
    return result


def _noted_alpha(metadata: Mapping[str, str]) -> float | None:
    """Alpha as diffusers and kohya note it in the metadata; None when they do not, or not as one number."""
    if "lora_adapter_metadata" in metadata:
        try:
            notes: Any = json.loads(metadata["lora_adapter_metadata"])
        except (ValueError, RecursionError):
            return None
        values = {_number(value) for key, value in _items(notes) if key.rpartition(".")[2] == "lora_alpha"}
        return values.pop() if len(values) == 1 else None
    return _number(metadata.get("ss_network_alpha"))


def _items(notes: Any) -> list[tuple[str, Any]]:
    return list(notes.items()) if isinstance(notes, dict) else []


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _bits(path: Path, info: TensorInfo, kind: str) -> Any:
    """The values of a tensor as unsigned integers, mapped from the file and not read yet."""
    count = math.prod(info.shape)
    if count == 0:
        return np.zeros(0, kind)
    return np.memmap(path, kind, "r", info.start_bytes, (count,))


def _is_finite(path: Path, info: TensorInfo) -> bool:
    """Whether a tensor holds neither NaN nor infinity; integers always are finite."""
    if info.dtype not in EXPONENTS:
        return True
    kind, exponent = EXPONENTS[info.dtype]
    bits, mask = _bits(path, info, kind), np.array(exponent, kind)
    return not any(((bits[at : at + CHUNK_VALUES] & mask) == mask).any() for at in range(0, len(bits), CHUNK_VALUES))


def _has_values(path: Path, info: TensorInfo) -> bool:
    """Whether any value of a tensor is not zero; minus zero is zero."""
    if info.dtype not in EXPONENTS:
        return bool(_bits(path, TensorInfo("U8", (info.size_bytes,), info.start_bytes), "<u1").any())
    kind = EXPONENTS[info.dtype][0]
    bits = _bits(path, info, kind)
    without_sign = np.array((1 << (8 * bits.itemsize - 1)) - 1, kind)
    return any((bits[at : at + CHUNK_VALUES] & without_sign).any() for at in range(0, len(bits), CHUNK_VALUES))


def _scalar(path: Path, info: TensorInfo) -> float | None:
    """The value of a tensor of one number; None for more numbers or a format that has no plain reading."""
    if math.prod(info.shape) != 1:
        return None
    if info.dtype == "BF16":
        return _number((_bits(path, info, "<u2").astype("<u4") << 16).view("<f4")[0])
    kinds = {
        "F64": "<f8",
        "F32": "<f4",
        "F16": "<f2",
        "I64": "<i8",
        "I32": "<i4",
        "I16": "<i2",
        "I8": "<i1",
        "U8": "<u1",
    }
    return _number(_bits(path, info, kinds[info.dtype])[0]) if info.dtype in kinds else None


def _some(names: list[str]) -> str:
    shown = ", ".join(printable(name, 120) for name in names[:NAMED_MODULES])
    return shown if len(names) <= NAMED_MODULES else f"{shown} and {len(names) - NAMED_MODULES} more"

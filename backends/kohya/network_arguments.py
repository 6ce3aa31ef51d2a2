"""What is wrong with native `network_args`: what a network module would stop at after loading, or take for something else.

How each argument is written stands in `backend.toml`, [network_arguments]. Source: networks/*.py, create_network, and
lycoris/kohya.py of lycoris-lora 4.1.3.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

CURVES = ("cosine", "sine", "linear", "reverse_linear", "zeros")
"""Source: networks/lora.py, get_block_lr_weight."""


def complaint(key: str, value: str, spec: Mapping[str, Any], family: str, algorithm: str) -> str | None:
    """The sentence why an argument is not read, or not as it is written; None when all is well.

    `spec` is its row: `form`, and where it is read by some only, `families` (with a number where the form counts) and
    `algorithms`.
    """
    families, algorithms = spec.get("families"), spec.get("algorithms")
    if families is not None and family not in families:
        return f"{key} has no effect with this model."
    if algorithms is not None and algorithm not in algorithms:
        return f"{key} has no effect with {algorithm}: it is for {', '.join(algorithms)}."
    if isinstance(spec["form"], list):
        known = spec["form"]
        return None if value in known else f"{key} must be one of {', '.join(known)}, not {value!r:.40}."
    count = families[family] if isinstance(families, Mapping) else 0
    wanted, fits = FORMS[spec["form"]]
    return None if fits(value, count) else f"{key} is {wanted.format(count=count, last=count - 1)}, not {value!r:.60}."


def _number(text: str, _count: int = 0) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _blocks(text: str, count: int) -> bool:
    """Source: parse_block_selection in networks/lora_flux.py and lora_sd3.py."""
    if text in ("all", "none"):
        return True
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            return False
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < count:
            return False
    return True


def _weights(text: str, count: int) -> bool:
    name, _, base = text.partition("+")
    if count > 3 and name in CURVES:
        return not base or _number(base)
    # A single number is taken for the name of a curve, and shorter lists are filled up with 1.
    return [not part.strip() or _number(part) for part in text.split(",")] == [True] * count


def _rates(text: str, _count: int) -> bool:
    pairs = [pair.strip().split("=", 1) for pair in text.split(",") if pair.strip()]
    return bool(pairs) and all(len(pair) == 2 and _pattern(pair[0].strip()) and _number(pair[1]) for pair in pairs)


def _patterns(text: str, _count: int) -> bool:
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    every = found if isinstance(found, list) else [found]
    return all(isinstance(pattern, str) and _pattern(pattern) for pattern in every)


def _pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


FORMS: Mapping[str, tuple[str, Callable[[str, int], bool]]] = {
    "number": ("a number", _number),
    # Source: `split_qkv == "True"`: in small letters it would be off.
    "True or False": ("True or False, spelled so", lambda text, _count: text in ("True", "False")),
    "true or false": ("true or false", lambda text, _count: text.lower() in ("true", "false")),
    "blocks": ("all, none, or blocks from 0 to {last} such as 0-3,7", _blocks),
    "weights": (f"{{count}} numbers with commas between them, or one of {', '.join(CURVES)}", _weights),
    "numbers": ("{count} numbers with commas between them", _weights),
    "rates": ("pairs such as single_blocks=1e-4,double_blocks=5e-5", _rates),
    "patterns": ("a Python list of regular expressions such as ['.*attn.*']", _patterns),
}
"""By form: what it is, as the rest of a sentence, and whether a text has it; the number is that of blocks."""

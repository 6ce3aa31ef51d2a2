"""Checks of native `network_args`, which a network module would refuse only after loading, or misread.

`translation.toml`, [network_arguments], says how each argument is written. Source: networks/*.py, create_network, and
lycoris/kohya.py of lycoris-lora 4.1.3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from backends.kohya.translation import Argument
from trainer_core.engines import python_literal

CURVES = ("cosine", "sine", "linear", "reverse_linear", "zeros")
"""Source: networks/lora.py, get_block_lr_weight."""


def complaint(key: str, value: str, spec: Argument, family: str, algorithm: str) -> str | None:
    """The sentence that says why the module would ignore or misread an argument; None if it is valid.

    `spec` is its row of `translation.toml`.
    """
    if said := excluded(key, spec, family, algorithm):
        return said
    if isinstance(spec.form, str):
        _, fits = FORMS[spec.form]
        is_valid = fits(value, _count(spec, family))
    else:
        is_valid = value in spec.form
    return None if is_valid else f"{key} must be {wanted(spec, family)}, not {value!r:.60}."


def excluded(key: str, spec: Argument, family: str, algorithm: str) -> str | None:
    """The sentence that says why an argument has no effect with a family or an algorithm; None if it has one."""
    if spec.families is not None and family not in spec.families:
        return f"{key} has no effect with this model."
    if spec.algorithms is not None and algorithm not in spec.algorithms:
        return f"{key} has no effect with {algorithm}: it works only with {', '.join(spec.algorithms)}."
    return None


def wanted(spec: Argument, family: str) -> str:
    """What the value of an argument must be."""
    if not isinstance(spec.form, str):
        return f"one of {', '.join(spec.form)}"
    count = _count(spec, family)
    return FORMS[spec.form][0].format(count=count, last=count - 1)


def _count(spec: Argument, family: str) -> int:
    return spec.families.get(family, 0) if isinstance(spec.families, Mapping) else 0


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
    # The module takes a single number for the name of a curve, and fills up shorter lists with 1.
    return [not part.strip() or _number(part) for part in text.split(",")] == [True] * count


def _rates(text: str, _count: int) -> bool:
    pairs = [pair.strip().split("=", 1) for pair in text.split(",") if pair.strip()]
    return bool(pairs) and all(len(pair) == 2 and _pattern(pair[0].strip()) and _number(pair[1]) for pair in pairs)


def _patterns(text: str, _count: int) -> bool:
    try:
        found = python_literal.value_of(text)
    except ValueError:
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
    # Source: `split_qkv == "True"`: in lower case it would be off.
    "True or False": ("True or False, with a capital letter", lambda text, _count: text in ("True", "False")),
    "true or false": ("true or false", lambda text, _count: text.lower() in ("true", "false")),
    "blocks": ("all, none, or blocks from 0 to {last} such as 0-3,7", _blocks),
    "weights": (f"{{count}} numbers separated by commas, or one of {', '.join(CURVES)}", _weights),
    "numbers": ("{count} numbers separated by commas", _weights),
    "rates": ("pairs such as single_blocks=1e-4,double_blocks=5e-5", _rates),
    "patterns": ("a Python list of regular expressions such as ['.*attn.*']", _patterns),
}
"""By form: a description that completes "must be", and a check of the text, which also gets the number of blocks."""

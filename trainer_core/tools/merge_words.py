"""What a merge is in a few words: which models with which weights, what becomes of each part, and the precision of the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer_core.models.header.tensors import shown
from trainer_core.text import printable
from trainer_core.weights.dtypes import CHOICES
from trainer_core.weights.merging.inputs import LETTERS
from trainer_core.weights.merging.methods import PARTS, WEIGHT

if TYPE_CHECKING:
    from trainer_core.models.header import Header
    from trainer_core.weights.merging.inputs import Input
    from trainer_core.weights.merging.matching import Choices, Row
    from trainer_core.weights.merging.methods import Method

_SHARES = ("weighted_sum", "slerp")
"""The methods whose weights are shares of the models."""
_TITLES = {"denoiser": "UNet or transformer", "text_encoders": "text encoders", "vae": "VAE"}


def sentence(models: Sequence[Input], method: Method, choices: Choices, rows: Sequence[Row], vae: Header | None) -> str:
    """The merge in a sentence, such as "70 % one, 30 % two; text encoders merged; VAE from A (one); fp16."."""
    names = [printable(shown(one.header.path).removesuffix(".safetensors"), 60) for one in models]
    parts = [_part(part, rows, names, vae) for part in PARTS]
    told = [_mixed(method, choices, names), *parts, _precision(rows)]
    return "; ".join(filter(None, told)) + "."


def stem(method: str, weight: float, preset: str, *, is_by_block: bool) -> str:
    """The end of the name of the new file: the method and its weight, such as "weighted_sum-0.3"."""
    return f"{method}-{preset or ('blocks' if is_by_block else f'{weight:g}')}"


def _mixed(method: Method, choices: Choices, names: Sequence[str]) -> str:
    values = choices.values
    if choices.preset or choices.blocks or choices.block_list:
        how = f"the weights of {choices.preset}" if choices.preset else "a weight for each block"
        return f"{method.title} of {' and '.join(names)} with {how}"
    if method.id in _SHARES:
        rest = [values[WEIGHT], *([values["weight_c"]] if "weight_c" in values else [])]
        shares = ", ".join(
            f"{share * 100:.4g} % {name}" for share, name in zip([1 - sum(rest), *rest], names, strict=True)
        )
        return shares if method.id == "weighted_sum" else f"{method.title}: {shares}"
    if method.id == "add_difference":
        return f"{names[0]} and {values[WEIGHT]:g} times the difference of {names[1]} from {names[2]}"
    numbers = ", ".join(f"{method.parameters[name].title.lower()} {value:g}" for name, value in values.items())
    return f"{method.title} of {', '.join(names)} with {numbers}"


def _part(part: str, rows: Sequence[Row], names: Sequence[str], vae: Header | None) -> str:
    """What becomes of a part; "" where no model has it."""
    own = [row for row in rows if row.part == part]
    if not own:
        return ""
    if any(row.takes is None for row in own):
        return f"{_TITLES[part]} merged"
    number = Counter(row.takes for row in own).most_common(1)[0][0] or 0
    if number < len(names):
        return f"{_TITLES[part]} from {LETTERS[number].upper()} ({names[number]})"
    return f"{_TITLES[part]} from {shown(vae.path)}" if vae is not None else ""


def _precision(rows: Sequence[Row]) -> str:
    spelt = {known: choice for choice, known in CHOICES.items() if known}
    counted: Counter[str] = Counter()
    for row in rows:
        counted[spelt.get(row.dtype, row.dtype)] += row.numbers
    found = [name for name, numbers in counted.most_common() if numbers > counted.total() / 100]
    return " and ".join(found)

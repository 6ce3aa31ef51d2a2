"""Which dtypes of model files are numbers to compute with, and how a user names them. Without numpy, for a notebook's kernel."""

from __future__ import annotations

from trainer_core.errors import WeightsError, wrong_use

FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
"""The dtypes with which a merge or a conversion computes; any other holds counts or packed numbers, and is only copied."""
NAMED = {"fp32": "F32", "fp16": "F16", "bf16": "BF16"}
"""The dtypes of weights as a user names them, and as safetensors spells them."""
CHOICES = {"same": "", **NAMED}
"""The dtypes that a new file can have; "same" is that of the (first) input, tensor by tensor."""
CHUNK = 1 << 18
"""The numbers that are computed at once where each stands for itself: 1 MiB in float32, which stays in a processor's cache."""


def check(choice: str) -> None:
    """Checks a dtype that a user chose for a new file.

    Raises:
        WeightsError: it does not exist.
    """
    if choice not in CHOICES:
        raise wrong_use(WeightsError(f"There is no dtype {choice!r:.40}.", f"There are: {', '.join(CHOICES)}."))

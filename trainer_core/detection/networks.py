"""LoRAs: their algorithm, rank, and the family they were made for."""

from __future__ import annotations

import math
from collections import Counter

from trainer_core.detection.result import Detection
from trainer_core.header import Header
from trainer_core.text import printable

LORA_ENDINGS = (
    ".lora_down.weight", ".lora_up.weight", ".lora_A.weight", ".lora_B.weight", ".lora.down.weight", ".lora.up.weight",
    "_lora.down.weight", "_lora.up.weight", ".hada_w1_a", ".lokr_w1", ".lokr_w1_a", ".oft_blocks",
)  # fmt: skip


def detect(header: Header) -> Detection | None:
    """The LoRA that a header is of; None for anything else."""
    if header.is_folder:
        return None
    lora = next((key for key in header.tensors if key.endswith(LORA_ENDINGS)), None)
    if lora is None:
        return None
    rank, alpha = _lora_rank(header), _number(header.metadata.get("ss_network_alpha"))
    evidence = (f"has {printable(lora, 120)}", f"rank {rank or 'unknown'}")
    return Detection(None, "lora", evidence=evidence, rank=rank, alpha=alpha)


def _lora_rank(header: Header) -> int | None:
    """The rank most modules have: the first size of the factor next to the input."""
    downs = (".lora_down.weight", ".lora_A.weight", "lora.down.weight")
    ranks = Counter(info.shape[0] for key, info in header.tensors.items() if key.endswith(downs) and info.shape)
    return ranks.most_common(1)[0][0] if ranks else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None

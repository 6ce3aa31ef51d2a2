"""Checks that a result is what the plan asks for: exit code 0 does not mean success. Not: whether its images are good.

Tensors are read one by one from the file; no weights stay in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core.errors import EaselError
from trainer_core.text import printable
from trainer_core.training.acceptance import checkpoints, embeddings, networks
from trainer_core.training.acceptance.result import Acceptance, Kind, section

__all__ = ["Acceptance", "accept", "kind_of", "noun"]

KINDS: Mapping[str, Kind] = {"full": "checkpoint", "dreambooth": "checkpoint", "textual_inversion": "embedding"}
JUDGES = {"network": networks.judge, "checkpoint": checkpoints.judge, "embedding": embeddings.judge}
NOUNS: Mapping[Kind, str] = {"network": "network", "checkpoint": "model", "embedding": "embedding"}


def accept(path: Path | str, plan: Mapping[str, Any]) -> Acceptance:
    """Whether a file or folder is what a plan asks for; `plan` has the tables of a run's plan.toml."""
    path = Path(path)
    kind = kind_of(plan)
    try:
        return JUDGES[kind](path, plan)
    except EaselError as error:
        return Acceptance(False, (str(error),), kind=kind)
    except OSError as error:
        return Acceptance(False, (f"{printable(path.name)} cannot be read: {error.strerror}.",), kind=kind)


def kind_of(plan: Mapping[str, Any]) -> Kind:
    """The kind of result that a plan's training makes."""
    return KINDS.get(str(section(plan, "model").get("method", "lora")), "network")


def noun(plan: Mapping[str, Any]) -> str:
    """The word for the result of a plan's training in a sentence: LoRA, network, model or embedding."""
    kind = kind_of(plan)
    is_lora = kind == "network" and networks.is_lora(str(section(plan, "network").get("algorithm", "lora")))
    return "LoRA" if is_lora else NOUNS[kind]

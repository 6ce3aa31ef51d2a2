"""The base class of the groups of settings, and the units of their numbers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

STEPS: JsonDict = {"unit": "steps"}
PIXELS: JsonDict = {"unit": "px"}
TOKENS: JsonDict = {"unit": "tokens"}
CHECKPOINTS: JsonDict = {"unit": "checkpoints"}
"""The unit of a number, for its label."""


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    # `fields` reads the docstrings of settings: for each class, pydantic would search every module of the kernel.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

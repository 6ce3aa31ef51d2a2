"""What Easel writes into the header of a result, and reads from it again. Not: the tensors, or the settings of other programs.

The keys that start with `easel.` are Easel's own; docs/guide/results.md lists them. What is personal is decided by the
declarations of the settings (plan/setting.py): nothing here lists settings by name.
"""

from __future__ import annotations

from trainer_core.training.metadata.keys import KEYS, PLAN, is_easels
from trainer_core.training.metadata.recorded_plan import Recorded, read, tables
from trainer_core.training.metadata.shared import canonical, digest, shared

__all__ = ["KEYS", "PLAN", "Recorded", "canonical", "digest", "is_easels", "read", "shared", "tables"]

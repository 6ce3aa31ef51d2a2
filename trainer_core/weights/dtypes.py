"""Which dtypes of model files are numbers to compute with, and how a user names them. Without numpy, for a notebook's kernel."""

from __future__ import annotations

FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
"""The dtypes with which a merge or a conversion computes; any other holds counts or packed numbers, and is only copied."""
CHUNK = 1 << 18
"""The numbers that are computed at once where each stands for itself: 1 MiB in float32, which stays in a processor's cache."""

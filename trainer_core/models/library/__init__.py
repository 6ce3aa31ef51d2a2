"""The library: the models in the folders of Easel, other programs and the user, and what each is. Not: which engine trains it.

`scan()` walks the folders, reads the header of each new or changed model, and returns a `Library`. A `Library` finds
models by role, family, kind or text, and the companion files that a model needs.
"""

from __future__ import annotations

from trainer_core.models.library import chosen
from trainer_core.models.library.companions import Companions, MissingPart, PassedOver
from trainer_core.models.library.entry import Entry
from trainer_core.models.library.query import Library
from trainer_core.models.library.roots import Root, Roots, roots
from trainer_core.models.library.scan import scan

__all__ = [
    "Companions",
    "Entry",
    "Library",
    "MissingPart",
    "PassedOver",
    "Root",
    "Roots",
    "chosen",
    "roots",
    "scan",
]

"""The library: every model in Easel's folders, in those of other programs and in those a person added, and what each is.

`scan()` walks the folders, reads the header of each model that is not known from the last scan, and returns a `Library`
that is asked by role, family, kind or text, and for the files a model needs beside it.
"""

from __future__ import annotations

from trainer_core.library import chosen
from trainer_core.library.beside import MissingPart, PartsFound, PassedOver
from trainer_core.library.entry import Entry
from trainer_core.library.query import Choice, Library
from trainer_core.library.roots import Root, Roots, roots
from trainer_core.library.scan import scan

__all__ = [
    "Choice",
    "Entry",
    "Library",
    "MissingPart",
    "PartsFound",
    "PassedOver",
    "Root",
    "Roots",
    "chosen",
    "roots",
    "scan",
]

"""A command of sd-scripts that is being read."""

from __future__ import annotations

from backends.kohya.cell import KohyaCell
from trainer_core.engines import pasted_options


class Read(pasted_options.Read):
    """The same, with what sd-scripts supports for its family and method."""

    @property
    def cell(self) -> KohyaCell:
        """What sd-scripts supports for the family and method."""
        found = super().cell
        assert isinstance(found, KohyaCell)
        return found

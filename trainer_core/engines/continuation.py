"""What an engine can do with a saved state: [resume] of its backend.toml. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Continuation:
    """What happens when an engine continues a training from a saved state. An engine without this table cannot do it.

    The texts are shown before anything starts; each is a noun phrase or a sentence without its final dot.
    """

    exact: bool = False
    """Whether the steps and their learning rates are those of a training that was never interrupted."""
    continues: tuple[str, ...] = ()
    """What continues where it was."""
    restarts: tuple[str, ...] = ()
    """What starts anew, or differs from a training that was never interrupted."""
    extends: str = ""
    """What the learning rate does when a finished run is extended; empty: it cannot be extended."""
    extends_with: tuple[str, ...] = ()
    """The schedules with which it can be extended; empty: all."""
    scales_rate: bool = False
    """Whether it can continue with a multiple of the learning rate in the state."""
    per_run: int = 0
    """How many states a run saves that saves no checkpoints, at equal distances; 0: only one at the end."""
    caches: tuple[str, ...] = ()
    """Patterns of files, relative to the run folder, that the engine can use again in a copy of the run."""

    def interval(self, steps: int) -> int:
        """The number of steps between two states of a run with this many steps that saves no checkpoints."""
        return -(-steps // self.per_run) if self.per_run else steps

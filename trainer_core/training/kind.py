"""Training with an engine, as a kind of job."""

from __future__ import annotations

from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.journal import Journal
from trainer_core.training.basis import Basis
from trainer_core.training.folder import KIND, RunFolder
from trainer_core.training.watch import EngineWatch


class Training:
    """The kind of job that the supervisor uses for runs: it watches the engine and decides whether the output is accepted."""

    id, title = KIND, "Training"

    def watch(self, folder: JobFolder, journal: Journal) -> EngineWatch:
        """The watch on the engine's log, its TensorBoard files and its output folder."""
        return EngineWatch(Basis.of(RunFolder(folder.path)), journal)


kind = Training()

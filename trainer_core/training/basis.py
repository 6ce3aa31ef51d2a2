"""What the outcome of a run depends on, read before its engine starts: Easel may be updated or removed while it trains."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer_core.engines import registry
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.seam import Backend, JobSpec
from trainer_core.jobs import seal
from trainer_core.jobs.folder import SUPERVISOR
from trainer_core.training.folder import RunFolder

TENSORBOARD = "tensorboard"


@dataclass(frozen=True)
class Basis:
    """A run's folder, its job, and the plan and the engine's manifest as they were before the engine started.

    `done` steps were trained before, by the run that this one continues. `is_ours`: this Easel started the run, so what the
    engine saves needs no trust.
    """

    run: RunFolder
    spec: JobSpec
    plan: Mapping[str, Any]
    backend: Backend
    done: int = 0
    is_ours: bool = True

    @property
    def manifest(self) -> BackendManifest:
        """What the engine declares."""
        return self.backend.manifest

    @classmethod
    def of(cls, run: RunFolder) -> Basis:
        """The basis of a prepared run.

        Raises:
            JobError: the spec.json is damaged, or an older folder has no readable plan.toml.
            BackendError: the engine is missing or cannot be used.
        """
        spec = run.rendered
        backend = registry.get(spec.backend)
        # An engine may import its parser with the first line, and its signatures are read when they are first needed.
        backend.parse("")
        _ = backend.manifest.diagnosis
        is_ours = seal.was_launched(run.path, run.read(SUPERVISOR))
        return cls(run, spec, run.plan, backend, run.done_steps, is_ours)


class Preloading:
    """Loads, in a thread, the modules and tables with which results are tested.

    The thread begins before the engine starts and ends within a second; to wait for it would delay the engine by this time.
    """

    def __init__(self, metrics: str) -> None:
        self._thread = threading.Thread(target=preload, args=(metrics,), name="preloading", daemon=True)
        self._thread.start()

    def done(self) -> bool:
        """Whether everything is loaded."""
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Waits until everything is loaded."""
        self._thread.join()


def preload(metrics: str) -> None:
    """Loads everything with which results are tested, and the reader of the engine's `metrics`.

    A table that is missing here is read again when a result is tested, which then names the error.
    """
    from trainer_core import catalog
    from trainer_core.models import loaders, renaming
    from trainer_core.models.detection import bases, guess, others
    from trainer_core.models.families import load_families
    from trainer_core.models.loaders import table
    from trainer_core.plan import fields
    from trainer_core.training import acceptance, finishing  # noqa: F401 - with their modules, and numpy

    tables = (load_families, catalog.algorithms, catalog.parts, bases.load, guess.load, others.load)
    for load in (*tables, table.table, loaders.configs, fields.all_fields):
        load()
    renaming.layouts("")
    if metrics == TENSORBOARD:
        from tensorboard.backend.event_processing import event_file_loader  # noqa: F401

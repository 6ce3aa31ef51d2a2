"""Training with an engine, as a kind of job."""

from __future__ import annotations

from trainer_core.engines import registry
from trainer_core.jobs import tail
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.jobs.state import JobState
from trainer_core.training import outcome
from trainer_core.training.folder import KIND, RunFolder
from trainer_core.training.watch import EngineWatch


class Training:
    """The kind of job that the supervisor uses for runs: it watches the engine and decides whether the output is accepted."""

    id, title = KIND, "Training"

    def watch(self, folder: JobFolder, journal: Journal) -> EngineWatch:
        """The watch on the engine's log, its TensorBoard files and its output folder."""
        run = RunFolder(folder.path)
        spec = run.rendered
        return EngineWatch(run, spec, registry.get(spec.backend), journal)

    def finish(self, folder: JobFolder, exit_code: int | None) -> Outcome:
        """The outcome: COMPLETED if the output is accepted, whatever the exit code."""
        run = RunFolder(folder.path)
        spec = run.rendered
        if exit_code is None:
            cause = tail.last_lines(folder.log)[-1]
            advice = f"Check the engine with: easel backends verify {spec.backend}"
            return Outcome(JobState.FAILED, diagnosis=Diagnosis("not-started", cause, "", advice))
        return outcome.judge(run, spec, registry.get(spec.backend).manifest, exit_code)


kind = Training()

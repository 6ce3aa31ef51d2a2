"""Remote runs for tests: a home here, a trainer in a second home, and jobs of the rehearsal engine."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import recorded_headers, second_home
from tests.support.played import LIMIT_S, until
from trainer_core import events, places
from trainer_core.jobs.processes import Identity
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.prepare.workbench import Workbench
from trainer_core.remote.runs import starting
from trainer_core.remote.runs.target import Remote
from trainer_core.training.run import Run, list_runs


class Homes:
    """The home of the person, and that of the trainer."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.here, self.there = folder / "here", folder / "there"
        self.there.mkdir(parents=True)
        second_home.install(folder / "site", monkeypatch)
        monkeypatch.setenv("EASEL_HOME", str(self.here))
        self.target = {"kind": second_home.KIND, "home": str(self.there), "faults": str(folder / "faults")}
        self.faults = second_home.Faults(folder / "faults")
        self.out = folder / "out"
        self.images = folder / "photos"
        self._files()

    def _files(self) -> None:
        recorded_headers.write("sd15", self.folder)
        self.images.mkdir()
        for number in range(3):
            Image.new("RGB", (64, 64), (40 * number, 90, 120)).save(self.images / f"{number}.png")
            (self.images / f"{number}.txt").write_text(f"elena, image {number}")

    def bench(self, steps: int = 20, more: dict[str, Any] | None = None, **player: Any) -> Workbench:
        """A job with checkpoints and samples."""
        bench = Workbench(engine="rehearsal")
        bench.use_profile("plain")
        bench.set(
            {
                "model.path": str(self.folder / "sd15.safetensors"),
                "dataset.path": str(self.images),
                "dataset.trigger": "elena",
                "network.rank": 4,
                "network.alpha": 2.0,
                "output.name": "elena",
                "output.folder": str(self.out),
                "output.save_every_steps": 10,
                "sampling.every_steps": 10,
                "sampling.prompts": ("elena",),
                "schedule.steps": steps,
                "native": {"rehearsal": {"steps_per_second": 20.0, **player}},
                **(more or {}),
            }
        )
        return bench

    def start(self, **more: Any) -> Run:
        return starting.start(self.bench(**more), self.target)

    def ended(self, **more: Any) -> Run:
        run = self.start(**more)
        wait(run)
        return run

    def runs_there(self) -> list[Run]:
        return list_runs(self.there / "remote-runs")

    def remote_of(self, run: Run) -> Run:
        return Run.attach(self.there / "remote-runs" / Remote.of(run.folder.path).id)

    def stop_all(self) -> None:
        """Ends what a failed test leaves."""
        for run in [*list_runs(places.runs()), *self.runs_there()]:
            if run.state not in FINAL_STATES:
                for name in ("runner.json", "wrapper.json", "engine.json"):
                    kill(run, name)


def wait(run: Run) -> JobState:
    state = run.wait(LIMIT_S)
    assert state in FINAL_STATES, state
    return state


def kill(run: Run, name: str = "engine.json") -> None:
    """Kills a process that the folder of a run names."""
    found = Identity.from_dict(run.folder.read(name))
    if found is not None and found.alive:
        os.kill(found.pid, signal.SIGKILL)


def lines(run: Run) -> list[dict[str, Any]]:
    return events.read_lines(run.folder.events.read_bytes())


def of_kind(run: Run, kind: str) -> list[dict[str, Any]]:
    return [line for line in lines(run) if line.get("kind") == kind]


def notices(run: Run) -> str:
    return "\n".join(line["text"] for line in of_kind(run, "notice"))


__all__ = ["Homes", "kill", "lines", "notices", "of_kind", "until", "wait"]

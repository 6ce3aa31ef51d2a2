"""The rehearsal engine: replays a recorded training as a real process and ends as configured. For tests and work on the UI.

`[native.rehearsal]` configures it: see `OPTIONS`.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from trainer_core.engines.manifest import load_manifest
from trainer_core.engines.seam import (
    ArtefactPattern,
    Artefacts,
    Control,
    JobSpec,
    Metrics,
    Place,
    Request,
    StatePattern,
)
from trainer_core.engines.status import EngineStatus
from trainer_core.events import Epoch, Event, Notice, Phase, Progress, Step
from trainer_core.hardware import Machine
from trainer_core.jobs.spec import Step as Command
from trainer_core.problems import Problem

ID = "rehearsal"
SCORE = PurePosixPath("engine/score.json")
REQUESTS = PurePosixPath("engine/requests.json")
WHEN = "after this step"
SAVE, SAMPLE = "checkpoints", "samples"
"""The keys of the numbers in the file of requests."""
ENDINGS = (
    *("success", "oom", "nan", "hang", "crash", "empty", "killed", "stubborn", "fork", "flawed", "late"),
    *("cut", "stays", "lingers"),
)

if TYPE_CHECKING:
    from trainer_core.plan.sections import TrainingPlan
"""success; a failure of that name; hang: alive and silent; empty: exit code 0 and no file; killed: by itself, as by the
system; stubborn: deaf to SIGTERM; fork: success, but leaves a process in another session; flawed: a file full of NaN;
late: exit code 1 after everything was written; cut: killed while it writes the checkpoint of that step; stays: alive and
silent after everything was written; lingers: the same, but without a word that it has saved.

With nan, the checkpoints after that step contain only NaN."""

OPTIONS: Mapping[str, Any] = {
    "ending": "success",
    "steps_per_second": 20.0,
    "at": 0,
    "work_mib": 0,
    "say": "",
    "phases": False,
    "ends_in": "train",
}
"""The options with their defaults: how it ends; how fast it plays (0: as fast as it can); the step of the ending (0: the
middle); how much is computed in each step; a warning it prints at the start; whether it caches in separate commands
before it trains, as some engines must; the command of `COMMANDS` in which it ends that way."""

COMMANDS = ("cache latents", "cache text", "train")
"""The commands of a job with `phases`, in turn; without, there is the last alone."""

_PHASES = (
    ("Loading settings from", "starting"),
    ("prepare images", "reading dataset"),
    ("loading model for process", "loading model"),
    ("caching latents...", "caching latents"),
    ("caching text...", "caching text"),
    ("running training", "training"),
    ("generating sample images", "sampling"),
    ("saving checkpoint:", "saving"),
    ("model saved.", "saved"),
)
_BAR = re.compile(
    r"steps:\s+\d+%\|[^|]*\|\s*(?P<step>\d+)/(?P<total>\d+) \[[\d:]+<[\d:?]+,\s*(?P<rate>[\d.?]+)it/s"
    r"(?:, lr=(?P<lr>[\w.+-]+), step_loss=(?P<loss>[\w.+-]+))?\]"
)
_EPOCH = re.compile(r"^epoch (\d+)/(\d+)$")
_STAMP = re.compile(r"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)?\s*(?P<level>INFO|WARNING|ERROR)\s+(?P<text>\S.*)$")


class Rehearsal:
    """The backend for the rehearsal engine."""

    manifest = load_manifest(Path(__file__).parent / "backend.toml")

    # It plays on any machine.
    def problems(self, plan: TrainingPlan, machine: Machine, status: EngineStatus) -> Sequence[Problem]:  # noqa: ARG002
        """The Problems of its own options; it can play any plan."""
        found = []
        for name, value in plan.native.get(ID, {}).items():
            path = f"native.{ID}.{name}"
            if name not in OPTIONS:
                found.append(
                    Problem(path, "error", f"The rehearsal engine has no option {name}. It has: {', '.join(OPTIONS)}.")
                )
            elif name == "ending" and value not in ENDINGS:
                found.append(Problem(path, "error", f"There is no such ending. Known: {', '.join(ENDINGS)}."))
            elif name == "ends_in" and value not in COMMANDS:
                found.append(Problem(path, "error", f"There is no such command. Known: {', '.join(COMMANDS)}."))
        return found

    def render(self, plan: TrainingPlan, place: Place) -> JobSpec:
        """The score to play from, and the commands."""
        stem = plan.output_stem or "last"
        options = {**OPTIONS, **plan.native.get(ID, {})}
        score: dict[str, Any] = {
            "options": options,
            "output": str(place.output),
            "stem": stem,
            "plan": plan.model_dump(),
            "prompts": [{"text": prompt.text, "seed": prompt.seed} for prompt in plan.sample_prompts],
            "requests": str(place.run / REQUESTS),
        }
        if found := place.resume:
            score["resume"] = {
                "state": str(found.state),
                "step": found.step,
                "schedule_from": found.schedule_from,
                "rate_times": found.rate_times,
            }
        name = re.escape(stem)
        player = (str(place.python), str(Path(__file__).parent / "play.py"))
        controls: dict[Request, Control] = {
            "save": Control(REQUESTS, SAVE, "The rehearsal engine saves a checkpoint after the current step.", WHEN),
            "sample": Control(REQUESTS, SAMPLE, "The rehearsal engine writes a sample after the current step.", WHEN),
        }
        return JobSpec(
            backend=ID,
            files={
                SCORE: json.dumps(score, indent=2, ensure_ascii=False) + "\n",
                REQUESTS: json.dumps({SAVE: 0, SAMPLE: 0}) + "\n",
            },
            steps=tuple(
                Command(name, (*player, str(place.run / SCORE), name), {"PYTHONUTF8": "1"})
                for name in (COMMANDS if options["phases"] else COMMANDS[-1:])
            ),
            working_directory=place.run,
            total_steps=plan.schedule.steps,
            metrics=Metrics("log"),
            artefacts=Artefacts(
                final=ArtefactPattern("*.safetensors", rf"^{name}\.safetensors$"),
                checkpoints=ArtefactPattern("*.safetensors", rf"^{name}-step(?P<step>\d{{8}})\.safetensors$"),
                samples=ArtefactPattern(
                    "sample/*.png", rf"^sample/{name}_(?P<step>\d{{6}})_(?P<prompt>\d{{2,}})_\d+\.png$"
                ),
                states=_states(stem, plan.output.keep_states) if plan.output.keep_states else None,
            ),
            controls=controls,
        )

    def parse(self, line: str) -> Event | None:
        """What one line of the player means, or None."""
        text = line.strip()
        if bar := _BAR.search(text):
            return _step(bar)
        if epoch := _EPOCH.match(text):
            return Epoch(int(epoch[1]), int(epoch[2]))
        stamp = _STAMP.match(line)
        level, message = (stamp["level"], stamp["text"]) if stamp else ("", text)
        for beginning, name in _PHASES:
            if message.startswith(beginning):
                return Phase(name)
        if level in ("WARNING", "ERROR") and "no regularization images" not in message:
            return Notice("warning" if level == "WARNING" else "error", message)
        return None


def _states(stem: str, keep: int) -> StatePattern:
    """The folders in which the player leaves its states; the last one has no step in its name, as with sd-scripts."""
    return StatePattern(
        f"{glob.escape(stem)}*-state",
        rf"^{re.escape(stem)}(?:-step(?P<step>\d{{8}}))?-state$",
        needs=("*.safetensors", "optimizer.bin", "state.json"),
        named=f"{stem.replace('{', '{{').replace('}', '}}')}-step{{step:08d}}-state",
        texts=("state.json",),
        keep=keep,
    )


def _step(bar: re.Match[str]) -> Event:
    step, total = int(bar["step"]), int(bar["total"])
    loss, rate, pace = _number(bar["loss"]), _number(bar["lr"]), _number(bar["rate"])
    if loss is not None and step:
        return Step(step, loss, rate)
    return Progress(step, total, 1 / pace if pace else None)


def _number(text: str | None) -> float | None:
    """The number in the text, nan and inf included; None for "?" or nothing."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


backend = Rehearsal()

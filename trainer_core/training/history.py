"""The history of runs: what each of them trained, how it ended, and what the user calls it. Only small files are read for it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import JobError, RunError
from trainer_core.events import real
from trainer_core.jobs.folder import RESULT, entries_of
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.plan.subject import same
from trainer_core.training import facts, labels, numbers, past_cache
from trainer_core.training.folder import WHERE, RunFolder
from trainer_core.training.labels import Labels
from trainer_core.training.past_cache import PastCache
from trainer_core.training.run import Run


@dataclass(frozen=True)
class PastRun:
    """What is known about a run without reading its events. Times are seconds since 1970, 0 if unknown; texts come from outside.

    `settings` are the values that differ from Easel's defaults. `images` is None for a run of an older Easel.
    `seconds` is 0 until the run has ended; `loss` is that of its last step. `damage` says which files of it are damaged.
    """

    run: str
    state: JobState
    labels: Labels = field(default_factory=Labels)
    started: float = 0.0
    seconds: float = 0.0
    steps: int = 0
    loss: float | None = None
    total_steps: int = 0
    images: int | None = None
    subject: str = ""
    name: str = ""
    model: str = ""
    family: str = ""
    method: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    peak_memory_bytes: int = 0
    peak_gpu_memory_bytes: int = 0
    diagnosis: str = ""
    cause: str = ""
    damage: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The run as JSON data."""
        own = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        del own["labels"], own["name"]
        return {**own, "state": self.state.name, "trained": self.name, **self.labels.as_dict()}


VERSIONS = (
    "easel", "python", "engine", "engine_version", "profile", "preset", "policy", "gpu", "like", "sweep", "resumes", "retries",
    WHERE, numbers.KEY,
)  # fmt: skip
"""The entries of versions.json that the history shows: what ran, where the values came from, and which runs belong to it."""

RESULT_AT = past_cache.FILES.index(RESULT)


@dataclass(frozen=True)
class Filter:
    """Which runs are wanted; an empty entry stands for any. `text` is searched in names, notes, tags, subject, model and settings."""

    state: str = ""
    family: str = ""
    tag: str = ""
    text: str = ""
    since: float = 0.0
    sweep: str = ""

    def fits(self, run: PastRun) -> bool:
        """Whether a run is wanted."""
        words = (run.run, run.labels.name, run.labels.note, run.subject, run.name, run.model, *run.labels.tags)
        return (
            self.state.upper() in ("", run.state.name)
            and self.family in ("", run.family)
            and (not self.tag or self.tag in run.labels.tags)
            and (
                not self.text
                or self._is_in(words)
                or self._is_in(f"{path}={value}" for path, value in run.settings.items())
            )
            and run.started >= self.since
            and self.sweep in ("", run.versions.get("sweep", ""))
        )

    def _is_in(self, words: Iterable[str]) -> bool:
        return any(same(self.text) in same(word) for word in words)


def history(folder: Path | None = None, wanted: Filter | None = None) -> list[PastRun]:
    """The runs in a folder that are wanted, the newest first. Folders that are not runs are left out."""
    where = folder or places.runs()
    # A link leads to a run of another folder, which has no place among those of this one.
    paths = [path for path in entries_of(where) if not path.is_symlink()]
    if where == places.runs():
        cache = past_cache.of_home()
        found = [_remembered(path, cache) for path in paths]
        cache.save(path.name for path in paths)
    else:
        found = [past_run(path) for path in paths]
    fitting = (run for run in found if run is not None and (wanted is None or wanted.fits(run)))
    return sorted(fitting, key=lambda run: (run.started, run.run), reverse=True)


def _remembered(path: Path, cache: PastCache) -> PastRun | None:
    """As `past_run`; a run that has ended is not read again before one of its files has changed."""
    # The state is taken first: what is written while the run is read makes it be read again next time.
    state = past_cache.state_of(path)
    if (row := cache.get(path.name, state)) is not None:
        with contextlib.suppress(TypeError, ValueError, KeyError):
            return _from_row(row)
    found = past_run(path)
    if found is not None and found.state in FINAL_STATES and state[RESULT_AT] is not None:
        cache.put(path.name, state, _as_row(found))
    return found


def _as_row(run: PastRun) -> dict[str, Any]:
    own = {each.name: getattr(run, each.name) for each in dataclasses.fields(run)}
    return {**own, "state": run.state.name, "labels": run.labels.as_dict()}


def _from_row(row: Mapping[str, Any]) -> PastRun:
    labels_, outputs = row["labels"], tuple(row["outputs"])
    return PastRun(
        **{
            **row,
            "state": JobState[row["state"]],
            "labels": Labels(labels_["name"], labels_["note"], tuple(labels_["tags"])),
            "outputs": outputs,
        }
    )


def past_run(path: Path) -> PastRun | None:
    """What is known about the run in a folder; None if it is not a run, or one of a newer Easel."""
    try:
        run = Run.attach(path)
    except JobError:
        return None
    folder = run.folder
    result, versions = run.result or {}, folder.versions
    state = JobState.__members__.get(str(result.get("state"))) or run.state
    about, diagnosis = _about(folder, versions), result.get("diagnosis")
    texts = {name: _text(about, name) for name in ("subject", "name", "model", "family", "method")}
    settings = about.get("settings")
    return PastRun(
        run=run.name,
        state=state,
        labels=labels.read(folder),
        started=_number(result, "started") or _number(versions, "created") or _time_in_name(run.name),
        seconds=_number(result, "seconds"),
        steps=int(_number(result, "steps")),
        loss=_loss(run, result.get("summary") or {}),
        total_steps=int(_number(folder.read("spec.json") or {}, "total_steps")),
        images=int(_number(versions, "images")) if "images" in versions else None,
        settings=settings if isinstance(settings, dict) else {},
        versions={name: _version(versions[name]) for name in VERSIONS if versions.get(name)},
        outputs=tuple(result.get("outputs") or ()),
        peak_memory_bytes=int(_number(result, "peak_memory_bytes")),
        peak_gpu_memory_bytes=int(_number(result, "peak_gpu_memory_bytes")),
        diagnosis=str(diagnosis.get("id", "")) if isinstance(diagnosis, dict) else "",
        cause=_text(diagnosis, "cause") if isinstance(diagnosis, dict) else "",
        damage=run.damage,
        **texts,
    )


def _loss(run: Run, summary: Mapping[str, Any]) -> float | None:
    """The smoothed loss of a run that has ended; a run of an older Easel recorded only that of its last step."""
    if "smoothed_loss" in summary or real(summary.get("loss")) is None:
        return real(summary.get("smoothed_loss"))
    from trainer_core.training.losses import smoothed_loss

    return smoothed_loss(run)


def unknown(run: PastRun) -> tuple[str, ...]:
    """What the folder of a run does not record, in words: an older Easel wrote less."""
    facts_ = {
        "the number of its images": run.images is not None,
        "the version of its engine": bool(run.versions.get("engine_version") or run.versions.get(WHERE)),
        "its GPU": bool(run.versions.get("gpu") or run.versions.get(WHERE)),
        "the profile of its settings": "profile" in run.versions or run.images is not None,
        "its settings": bool(run.settings or run.family or run.model),
        "when it was started": run.started > 0,
    }
    return tuple(what for what, is_known in facts_.items() if not is_known)


def related(name: str) -> Iterator[tuple[str, str]]:
    """(run, how) of each run that names this one in its versions.json: how is "resumes", "retries" or "like"."""
    for run in history():
        for how in ("resumes", "retries", "like"):
            if Path(run.versions.get(how, "")).name == name:
                yield run.run, how


def images_of(folder: RunFolder) -> int | None:
    """The number of staged images of a run of an older Easel, which did not record it; None if it has no such folder."""
    from trainer_core.training.staged import staged

    return len(staged(folder)) if folder.dataset.is_dir() else None


def _about(folder: RunFolder, versions: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a run trains, as it recorded it; from its plan for a run of an older Easel."""
    recorded = versions.get("about")
    if isinstance(recorded, dict):
        return recorded
    try:
        return facts.of_plan(folder.plan)
    except RunError:
        return {}


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value[: facts.LONGEST] if isinstance(value, str) else ""


def _version(value: object) -> str:
    """An entry of versions.json as text; one that is a table has the name of a run in it."""
    return str(value.get("run", "")) if isinstance(value, dict) else str(value)


def _number(data: Mapping[str, Any], name: str) -> float:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if math.isfinite(value) and 0 <= value < 1e18 else 0.0


def _time_in_name(name: str) -> float:
    """The time in the name of a run folder, which is in local time; 0 if it contains none."""
    try:
        return time.mktime(time.strptime(name[:15], "%Y%m%d-%H%M%S"))
    except (ValueError, OverflowError):
        return 0.0

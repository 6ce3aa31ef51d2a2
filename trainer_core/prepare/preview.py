"""What a start would write and run, shown before it: the engine's files, its commands, and what another run had instead.

The rendering is that of the start itself (`trainer_core.training.run.rendered`). Nothing is written.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainer_core import places
from trainer_core.engines.option_sources import tables_in
from trainer_core.engines.seam import shown_link
from trainer_core.errors import JobError
from trainer_core.jobs.state import JobState
from trainer_core.plan.subject import same, subject_of
from trainer_core.prepare import problems as job_problems
from trainer_core.prepare import saves
from trainer_core.problems import Problem, blocking
from trainer_core.text import without_secrets
from trainer_core.training import amd, image_folders
from trainer_core.training.run import Run, list_runs, rendered

if TYPE_CHECKING:
    from trainer_core.engines.options import EngineOptions
    from trainer_core.engines.seam import Backend, JobSpec
    from trainer_core.estimate import Estimate
    from trainer_core.plan.sections import TrainingPlan
    from trainer_core.prepare.state import State

RUN_FOLDER = "new-run"
"""The name of the run folder in what is shown: the real one begins with the time of the start."""
LARGEST_BYTES = 2 * 1024**2
"""Of a file of another run, more is not read."""
MOST_LINES = 4000
"""Lines of a file up to which it is compared."""
NEAR = 50
"""How many of the nearest runs are looked at for whether they finished."""
Sign = Literal[" ", "+", "-"]


@dataclass(frozen=True)
class Command:
    """One command: its name, its arguments, and the environment variables that Easel adds for it."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def text(self) -> str:
        """The command as it can be typed in a terminal, each option on a line of its own."""
        words = [shlex.quote(word) for word in self.argv]
        return "".join(
            f" \\\n  {word}" if place and word.startswith("--") else f" {word}" if place else word
            for place, word in enumerate(words)
        )


@dataclass(frozen=True)
class Preview:
    """The engine's files by their path in the run folder, its commands, and the folder that they run in.

    `missing` are sentences about what is still missing before it can start; without files nothing can be rendered yet.
    `saves` are sentences about what the run saves, and how large that gets.
    """

    engine: str
    files: Mapping[str, str]
    commands: tuple[Command, ...]
    folder: str
    missing: tuple[str, ...]
    saves: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The preview as JSON data."""
        commands = [
            {"name": one.name, "argv": list(one.argv), "environment": dict(one.environment)} for one in self.commands
        ]
        return {
            "engine": self.engine,
            "files": dict(self.files),
            "commands": commands,
            "folder": self.folder,
            "missing": list(self.missing),
            "saves": list(self.saves),
        }


@dataclass(frozen=True)
class Line:
    """A line of a compared file: "+" is only in the new one, "-" only in that of the other run."""

    sign: Sign
    text: str


def preview(state: State) -> JobSpec | None:
    """The engine's files and commands for a job, in a folder that is not created; None without an engine.

    Raises:
        PlanError: there is a blocking Problem.
    """
    backend = state.backend
    return None if backend is None else _rendered(state, backend, job_problems.plan(state, backend))


def look_ahead(state: State, problems: Iterable[Problem] | None = None, estimate: Estimate | None = None) -> Preview:
    """What a start would write and run; with blocking Problems, what can be rendered of it, and what is missing.

    With an `estimate`, it is also said how large the saved files get.
    """
    found = job_problems.problems(state) if problems is None else tuple(problems)
    missing = [problem.message for problem in blocking(found)]
    backend = state.backend
    if backend is None:
        return Preview("", {}, (), "", tuple(missing) or ("The engine is chosen once the model is known.",))
    spec = _sketched(state, backend)
    if spec is None:
        missing = missing or ["The files can be shown once the model and its engine are known."]
        return Preview(backend.manifest.title, {}, (), "", tuple(missing))
    commands = tuple(
        Command(
            step.name,
            tuple(map(without_secrets, step.argv)),
            {name: without_secrets(f"{name}={value}")[len(name) + 1 :] for name, value in step.environment.items()},
        )
        for step in spec.steps
    )
    files = {name: without_secrets(text) for name, text in spec.shown.items()}
    said = saves.sentences(state.draft.sketch(), backend.manifest, estimate)
    return Preview(backend.manifest.title, files, commands, str(spec.working_directory), tuple(missing), said)


def written(state: State, program: EngineOptions | None) -> Mapping[str, Any]:
    """The options of a program that would be written for a job, with their values; {} if nothing can be rendered yet."""
    backend = state.backend
    if backend is None or program is None or (spec := _sketched(state, backend)) is None:
        return {}
    return tables_in(spec.files, {program.name: program}).get(program.name, {})


def _sketched(state: State, backend: Backend) -> JobSpec | None:
    """What an engine renders of a plan that may have Problems; None if it can render nothing."""
    method = state.draft.text("model.method")
    claim = backend.manifest.families.get(state.family)
    if backend.manifest.families and (claim is None or method not in claim.methods):
        return None
    try:
        return _rendered(state, backend, state.draft.sketch())
    except (LookupError, TypeError, ValueError, AttributeError):
        # An engine promises to render only plans without blocking Problems; here one names a choice that it does not have.
        return None


def _rendered(state: State, backend: Backend, plan: TrainingPlan) -> JobSpec:
    captions = image_folders.expected(state.facts.dataset, plan)
    return rendered(plan, backend, places.runs() / RUN_FOLDER, captions, amd.variables(state.facts.machine))[1]


# ---- compared with another run -------------------------------------------------------------------------------------


def comparable(state: State, runs: Iterable[Run] | None = None) -> list[Run]:
    """The runs that a job can be compared with: those of its engine.

    First those of its subject and method, then those of its subject, then the others. Of each, those that finished come first,
    then the newest.
    """
    backend = state.backend
    if backend is None:
        return []
    subject, method = same(subject_of(state.draft.values)), state.draft.text("model.method")
    ranked: list[tuple[int, Run]] = []
    for run in list_runs(places.runs()) if runs is None else runs:
        versions = run.folder.versions
        if versions.get("engine") == backend.manifest.id:
            about = versions.get("about")
            of = about if isinstance(about, dict) else {}
            is_mine = bool(subject) and same(str(of.get("subject", ""))) == subject
            ranked.append((0 if is_mine and of.get("method") == method else 1 if is_mine else 2, run))
    ranked.sort(key=lambda pair: pair[0])
    near = [(rank, run.state is not JobState.COMPLETED, run) for rank, run in ranked[:NEAR]]
    return [*(run for *_, run in sorted(near, key=lambda one: one[:2])), *(run for _, run in ranked[NEAR:])]


def files_of(run: Run) -> dict[str, str]:
    """The engine's files of a run by their path in its folder, with that folder replaced by the one of a preview.

    A file that is missing, or is not a plain file in the folder, is left out.
    """
    folder = run.folder.path
    try:
        names = run.folder.spec.details.get("files", ())
    except JobError:
        return {}
    found = {}
    for name in names if isinstance(names, list) else ():
        path = folder / str(name)
        if places.is_link(path) and _is_inside(path.parent, folder):
            found[str(name)] = without_secrets(shown_link(path.readlink()))
        elif places.is_file(path) and _is_inside(path, folder):
            text = path.read_bytes()[:LARGEST_BYTES].decode("utf-8", "replace")
            found[str(name)] = without_secrets(text.replace(str(folder), str(places.runs() / RUN_FOLDER)))
    return found


def _is_inside(path: Path, folder: Path) -> bool:
    try:
        return places.real(path).is_relative_to(places.real(folder))
    except (OSError, ValueError):
        return False


def differences(new: Mapping[str, str], old: Mapping[str, str]) -> dict[str, list[Line]]:
    """The lines of each file of a preview, then of the files that only the other run has."""
    return {name: compared(new.get(name, ""), old.get(name, "")) for name in {**new, **old}}


def state_of(name: str, new: Mapping[str, str], old: Mapping[str, str]) -> str:
    """How a file differs from that of the other run, in a few words; "" if it does not."""
    if name not in old:
        return "new"
    if name not in new:
        return "no longer written"
    count = sum(tag != "equal" for tag, *_ in _opcodes(old[name].splitlines(), new[name].splitlines()))
    return "" if not count else "1 change" if count == 1 else f"{count} changes"


def compared(new: str, old: str) -> list[Line]:
    """The lines of a file, with those that only the file of another run has."""
    after, before = new.splitlines(), old.splitlines()
    if max(len(after), len(before)) > MOST_LINES:
        return [Line(" ", line) for line in after]
    return list(_lines(before, after))


def _lines(before: list[str], after: list[str]) -> Iterator[Line]:
    for tag, old_from, old_to, new_from, new_to in _opcodes(before, after):
        if tag == "equal":
            yield from (Line(" ", line) for line in after[new_from:new_to])
        else:
            yield from (Line("-", line) for line in before[old_from:old_to])
            yield from (Line("+", line) for line in after[new_from:new_to])


def _opcodes(before: list[str], after: list[str]) -> Sequence[tuple[str, int, int, int, int]]:
    if max(len(after), len(before)) > MOST_LINES:
        return []
    return difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()

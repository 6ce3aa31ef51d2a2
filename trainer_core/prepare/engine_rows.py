"""Which program would train a job and why the others would not: a row for each engine, and which one Easel proposes.

A row is what the job would be with that engine. It is computed when the table is opened, because it takes an estimate and all
rules for each engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from trainer_core.draft import checks
from trainer_core.draft.checks.hub import hub_files_are_there
from trainer_core.draft.checks.parts import kinds_wanted
from trainer_core.engines import parts, preference, trainable
from trainer_core.engines.preference import Files, Memory, Standing
from trainer_core.install import choice, hub_files
from trainer_core.models import variants
from trainer_core.plan import fields
from trainer_core.prepare import switching
from trainer_core.prepare.switching import Lost
from trainer_core.text import plain_number, size

if TYPE_CHECKING:
    from trainer_core.draft.facts import Facts
    from trainer_core.engines.hub import HubFiles
    from trainer_core.engines.seam import Backend
    from trainer_core.estimate import Past
    from trainer_core.hardware import Machine
    from trainer_core.prepare.reader import FactsReader
    from trainer_core.prepare.state import State
    from trainer_core.prepare.workbench import Workbench
    from trainer_core.problems import Problem

NOT_MEASURED = "not measured here"
NOT_ASKED = "not known until the machine says what it has"
NOTABLE_BYTES = 1 << 30
"""By how much free memory must change before the table is computed again."""
HEADINGS = ("Engine", "Files", "Memory", "Speed", "Features lost", "Resume", "Installed")


@dataclass(frozen=True)
class EngineRow:
    """One engine for a job. `files`, `memory`, `speed`, `resume` and `installed` are short texts, "" if it does not train the family.

    `lost` are the settings that would have no effect; `wanted` says of each file that is missing which one is meant and how to get it.
    """

    standing: Standing
    is_chosen: bool
    files: str = ""
    memory: str = ""
    speed: str = ""
    lost: tuple[Lost, ...] = ()
    resume: str = ""
    installed: str = ""
    wanted: tuple[str, ...] = ()

    @property
    def lost_text(self) -> str:
        """The settings that would be lost, by their titles."""
        return ", ".join(one.title for one in self.lost) or "none"

    @property
    def why_not(self) -> str:
        """Why this engine would not train the job, as a sentence; "" if it would or could."""
        one = self.standing
        if one.blocks or one.installed:
            return one.blocks
        return f"{one.title} is {self.installed or 'not installed'}."

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the engine would not start, which files it lacks, and why each value is lost, as sentences. That it is not installed is in its cell."""
        lost = [
            f"{one.title} {one.value}: {one.why}"
            for one in self.lost[: switching.SHOWN]
            if one.why != self.standing.blocks
        ]
        more = len(self.lost) - switching.SHOWN
        return (
            *filter(None, (self.standing.blocks,)),
            *self.wanted,
            *lost,
            *([f"{more} more settings are lost."] if more > 0 else []),
        )

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the row, in the order of HEADINGS."""
        lost = self.lost_text if self.standing.trains else ""
        return (self.standing.title, self.files, self.memory, self.speed, lost, self.resume, self.installed)

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON data."""
        one = self.standing
        return {
            "engine": one.id,
            "title": one.title,
            "is_chosen": self.is_chosen,
            "trains": one.trains,
            "why_not": self.why_not,
            "files": {"rating": one.files, "text": self.files, "wanted": list(self.wanted)},
            "memory": {"rating": one.memory, "text": self.memory},
            "speed": self.speed,
            "lost": [asdict(each) for each in self.lost],
            "resume": self.resume,
            "installed": one.installed,
        }


@dataclass(frozen=True)
class EngineTable:
    """The rows, the best first; the engine that Easel proposes, "" for none, and why, as a sentence."""

    rows: tuple[EngineRow, ...]
    proposed: str
    reason: str
    headings: tuple[str, ...] = HEADINGS

    def named(self, engine: str) -> EngineRow | None:
        """The row of an engine; None if there is none."""
        return next((row for row in self.rows if row.standing.id == engine), None)

    def as_dict(self) -> dict[str, Any]:
        """The table as JSON data."""
        return {"proposed": self.proposed, "reason": self.reason, "engines": [row.as_dict() for row in self.rows]}


def table(bench: Workbench, past: Sequence[Past] = ()) -> EngineTable:
    """Compares the engines for the job of a workbench; `past` are finished runs of this machine."""
    state, reader = bench.state, bench.reader
    past = () if reader.is_elsewhere else past
    shown = [engine for engine in state.engines if not engine.manifest.hidden or engine is state.engine]
    rows = [_row(engine, state, reader, past, knows_machine=bench.is_known) for engine in shown]
    rows.sort(key=lambda row: preference.place(row.standing))
    hidden = {engine.manifest.id for engine in shown if engine.manifest.hidden}
    standings = [row.standing for row in rows if row.standing.id not in hidden]
    best = preference.preferred(standings)
    family = trainable.family_title(state.family)
    return EngineTable(tuple(rows), best.id if best else "", preference.reason(standings, family))


def is_same(one: State, other: State) -> bool:
    """Whether two jobs have the same table on the same machine: free memory and the free space of a disk always change a little."""
    here, there = one.facts.machine, other.facts.machine
    if _without_free(here) != _without_free(there):
        return False
    ram = abs(here.free_ram_bytes - there.free_ram_bytes)
    vram = abs(here.accelerator.free_vram_bytes - there.accelerator.free_vram_bytes)
    if max(ram, vram) >= NOTABLE_BYTES or one.engine is not other.engine:
        return False
    return one.draft.layers == other.draft.layers and _lasting(one.facts, there) == _lasting(other.facts, there)


def _without_free(machine: Machine) -> Machine:
    """What a machine is, whatever is free on it now."""
    cards = tuple(replace(card, free_vram_bytes=0) for card in machine.accelerators)
    return replace(machine, accelerators=cards, free_ram_bytes=0, disk_bytes=0)


def _lasting(facts: Facts, machine: Machine) -> Facts:
    """The facts with one machine for both, and without the free space at their paths."""
    at = {name: replace(found, free_bytes=0) for name, found in facts.paths.items()}
    return replace(facts, machine=machine, paths=at)


def _row(
    engine: Backend, present: State, reader: FactsReader, past: Sequence[Past], *, knows_machine: bool
) -> EngineRow:
    manifest, family = engine.manifest, present.family
    status = present.facts.engine(manifest.id)
    method, variant = (present.draft.text(f"model.{name}") for name in ("method", "variant"))
    standing = choice.standing(manifest, family, status, method, present.facts.detection, variant)
    is_chosen = engine is present.backend
    if not standing.trains:
        blocks = manifest.refused.get(family) or standing.blocks
        return EngineRow(replace(standing, blocks=blocks), is_chosen)
    state = present if is_chosen else reader.with_engine(present, engine)
    against = tuple(_problems_of(engine, state))
    # Also what is said without an engine, such as that the file of a part does not exist.
    about_files = [problem for problem in state.draft.problems(engine) if _is_about_files(problem, state, engine)]
    stops = [problem for problem in against if problem.severity == "error" and problem not in about_files]
    if stops and not standing.blocks:
        is_mendable = all(problem.fix and problem.fix.assignments for problem in stops)
        standing = replace(standing, blocks=stops[0].message, is_mendable=is_mendable)
    rating, files = _files(state, engine, about_files, is_elsewhere=reader.is_elsewhere)
    judged, memory = _memory(state, engine, past) if knows_machine else ("unknown", NOT_ASKED)
    files_of_job = {setting.path for setting in fields.paths()}
    lost = {one.path: one for one in (*switching.lost(present, state), *switching.unused(state))}
    return EngineRow(
        replace(standing, files=rating, memory=judged),
        is_chosen,
        files=files,
        wanted=tuple(
            _wanted(problem)
            for problem in about_files
            if problem.severity == "error" and problem.message != standing.blocks and _reads_form(state, engine)
        ),
        memory=memory,
        speed=_speed(state, engine, past),
        lost=tuple(one for path, one in lost.items() if path not in files_of_job),
        resume=_resume(engine),
        installed=_installed(state, engine),
    )


def _problems_of(engine: Backend, state: State) -> Iterator[Problem]:
    """The Problems that an engine brings: those that the job does not have anyway."""
    anyway = {(problem.path, problem.message) for problem in state.draft.problems(None)}
    yield from (each for each in state.draft.problems(engine) if (each.path, each.message) not in anyway)


def _is_about_files(problem: Problem, state: State, engine: Backend) -> bool:
    """Whether a Problem says that a file is missing, or has to be made or renamed."""
    if problem.path in {part.path for part in fields.parts()}:
        return True
    is_renamed = problem.path == "model.path" and problem.fix is not None and problem.fix.task is not None
    case = checks.Case(state.draft.sketch(), state.facts, engine)
    return is_renamed or problem.message in {each.message for each in hub_files_are_there(case)}


def _reads_form(state: State, engine: Backend) -> bool:
    """Whether the engine reads the model as it is, or a copy with other tensor names."""
    found, manifest, variant = state.facts.detection, engine.manifest, state.draft.text("model.variant")
    if found is None or not trainable.why_not(found, manifest, variant):
        return True
    return parts.renamed_model(found, manifest) is not None


def _wanted(problem: Problem) -> str:
    """What a Problem about a file says: the setting, the file that is meant, and how to get it."""
    known, fix = fields.all_fields().get(problem.path), problem.fix
    head = f"{known.title} ({problem.path}): " if known else ""
    how = ""
    if fix is not None and fix.task is not None:
        how = f" In a terminal: {fix.task.command}"
    elif fix is not None:
        settings = " ".join(f"--set {path}={value}" for path, value in fix.assignments.items())
        how = f" {fix.label}{f': {settings}' if settings else ''}"
    return f"{head}{problem.message}{how}"


def _files(state: State, engine: Backend, about: Sequence[Problem], *, is_elsewhere: bool = False) -> tuple[Files, str]:
    """Whether the files that an engine needs are at hand, and which ones those are."""
    found, claim = state.facts.detection, state.scope.claim
    if found is None or claim is None:
        return "unknown", "the model is not known yet"
    form = "a diffusers folder" if found.layout == "pipeline" else "one file"
    if not _reads_form(state, engine):
        return "missing", f"missing: the model in a form that it reads; this is {form}"
    known = fields.all_fields()
    needed = {path: known[path].title for path in state.scope.needed_parts()}
    stopped = {problem.path for problem in about if problem.severity == "error"}
    absent = {path for path in needed if path in stopped or not state.draft.text(path)}
    there = [form, *(title for path, title in needed.items() if path not in absent)]
    if absent:
        case = checks.Case(state.draft.sketch(), state.facts, engine)
        # A setting has the same name for several kinds of file, such as the Qwen text encoders.
        missing = [kinds_wanted(case, known[path].name) or title for path, title in needed.items() if path in absent]
        return "missing", f"missing: {', '.join(missing)}; at hand: {', '.join(there)}"
    model = state.facts.at("model.path", state.draft.text("model.path"))
    if model is not None and model.is_elsewhere:
        return "unknown", f"{', '.join(there)}, on another machine"
    if parts.renamed_model(found, engine.manifest) and "model.path" in stopped:
        return "to fetch", f"to rename: the model; at hand: {', '.join(there)}"
    # What another machine has of the Hub is not known here.
    rows = () if is_elsewhere else _of_hub(state, engine)
    if not rows:
        return "at hand", f"at hand: {', '.join(there)}"
    facts = state.facts.hub
    if facts is not None and facts.reach in ("no", "off") and not facts.obtainable:
        return "missing", f"missing, and the Hub cannot be reached: {_named(rows)}"
    return "to fetch", f"to fetch: {_named(rows)}; at hand: {', '.join(there)}"


def _named(rows: Sequence[HubFiles]) -> str:
    return f"{', '.join(row.title for row in rows)} ({size(sum(row.bytes for row in rows))})"


def _of_hub(state: State, engine: Backend) -> tuple[HubFiles, ...]:
    """The files of the Hub that an engine needs and that are missing; of one that is not installed, those that its installation does not bring."""
    if state.facts.hub is not None:
        return state.facts.hub.missing
    manifest, model = engine.manifest, state.facts.at("model.path", state.draft.text("model.path"))
    variant = state.draft.text("model.variant") or variants.likely(state.family, state.facts.detection)
    rows = hub_files.missing(manifest, state.family, variant, is_folder=model is not None and model.is_folder)
    comes_along = hub_files.common(manifest)
    return tuple(row for row in rows if row not in comes_along)


def _memory(state: State, engine: Backend, past: Sequence[Past]) -> tuple[Memory, str]:
    """Whether the plan fits into memory with an engine, and the numbers."""
    from trainer_core.estimate import against, estimate

    costs = engine.manifest.estimate
    if costs is None or costs.rehearses:
        return "unknown", f"{engine.manifest.title} declares nothing about it"
    if state.facts.detection is None or state.draft.value_problems():
        return "unknown", "not known before the model and all values are valid"
    found = estimate(state.draft.sketch(), state.facts, past, engine.manifest)
    fit = against(found, state.facts.machine)
    needs = found.ram_gib if state.facts.machine.accelerator.kind == "cpu" else found.vram_gib[1]
    if needs <= 0 or fit.total_gib <= 0:
        return "unknown", fit.sentence.rstrip(".")
    word: dict[str, Memory] = {"yes": "fits", "maybe": "tight", "no": "does not fit"}
    numbers = fit.sentence.partition(": it needs ")[2].rstrip(".")
    return word[fit.fits], f"{word[fit.fits]}: {numbers}"


def _speed(state: State, engine: Backend, past: Sequence[Past]) -> str:
    """What the newest run like this one took for a step, with the settings on which that depends most."""
    from trainer_core.estimate.past import alike

    costs, plan = engine.manifest.estimate, state.draft.sketch()
    if costs is not None and costs.rehearses:
        return "it only simulates"
    card = state.facts.machine.accelerator.name
    known = [one for one in alike(past, engine.manifest.id, plan, state.family, card) if one.step_s]
    if not known:
        return NOT_MEASURED
    run, then = known[0], known[0].plan
    at = f"{then.dataset.resolution} pixels, batch size {then.schedule.batch_size}"
    return f"{plain_number(run.step_s)} s a step in {run.name} ({at})"


def _resume(engine: Backend) -> str:
    can = engine.manifest.resume
    if can is None:
        return "none"
    return "exact" if can.exact else "from checkpoints"


def _installed(state: State, engine: Backend) -> str:
    status = state.facts.engine(engine.manifest.id)
    if status.installed:
        return status.version or "yes"
    there = f" on {status.machine}" if status.machine else ""
    coming = ", the start installs it" if status.is_coming else ""
    return f"not installed{there}{coming}"

"""`easel jobs`: list, show, follow and stop jobs of every kind, from any terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from trainer_core import places
from trainer_core.cli import job_times, show
from trainer_core.cli.options import JSON_HELP, Seconds
from trainer_core.errors import JobError, wrong_use
from trainer_core.jobs import transferred
from trainer_core.jobs.folder import entries_of, is_job
from trainer_core.jobs.gauges import wording
from trainer_core.jobs.job import Job, list_jobs, since_s
from trainer_core.jobs.reading import is_judged
from trainer_core.jobs.recovery import recover
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.jobs.stop_request import GRACE_S, LONGEST_GRACE_S
from trainer_core.jobs.summary import Summary
from trainer_core.prepare.looking_after import look_after
from trainer_core.text import printable
from trainer_core.training.folder import RunFolder
from trainer_core.training.verdict import verdict

POLL_S = 0.25
SHOWN_ROWS = 10
COLUMNS = ("progress", "started", "time", "left")
JUDGED = "its processes have ended, and Easel finds out what became of it"
STALE = "Its supervisor gives no sign of life: its disk does not answer, or the machine was suspended. What is shown may be old."

AnyJob = TypeVar("AnyJob", bound=Job)


def find(
    name: str,
    known: Sequence[AnyJob],
    attach: Callable[[Path], AnyJob],
    where: Path,
    noun: str = "job",
    called: Callable[[AnyJob], str] = lambda _: "",
) -> AnyJob:
    """The job in this folder, with this name, or with the only name that ends with it; the one started last for "last".

    `called` returns what the user calls a job, which identifies it, too.

    Raises:
        JobError: none or more than one fits.
    """
    if not name.strip():
        # Every name ends with nothing.
        raise wrong_use(JobError(f"No {noun} is named.", f"`easel {noun}s list` shows all names; last is the newest."))
    for path in (Path(name), where / name):
        # Also a folder that cannot be used, so that the user reads why.
        if is_job(path):
            return attach(path)
    if name == "last":
        if not known:
            raise JobError(f"There is no {noun} in {where} yet.", "`easel train` and the notebooks start one.")
        return known[0]
    exact = [job for job in known if job.name == name] or [job for job in known if name and called(job) == name]
    fitting = exact or [job for job in known if job.name.endswith(name)]
    if not fitting:
        raise wrong_use(JobError(f"No {noun} is called {name!r:.100}.", f"`easel {noun}s list` shows all names."))
    if len(fitting) > 1:
        shown = ", ".join(map(_one_of_several, fitting[:SHOWN_ROWS]))
        more = f", and {len(fitting) - SHOWN_ROWS} more" if len(fitting) > SHOWN_ROWS else ""
        told = f"{len(fitting)} {noun}s are called {name!r:.100}, the newest first: {shown}{more}."
        raise wrong_use(JobError(told, f"Give the whole name of one, or `last` for the {noun} that was started last."))
    return fitting[0]


def _one_of_several(job: Job) -> str:
    """The name of a job, its state, and when it was started."""
    when = job_times.moment(since_s(job))
    return f"{job.name} ({', '.join(filter(None, (job.state.value, when)))})"


def watch(job: Job, quiet: bool = False, noun: str = "job", stops: bool = False) -> None:
    """Shows a job's progress until it ends, with its log if it has no steps. Ctrl+C stops watching; the job only with `stops`."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}", markup=False),
        TextColumn("{task.fields[gauges]}", markup=False),
    )
    log = None if job.summary.length else job.log
    try:
        with Progress(*columns, console=show.out, disable=quiet) as bar:
            task = bar.add_task("starting", total=None, loss="", gauges="")
            while True:
                # A supervisor that was killed meanwhile gets a successor, and the watching goes on.
                ended = job.state in FINAL_STATES and not recover([job])
                summary = job.summary
                loss = "" if summary.smoothed_loss is None else f"loss {summary.smoothed_loss:.4f}, smoothed"
                # The last phase, such as "checking the result", has ended with the job.
                phase = job.state.value if ended else printable(_phase(summary) or "starting", 40)
                moved = transferred.words(summary.transfer) if summary.transfer else ""
                gauges = "" if ended else moved or wording.line(summary.gauges)
                total = summary.total or None
                bar.update(task, description=phase, completed=summary.step, total=total, loss=loss, gauges=gauges)
                for row in log.read() if log is not None and not quiet else ():
                    bar.console.print(Text(row))
                if ended:
                    return
                time.sleep(POLL_S)
    except KeyboardInterrupt:
        if stops:
            job.stop()
            return
        again = f"`easel {noun}s follow {job.name}` shows it again, `easel {noun}s stop {job.name}` stops it."
        show.line(f"\nThe {noun} continues. {again}".strip())
        sys.exit(0)


def _phase(summary: Summary) -> str:
    return " · ".join(word for word in (summary.part, summary.phase) if word)


def result(job: Job, as_json: bool, noun: str = "job") -> int:
    """Prints how a job ended and returns the exit code: 0 completed, 1 anything else."""
    found = job.result
    state = job.state
    if as_json:
        show.as_json({noun: job.name, "folder": job.folder.path, "state": state.name, "result": found})
        return 0 if state is JobState.COMPLETED else 1
    show.line(f"{state.name}: {job.name}", "bold green" if state is JobState.COMPLETED else "bold red")
    for row in verdict(job):
        show.line(f"  {row['label'].lower()}: {row['text']}")
    for notice in (found or {}).get("notices", []):
        show.line(f"  {notice}", "yellow")
    return 0 if state is JobState.COMPLETED else 1


def step_of(summary: Summary) -> str:
    """The step that a job has reported, and of how many if that is known."""
    return f"{summary.step} of {summary.total}" if summary.total else str(summary.step)


def figures_line(summary: Summary) -> str:
    """A job's step, with its loss and learning rate if it has reported them."""
    loss = None if summary.smoothed_loss is None else float(f"{summary.smoothed_loss:.4g}")
    figures = (("smoothed loss", loss), ("learning rate", summary.learning_rate))
    return ", ".join([f"step {step_of(summary)}", *(f"{name} {value}" for name, value in figures if value is not None)])


def _kind(job: Job) -> str:
    try:
        return job.spec.kind
    except JobError:
        return "damaged"


def _progress(figures: Mapping[str, Any]) -> str:
    """The step of a job and of how many, or what it is doing."""
    if figures["total"]:
        return f"{figures['step']} of {figures['total']}"
    return " · ".join(word for word in (figures["part"], figures["phase"]) if word)


def _heard(job: Job) -> float | None:
    return None if (ago_s := job.heard_s_ago) is None else round(ago_s, 1)


def _told(job: Job) -> dict[str, Any]:
    """What the list tells of a job beside its figures: its supervisor's last sign of life, and what is damaged."""
    return {"heard_s_ago": _heard(job), "is_stale": job.is_stale, "damage": job.damage}


def _silence(job: Job) -> str:
    """How long ago a job was heard, if that is so long that what is shown may be old, or that it is judged; else nothing."""
    if job.state is JobState.STOPPING and is_judged(job):
        return f", {JUDGED}"
    ago_s = job.heard_s_ago if job.is_stale or job.state is JobState.ELSEWHERE else None
    return "" if ago_s is None else f", last heard {ago_s:.0f} s ago"


@dataclass(frozen=True)
class Jobs(Generic[AnyJob]):
    """The jobs that a group of commands works on: `known` lists them, newest first, `where` is their folder.

    `kinds`: whether they are of several kinds, which are shown, and whose logs tell more than their steps do.
    """

    noun: str
    known: Callable[[], Sequence[AnyJob]]
    attach: Callable[[Path], AnyJob]
    where: Callable[[], Path]
    kinds: bool
    called: Callable[[AnyJob], str] = lambda _: ""
    details: Callable[[AnyJob], Mapping[str, Any]] = lambda _: {}
    """What one of them has beside its figures, as JSON data; texts, lists of texts and tables of texts are shown."""

    def found(self) -> Sequence[AnyJob]:
        """The known jobs; one whose supervisor was killed has a new one when this returns."""
        known = self.known()
        return self.known() if look_after(known) else known

    def find(self, name: str) -> AnyJob:
        """The job with this name (see `find`), with a new supervisor if it was lost."""
        job = self.named(name)
        recover([job])
        return job

    def named(self, name: str) -> AnyJob:
        """The job with this name, as it is; see `find`."""
        return find(name, self.known(), self.attach, self.where(), self.noun, self.called)

    def about(self, job: AnyJob) -> dict[str, Any]:
        """The name, kind and state of a job, for JSON and for the columns of the list."""
        kind = {"kind": _kind(job)} if self.kinds else {}
        return {self.noun: job.name, **kind, "state": job.state.name}

    def group(self, about: str) -> click.Group:
        """The commands that list, show, follow and stop these jobs; `about` is the help text of the group."""
        commands = (self._list, self._show, self._follow, self._stop)
        return click.Group(f"{self.noun}s", help=about, commands=[command() for command in commands])

    def _list(self) -> click.Command:
        @click.command("list", help=f"List the {self.noun}s, the one that was started last first.")
        @click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
        def command(as_json: bool) -> None:
            known = self.found()
            if as_json:
                show.as_json([self._row(job) for job in known])
            elif known:
                rows = [self._row(job) for job in known]
                # Most people have no other machine.
                on = ["on"] if any(row["where"] for row in rows) else []
                columns = (self.noun, *(["kind"] if self.kinds else ["name"]), "state", *on, *COLUMNS)
                show.table(columns, [self._cells(job, row, bool(on)) for job, row in zip(known, rows, strict=True)])
            else:
                show.line(f"There is no {self.noun} in {self.where()} yet.")
            for line in self._damaged(known) if not as_json else ():
                show.line(line, "dim")

        return command

    def _row(self, job: AnyJob) -> dict[str, Any]:
        """What the list tells of a job as JSON data."""
        figures = job.figures
        name = {} if self.kinds else {"name": self.called(job)}
        where = {"where": RunFolder(job.folder.path).where}
        return {**self.about(job), **name, **where, **figures, **job_times.times(job, job.state, figures), **_told(job)}

    def _cells(self, job: AnyJob, row: Mapping[str, Any], has_where: bool) -> tuple[str, ...]:
        """What the list tells of a job in a table."""
        second, where = row["kind"] if self.kinds else row["name"], [row["where"]] if has_where else []
        return (row[self.noun], second, row["state"], *where, f"{_progress(row)}{_silence(job)}", *job_times.cells(row))

    def _damaged(self, known: Sequence[AnyJob]) -> Iterator[str]:
        """A sentence for each damaged job of the list, and for each folder of a job that cannot be read: none is forgotten."""
        yield from (f"{job.name} is damaged. {damage}" for job in known if (damage := job.damage))
        for path in sorted(entries_of(self.where())):
            if is_job(path) and path.is_symlink():
                yield (
                    f"{path.name} is a link to {places.real(path)}. It can be watched and stopped; it is not in the history, and "
                    "cannot be deleted here."
                )
            elif is_job(path):
                try:
                    self.attach(path)
                except JobError as error:
                    yield f"{path.name} is left out. {error}"

    def _show(self) -> click.Command:
        @click.command("show", help=f"Show a {self.noun}'s state, progress and result.")
        @click.argument("name")
        @click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
        def command(name: str, as_json: bool) -> None:
            job = self.find(name)
            summary = job.summary
            figures = summary.figures()
            known = job_times.times(job, job.state, figures)
            more = self.details(job)
            if as_json:
                told = {**self.about(job), **more, **known, **_told(job)}
                show.as_json({**told, "summary": figures, "result": job.result})
                return
            show.line(f"{job.folder.path}")
            if damage := job.damage:
                show.line(damage, "yellow")
            reached = figures_line(summary) if summary.total else _phase(summary) or "not started"
            show.line(f"{_kind(job)}, {reached}" if self.kinds else reached)
            if row := job_times.line(known, figures):
                show.line(row)
            _show_details(more)
            for row in _end_of_log(job) if self.kinds else ():
                show.line(f"  | {row}", "dim")
            if job.state in FINAL_STATES:
                result(job, as_json=False, noun=self.noun)
            else:
                show.line(f"{job.state.name}{_silence(job)}")
                if job.is_stale:
                    show.line(STALE, "yellow")
                if summary.transfer:
                    show.line(f"  {transferred.words(summary.transfer)}")
                for label, text in wording.rows(summary.gauges):
                    show.line(f"  {label}: {text}")

        return command

    def _follow(self) -> click.Command:
        @click.command("follow", help=f"Watch a {self.noun} until it ends; Ctrl+C leaves it running.")
        @click.argument("name")
        def command(name: str) -> None:
            job = self.find(name)
            watch(job, noun=self.noun)
            sys.exit(result(job, as_json=False, noun=self.noun))

        return command

    def _stop(self) -> click.Command:
        @click.command("stop", help=f"Stop a {self.noun} and all its processes.")
        @click.argument("name")
        @click.option(
            "--grace",
            default=GRACE_S,
            show_default=True,
            type=Seconds(0, LONGEST_GRACE_S),
            help="Seconds to wait for its program to end by itself.",
        )
        @click.option(
            "--after-save",
            is_flag=True,
            help="Stop after the next checkpoint is saved; a stop without this is at once.",
        )
        @click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
        def command(name: str, grace: float, after_save: bool, as_json: bool) -> None:
            # A lost job is stopped as it is: a new supervisor finds the request.
            job = self.named(name)
            state = job.stop(grace_s=grace, after="save" if after_save else "now")
            where = _stopped_there(job) if state is JobState.LOST else ""
            if as_json:
                waits = after_save and state not in FINAL_STATES
                asked = {"asked": where} if where else {}
                show.as_json({self.noun: job.name, "state": state.name, "stops_after_save": waits, **asked})
                return
            show.line(f"{job.name}: {state.name}")
            if where:
                show.line(f"If it still trains on {where}, it was asked to stop there.")
            if after_save and state not in FINAL_STATES:
                show.line("It stops after it has saved its next checkpoint.")
            if state is JobState.ELSEWHERE:
                show.line("It runs on another machine, which was asked to stop it.")

        return command


def _stopped_there(job: Job) -> str:
    """The trainer of a run that is lost here, after it was asked to stop it; "" for a job of this machine.

    Raises:
        JobError: it cannot be asked; the hint says how to attach again.
    """
    from trainer_core.training.run import Run

    run = Run.attach(job.folder.path)
    if not run.folder.where:
        return ""
    from trainer_core.remote.runs import starting

    starting.stop_there(run)
    return run.folder.where


def _show_details(more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        parts = [f"{key} {each}" for key, each in value.items()] if isinstance(value, dict) else value
        text = parts if isinstance(parts, str) else ", ".join(map(str, parts or ()))
        for row in text.splitlines():
            show.line(f"  {name.replace('_', ' ')}: {row}")


def _end_of_log(job: Job) -> Sequence[str]:
    log = job.log
    log.read()
    return log.rows[-SHOWN_ROWS:]


jobs = Jobs("job", lambda: list_jobs(places.runs(), places.jobs()), Job.attach, places.home, kinds=True).group(
    """List, watch and stop jobs: training runs and all others.

    Identify a job by its name, the end of its name, or its folder. The word last means the job that was started last.
    """
)

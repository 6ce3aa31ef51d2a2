"""A form that queues runs with changes: one run, or one for each value or combination of values. All are checked first."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from trainer_core.errors import PlanError
from trainer_core.plan import fields
from trainer_core.prepare import queued, sweep
from trainer_core.problems import blocking
from trainer_ui import pasts
from trainer_ui.formatting import Paragraph, show
from trainer_ui.past_reader import PastReader, in_thread
from trainer_ui.widgets import Box, Button, Checkbox, Dropdown, Text, VBox

if TYPE_CHECKING:
    from trainer_core.prepare.sweep import Changes, Member
    from trainer_core.training.run import Run
    from trainer_ui.session import Session

ROWS = 3
SECTIONS = ("network", "optimizer", "schedule", "dataset")
"""The sections whose settings are tried most often, at the top of the list."""
MOST_SAID = 4


@dataclass(frozen=True)
class Checked:
    """The runs that were checked, the changes they were made from, the GPU, and the run that they are like."""

    members: tuple[Member, ...]
    asked: tuple[tuple[str, str], ...]
    gpu: str
    like: str
    alpha_follows: bool = True

    @property
    def stopping(self) -> list[str]:
        """A sentence for each run that cannot be started."""
        return [
            f"{one.label or 'The run'}: {worst[0].message}" for one in self.members if (worst := blocking(one.problems))
        ]


class SweepPanel:
    """Settings and their values, how many runs they make, and the button that queues them after they were checked."""

    def __init__(self, session: Session, reader: PastReader) -> None:
        self.session, self.reader = session, reader
        self.is_open = False
        self.doing: Literal["", "check", "queue"] = ""
        self.base: Run | None = None
        self.checked: Checked | None = None
        self._focus: Dropdown | None = None
        handler = session.handler
        self.title = Paragraph("", "heading", "grow")
        self.close = Button(description="Close", classes=("easel-quiet",))
        self.close.on_click(handler(lambda _: self._close()))
        self.how = Paragraph(
            "Values are separated by commas. With several settings, each combination becomes a run. Nothing is queued before "
            "you have seen the check.",
            "muted", "small",
        )  # fmt: skip
        self.rows = [(self._setting(number), self._values(number)) for number in range(ROWS)]
        self.boxes = [Box(row, classes=("easel-change",)) for row in self.rows]
        self.shown = 1
        self.alpha = Checkbox(description="Alpha follows the rank", value=True, indent=False)
        self.alpha.observe(handler(lambda _: self._changed()), "value")
        self.more = Button(description="Another setting", classes=("easel-quiet",))
        self.more.on_click(handler(lambda _: self._another()))
        self.check = Button(description="Check", classes=("easel-small",))
        self.check.on_click(handler(lambda _: self._check()))
        self.start = Button(button_style="primary", classes=("easel-small",))
        self.start.on_click(handler(lambda _: self._queue()))
        self.said = Paragraph("", "small", "lines", role="status")
        head = Box([self.title, self.close], classes=("easel-row",))
        actions = Box([self.check, self.start, self.more], classes=("easel-row",))
        self.widget = VBox(
            [head, self.how, *self.boxes, self.alpha, self.said, actions], classes=("easel-card", "easel-sweep")
        )

    def _setting(self, number: int) -> Dropdown:
        choice = Dropdown(description=f"Setting {number + 1}", options=[("Choose a setting", ""), *choices()], value="")
        choice.observe(self.session.handler(lambda _: self._changed()), "value")
        return choice

    def _values(self, number: int) -> Text:
        field = Text(description=f"Values {number + 1}", placeholder="8, 16, 32")
        field.observe(self.session.handler(lambda _: self._changed()), "value")
        return field

    def open(self, base: Run | None) -> None:
        """Opens the form for an earlier run, or for the present settings of Prepare."""
        self.base, self.checked, self.is_open = base, None, True
        self.title.show_text(
            f"Queue {pasts.name_of(base)} again" if base is not None else "Try several values of Prepare"
        )
        self._focus = self.rows[0][0]

    def _close(self) -> None:
        self.is_open, self.checked = False, None

    def _another(self) -> None:
        self.shown = min(ROWS, self.shown + 1)
        self._focus = self.rows[self.shown - 1][0]

    def _changed(self) -> None:
        self.checked = None

    @property
    def asked(self) -> tuple[tuple[str, str], ...]:
        """The settings and their values as they were entered."""
        return tuple(
            (setting.value, values.value) for setting, values in self.rows if setting.value and values.value.strip()
        )

    def sets(self) -> list[Changes]:
        """The changes of each run.

        Raises:
            PlanError: a setting is there twice, a value is not one of it, or nothing was entered for the present settings.
        """
        axes: dict[str, list[Any]] = {}
        for path, text in self.asked:
            if path in axes:
                raise PlanError("A setting is there twice.", "Write all its values in one row.")
            axes[path] = [_value(path, each.strip()) for each in text.split(",") if each.strip()]
        if not axes and self.base is None:
            raise PlanError("There is no change yet.", "Choose a setting and enter values.")
        return sweep.grid(axes)

    def _check(self) -> None:
        if self.doing:
            return
        sets, asked, base, follows = self.sets(), self.asked, self.base, bool(self.alpha.value)
        # A workbench only ever replaces its state, so a copy can be changed in a thread.
        bench = copy.copy(self.session.bench) if base is None else None
        self.doing = "check"

        def check() -> None:
            job = bench or queued.bench_like(base)  # type: ignore[arg-type]
            gpu = queued.use_gpu(job)
            members = tuple(sweep.checked(job, sets, queued.look_ahead, alpha_follows=follows))
            if asked == self.asked and base is self.base and follows == self.alpha.value:
                self.checked = Checked(members, asked, gpu, base.name if base is not None else "", follows)

        in_thread(self.session, check, self._done)

    def _queue(self) -> None:
        found = self.checked
        if found is None or found.stopping or self.doing:
            return
        if reason := self.session.jobs.refusal():
            self.session.note(reason)
            return
        self.doing = "queue"

        def queue() -> None:
            notes = {"like": found.like} if found.like else {}
            identifier, runs, known = queued.queue_members(found.members, found.gpu, notes)
            self.session.note(
                f"{len(runs)} runs wait in the queue. “Compare its sweep” shows them beside each other."
                if identifier
                else queued.said(runs[0], known)
            )
            self.is_open, self.checked = False, None
            self.reader.look(now=True)

        in_thread(self.session, queue, self._done)

    def _done(self) -> None:
        self.doing = ""

    def show(self) -> None:
        """Shows the form if it is open, with what the check found."""
        show(self.widget, self.is_open)
        if not self.is_open:
            return
        for number, box in enumerate(self.boxes):
            show(box, number < self.shown)
        show(self.more, self.shown < ROWS)
        paths = [setting.value for setting, _ in self.rows[: self.shown]]
        show(self.alpha, sweep.RANK in paths and sweep.ALPHA not in paths)
        self.said.show_text(self._sentence(), "danger" if self.checked and self.checked.stopping else "")
        (self.check.add_class if self.doing else self.check.remove_class)("easel-busy")
        self.check.description = "Checking…" if self.doing == "check" else "Check"
        if self._focus is not None:
            self._focus.focus()
            self._focus = None
        offered = self.checked is not None and not self.checked.stopping and self.doing != "check"
        show(self.start, offered)
        many = len(self.checked.members) if self.checked else 0
        self.start.description = (
            "Queueing…" if self.doing == "queue" else "Queue this run" if many == 1 else f"Queue {many} runs"
        )

    def _sentence(self) -> str:
        if self.checked is None:
            return ""
        members, stopping = self.checked.members, self.checked.stopping
        if stopping:
            more = len(stopping) - MOST_SAID
            rest = [f"and {more} more"] if more > 0 else []
            return "\n".join((f"{len(stopping)} of {len(members)} cannot be started:", *stopping[:MOST_SAID], *rest))
        warnings = sum(any(one.severity == "warning" for one in member.problems) for member in members)
        many = "1 run" if len(members) == 1 else f"{len(members)} runs"
        told = " ".join(filter(None, (f"{many}, {queued.total_time(members)}.", sweep.alpha_sentence(members))))
        return f"{told} {warnings} of them with a warning." if warnings else f"{told} No problem was found."


def choices() -> list[tuple[str, str]]:
    """The settings that can be changed here, as (title, path); paths and prompts, which may contain commas, are left out."""
    own = [one for one in fields.all_fields().values() if not one.about.path and not one.about.prompt]
    order = {section: place for place, section in enumerate(SECTIONS)}
    own.sort(key=lambda one: order.get(one.section, len(order)))
    return [(f"{one.title} ({one.section})", one.path) for one in own if one.path != sweep.NAME]


def _value(path: str, text: str) -> Any:
    value, problem = fields.from_text(path, text)
    if problem:
        raise PlanError(problem)
    return value

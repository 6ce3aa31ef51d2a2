"""The history: every run of this machine in a table, one of them in full, comparisons, the queue and the trash."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.training import labels
from trainer_core.training.history import Filter
from trainer_core.training.run import Run
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels import history_list
from trainer_ui.panels.card import empty
from trainer_ui.panels.history_list import GROUPS, SINCE, Listing
from trainer_ui.panels.watch import Go
from trainer_ui.past_reader import PastReader, Seen
from trainer_ui.widgets import Box, Button, Dropdown, Text, ToggleButton, VBox

if TYPE_CHECKING:
    from trainer_core.training.folder import RunFolder
    from trainer_ui.components.runs_table import Asked, RunsTable
    from trainer_ui.panels.history_comparison import ComparisonPanel
    from trainer_ui.panels.history_queue import QueuePanel
    from trainer_ui.panels.history_run import RunCard
    from trainer_ui.panels.history_trash import Deleter, TrashPanel
    from trainer_ui.session import Session

LOOK_EVERY = 2
"""After how many beats of the kernel (of two seconds) the shown history is read again."""


class HistoryBar:
    """The filters, and what can be done with the chosen runs. Its content is made when the place is first shown."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.widget = Box(classes=("easel-ready", "easel-find"))

    def open(self, changed: Callable[[], object], compare: Callable[[], object], delete: Callable[[], object]) -> None:
        """Makes the content: `changed` is called after a filter was changed, the others by the buttons."""
        handler = self.session.handler
        self.find = Text(description="Find", placeholder="name, note, tag, model or setting")
        self.groups = {
            group: ToggleButton(description=title, classes=("easel-chip",)) for group, (title, _) in GROUPS.items()
        }
        self.groups[""].value = True
        self.group = ""
        for group, button in self.groups.items():
            button.observe(handler(lambda _, group=group: self._choose(group, changed)), "value")
        self.find.observe(handler(lambda _: changed()), "value")
        self.chosen = Paragraph("", "muted", "small", role="status")
        self.compare = Button(description="Compare", button_style="primary")
        self.compare.on_click(handler(lambda _: compare()))
        self.delete = Button(description="Delete…")
        self.delete.on_click(handler(lambda _: delete()))
        chips = Box(tuple(self.groups.values()), classes=("easel-chips",))
        actions = Box([self.chosen, self.compare, self.delete], classes=("easel-actions",))
        self.widget.children = (self.find, chips, actions)

    def _choose(self, group: str, changed: Callable[[], object]) -> None:
        self.group = group
        changed()

    def show(self) -> None:
        """Nothing: the panel fills it."""

    def show_counts(self, counts: dict[str, int], chosen: int) -> None:
        """Shows how many runs each group has, and how many runs are chosen."""
        for group, button in self.groups.items():
            button.value = group == self.group
            words = f"{GROUPS[group][0]} {counts[group]:,}"
            if button.description != words:
                button.description = words
            show(button, bool(counts[group]) or group in ("", self.group))
        self.chosen.show_text(f"{chosen} chosen" if chosen else "Choose two runs")
        self.compare.disabled = chosen < 2
        show(self.delete, chosen > 0)


def set_options(choice: Dropdown, wanted: list[tuple[str, str]]) -> None:
    """Sets the options of a dropdown and keeps its value, also when it is none of them any more."""
    value = str(choice.value)
    if value not in [name for _, name in wanted]:
        wanted = [*wanted, (value, value)]
    if tuple(wanted) != tuple(choice.options):
        choice.options = wanted
        choice.value = value


class HistoryPanel:
    """The table with its side panels. Everything is made when the place is first shown; a thread reads the files."""

    def __init__(
        self,
        session: Session,
        bar: HistoryBar,
        is_shown: Callable[[], bool],
        go: Go,
        resume: Callable[[Run], object],
    ) -> None:
        self.session, self.bar, self.is_shown, self.go, self.resume = session, bar, is_shown, go, resume
        self.number = 0
        """How many runs there are."""
        self.reader = PastReader(session)
        self.listing = Listing()
        self.chosen: tuple[str, ...] = ()
        """The runs that are chosen, by name, in the order of the choice."""
        self.opened = ""
        """The run whose card is open."""
        self._beats = 0
        self.is_made = False
        self.widget = VBox(classes=("easel-histories",))

    def _open(self) -> None:
        from trainer_ui.components.runs_table import RunsTable
        from trainer_ui.panels.history_comparison import ComparisonPanel
        from trainer_ui.panels.history_queue import QueuePanel
        from trainer_ui.panels.history_run import RunCard, Ways
        from trainer_ui.panels.history_sweep import SweepPanel
        from trainer_ui.panels.history_trash import Deleter, TrashPanel

        session, handler = self.session, self.session.handler
        self.bar.open(self._filter, lambda: self.comparison.compare(self.chosen), lambda: self.deleter.ask(self.chosen))
        start = Button(description="Go to Prepare")
        start.on_click(handler(lambda _: self.go("prepare")))
        self.none = empty("No run yet", "Each training is listed here, with its settings and its result.", start)
        self.tag = Dropdown(description="Tag", options=[("Every tag", "")], value="", classes=("easel-unlabelled",))
        self.since = Dropdown(description="Time", options=list(SINCE), value="Any time", classes=("easel-unlabelled",))
        self.versions = ToggleButton(description="Group by subject", classes=("easel-chip",))
        self.family = Dropdown(
            description="Model", options=[("Every model", "")], value="", classes=("easel-unlabelled",)
        )
        for one in (self.family, self.tag, self.since, self.versions):
            one.observe(handler(lambda _: self._filter()), "value")
        self.table: RunsTable = RunsTable(handler(self._heard), self._sample)
        tools = Box(
            [Paragraph("Runs", "heading", "grow"), self.versions, self.family, self.tag, self.since],
            classes=("easel-row", "easel-runs-tools"),
        )
        self.list_card = VBox([tools, self.table], classes=("easel-card", "easel-runs-card"))
        self.deleter: Deleter = Deleter(session, self.reader, self._forget)
        self.sweep = SweepPanel(session, self.reader)
        ways = Ways(self.go, self.show_run, self.label, self.sweep.open, self._compare, self.deleter.ask, self.resume)
        self.card: RunCard = RunCard(session, self.reader, ways)
        self.queue: QueuePanel = QueuePanel(session, self.reader, lambda: self.sweep.open(None))
        self.trash: TrashPanel = TrashPanel(session, self.reader)
        self.comparison: ComparisonPanel = ComparisonPanel(session)
        side = VBox(
            [self.card.widget, self.sweep.widget, self.queue.widget, self.trash.widget], classes=("easel-history-side",)
        )
        body = Box(
            [
                VBox([self.deleter.widget, self.list_card], classes=("easel-history-main",)),
                side,
                VBox([self.comparison.view], classes=("easel-history-below",)),
            ],
            classes=("easel-history-body",),
        )
        self.widget.children = (self.none, body)
        self.is_made = True

    def _filter(self) -> None:
        bar = self.bar
        wanted = Filter(
            family=str(self.family.value),
            tag=str(self.tag.value),
            text=bar.find.value.strip(),
            since=history_list.since(SINCE[str(self.since.value)]),
        )
        self.listing = dataclasses.replace(
            self.listing, wanted=wanted, group=bar.group, first=0, by_subject=self.versions.value
        )

    def _heard(self, asked: Asked) -> None:
        match asked.what:
            case "open":
                self.show_run("" if self.opened == asked.run else asked.run)
            case "choose":
                kept = tuple(name for name in self.chosen if name != asked.run)
                self.chosen = kept if asked.run in self.chosen else (*kept, asked.run)
            case "sort":
                self.listing = self.listing.sorted_by(asked.text)
            case "page":
                self.listing = dataclasses.replace(self.listing, first=asked.number)
            case "name":
                self.label(asked.run, lambda known: known.named(asked.text))

    def label(self, name: str, change: Callable[[labels.Labels], labels.Labels]) -> None:
        """Changes the name, note or tags of a run, and shows the change at once."""
        folder = Run.attach(places.runs() / name).folder
        known = labels.change(folder, lambda before: _checked(folder, before, change(before)))
        seen = self.reader.seen
        if seen is not None:
            runs = tuple(dataclasses.replace(run, labels=known) if run.run == name else run for run in seen.runs)
            self.reader.seen = dataclasses.replace(seen, runs=runs)
        self.reader.look(now=True)

    def show_run(self, name: str) -> None:
        """Opens the card of a run; "" closes it."""
        self.opened = name
        run = self.reader.seen.run(name) if self.reader.seen is not None and name else None
        self.card.open(run)

    def _compare(self, names: tuple[str, ...]) -> None:
        """Chooses runs and compares them."""
        self.chosen = names
        self.comparison.compare(names)

    def _forget(self, names: tuple[str, ...]) -> None:
        """Closes and unchooses runs that were deleted."""
        self.chosen = tuple(name for name in self.chosen if name not in names)
        if self.opened in names:
            self.show_run("")

    def _sample(self, name: str) -> Path | None:
        from trainer_core.training.folder import RunFolder
        from trainer_core.training.newest_sample import newest_sample

        return newest_sample(RunFolder(places.runs() / name))

    def beat(self) -> None:
        """Reads again from time to time while the place is shown; called in the thread of the feed."""
        self._beats += 1
        if self.is_made and self._beats % LOOK_EVERY == 0 and self.is_shown():
            self.reader.look()

    def close(self) -> None:
        """Ends the reading."""
        self.reader.close()

    def show(self) -> None:
        """Counts the runs; shows what was read, if the place is shown."""
        self.number = _count()
        if not self.is_shown():
            return
        if not self.is_made:
            if self.session.unasked:
                return
            self._open()
        self.reader.look()
        seen = self.reader.seen
        show(self.none, self.number == 0)
        show(self.list_card, self.number > 0)
        if seen is None:
            self.table.show_rows({**self.table.content, "loading": True})
        self._show_list(seen or Seen(), seen is None)

    def _show_list(self, seen: Seen, is_loading: bool) -> None:
        known = {run.run for run in seen.runs}
        self.chosen = self.chosen if is_loading else tuple(name for name in self.chosen if name in known)
        fitting = self.listing.fitting(seen.runs)
        counts = {group: sum(run.state in states for run in fitting) for group, (_, states) in GROUPS.items()}
        families = sorted({run.family for run in seen.runs} - {""})
        self.bar.show_counts(counts, len(self.chosen))
        set_options(self.family, [("Every model", ""), *((history_list.family_title(name), name) for name in families)])
        show(self.family, len(families) > 1)
        set_options(
            self.tag,
            [("Every tag", ""), *((tag, tag) for tag in sorted({tag for run in seen.runs for tag in run.labels.tags}))],
        )
        show(self.tag, len(self.tag.options) > 1)
        if not is_loading:
            self.table.show_rows(history_list.page(self.listing, seen, fitting, self.chosen, self.opened))
        for part in (self.card, self.queue, self.trash, self.sweep, self.deleter):
            part.show()


def _checked(folder: RunFolder, before: labels.Labels, after: labels.Labels) -> labels.Labels:
    """The changed labels, if a new name leads to this run only.

    Raises:
        RunError: it does not.
    """
    if after.name != before.name:
        labels.check_name(folder, after.name)
    return after


def _count() -> int:
    """How many run folders there are, without reading them."""
    try:
        return sum(path.is_dir() for path in places.runs().iterdir())
    except OSError:
        return 0

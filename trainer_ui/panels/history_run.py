"""One run of the history in full: its figures, settings and versions, its name, note and tags, and what can be done with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.jobs.queueing import entries
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.plan import fields
from trainer_core.training import labels
from trainer_core.training.folder import WHERE
from trainer_core.training.history import PastRun, images_of, unknown
from trainer_core.training.run import Run
from trainer_core.training.saved_plan import save_plan
from trainer_core.training.sweep_end import runs_of
from trainer_ui import pasts
from trainer_ui.formatting import Pairs, Paragraph, show
from trainer_ui.panels.history_list import family_title, loss, profile_of, value_text
from trainer_ui.panels.resuming import Resuming
from trainer_ui.widgets import Box, Button, Plain, Text, VBox

if TYPE_CHECKING:
    from trainer_ui.past_reader import PastReader, Seen
    from trainer_ui.session import Session

GIB = 1 << 30


class Textarea(Plain, ipywidgets.Textarea):
    """A field for several lines of text."""


@dataclass(frozen=True)
class Ways:
    """Where the buttons of the card lead: each is a function of the place History, with the name of a run or several."""

    go: Callable[[str], object]
    open: Callable[[str], object]
    label: Callable[[str, Callable[[labels.Labels], labels.Labels]], object]
    queue: Callable[[Run], object]
    compare: Callable[[tuple[str, ...]], object]
    delete: Callable[[tuple[str, ...]], object]
    resume: Callable[[Run], object]


class RunCard:
    """The card of the opened run. Its fields are filled when it is opened, so that nothing changes under the user's hands."""

    def __init__(self, session: Session, reader: PastReader, ways: Ways) -> None:
        self.session, self.reader, self.ways = session, reader, ways
        self.run = ""
        self.shows_all = self._fills = False
        self._shown: Run | None = None
        """The opened run, if it has ended."""
        handler = self.session.handler
        self.title, self.state = Paragraph("", "heading", "grow"), Paragraph("", "pill")
        self.close = Button(description="Close", classes=("easel-quiet",))
        self.close.on_click(handler(lambda _: ways.open("")))
        self.unknown = Paragraph("", "warn", "small")
        self.facts, self.settings = Pairs(), Pairs()
        self.name = Text(description="Name", continuous_update=False)
        self.note = Textarea(description="Note", placeholder="What you learned from this run", rows=3)
        self.tags = Text(description="Tags", placeholder="good, draft", continuous_update=False)
        for field, change in ((self.name, self._rename), (self.note, self._write), (self.tags, self._tag)):
            field.observe(handler(change), "value")
        self.settings_title = Paragraph("", "strong", "grow")
        self.all = Button(classes=("easel-quiet",))
        self.all.on_click(handler(lambda _: self._turn()))
        self.buttons = self._buttons()
        self.resuming = Resuming(session, ways.resume)
        watch, *others = self.buttons.values()
        actions = Box((watch, self.resuming.button, *others), classes=("easel-does",))
        head = Box([self.title, self.state, self.close], classes=("easel-row", "easel-run-title"))
        more = Box([self.settings_title, self.all], classes=("easel-row",))
        self.widget = VBox(
            [head, self.unknown, self.facts, actions, self.name, self.note, self.tags, more, self.settings],
            classes=("easel-card", "easel-past-run"),
        )

    def _buttons(self) -> dict[str, Button]:
        acts: dict[str, tuple[str, Callable[[], object]]] = {
            "watch": ("Watch\nchart, log; resume or extend it", lambda: self._go("watch")),
            "results": ("Results\nits checkpoints and samples", lambda: self._go("results")),
            "again": ("Train again with changes\nopens its settings in Prepare", self._again),
            "queue": ("Queue again with changes\none run, or one for each value", self._queue),
            "sweep": ("Compare its sweep\nall runs that were made with it", self._compare_sweep),
            "plan": ("Save its plan\na file for “easel train”", self._save_plan),
            "delete": ("Delete…\nto the trash, after you agree", lambda: self.ways.delete((self.run,))),
        }
        made = {}
        for name, (words, act) in acts.items():
            made[name] = Button(description=words, classes=("easel-two-line",))
            made[name].on_click(self.session.handler(lambda _, act=act: act()))
        return made

    def _attached(self) -> Run:
        return Run.attach(places.runs() / self.run)

    def _go(self, place: str) -> None:
        """Shows the run in another place. A run that is chosen is first shown in Watch, so the place is chosen after that."""
        self.session.watch(self._attached())
        self.session.show()
        self.ways.go(place)

    def _again(self) -> None:
        self.session.begin_from(self._attached())
        self.ways.go("prepare")

    def _queue(self) -> None:
        self.ways.queue(self._attached())

    def _compare_sweep(self) -> None:
        past = self._past
        names = tuple(run.name for run in runs_of(past.versions.get("sweep", ""))) if past else ()
        self.ways.compare(names)

    def _save_plan(self) -> None:
        path = save_plan(self._attached())
        self.session.note(f"Saved {path}. It starts the same training with: easel train {path.name}")

    def _turn(self) -> None:
        self.shows_all = not self.shows_all
        self._show_settings()

    def _rename(self, text: str) -> None:
        self._label(lambda known: known.named(text))

    def _write(self, text: str) -> None:
        self._label(lambda known: known.noted(text))

    def _tag(self, text: str) -> None:
        wanted = text.replace(",", " ").split()
        self._label(lambda known: known.tagged(wanted, [tag for tag in known.tags if tag not in wanted]))

    def _label(self, change: Callable[[labels.Labels], labels.Labels]) -> None:
        if self.run:
            self.ways.label(self.run, change)

    @property
    def _past(self) -> PastRun | None:
        seen = self.reader.seen
        return seen.run(self.run) if seen is not None and self.run else None

    def open(self, run: PastRun | None) -> None:
        """Shows this run from now on, or none."""
        self.run, self.shows_all = run.run if run is not None else "", False
        self._fills = run is not None

    def show(self) -> None:
        """Shows the present state of the run."""
        seen, past = self.reader.seen, self._past
        show(self.widget, past is not None)
        if past is None or seen is None:
            return
        if self._fills:
            # Here, and not when the run is opened: what a view sets is not taken for a change by the user.
            self._fills = False
            self.name.value, self.note.value = past.labels.name, past.labels.note
            self.tags.value, self.name.placeholder = ", ".join(past.labels.tags), pasts.called(past)
            self._show_settings()
        self.title.show_text(pasts.called(past))
        self.state.show_text(*pasts.pill_of(past))
        self.unknown.show_text(_warning(past))
        self.facts.show_pairs(self._facts(past, seen))
        show(self.buttons["sweep"], bool(past.versions.get("sweep")))
        ended = past.state in FINAL_STATES
        show(self.buttons["results"], ended)
        if self.resuming.run is None or self.resuming.run.name != past.run or not ended:
            self._attach(ended=ended)
        self.resuming.show(self._shown)

    def _attach(self, *, ended: bool) -> None:
        self._shown = None
        if ended:
            with contextlib.suppress(JobError):
                self._shown = self._attached()

    def _facts(self, run: PastRun, seen: Seen) -> list[tuple[str, str]]:
        at, size = seen.queue.position(run.run), seen.sizes.get(run.run)
        entry, going = seen.queue.entry(run.run), seen.going.get(run.run)
        waits = f"position {at} for {entries.place(entry.gpu)}" if entry else ""
        step = going.step if going else run.steps
        engine = " ".join(filter(None, (run.versions.get("engine", ""), run.versions.get("engine_version", "")[:12])))
        made = [Path(file).name for file in run.outputs]
        pairs = [
            ("Queue", waits),
            ("Machine", run.versions.get(WHERE, "")),
            ("Started", pasts.started(run)),
            ("Took", pasts.span(run.seconds) if run.seconds else ""),
            ("Steps", f"{step:,} of {run.total_steps:,}" if run.total_steps else f"{step:,}" if step else ""),
            ("Loss at the end, smoothed", loss(run.loss) if run.loss is not None else ""),
            ("Images", f"{run.images:,}" if run.images is not None else "unknown"),
            ("Model", f"{family_title(run.family)}, {run.model}" if run.model else family_title(run.family)),
            ("Profile", profile_of(run, seen.profiles) or "none"),
            ("Why it failed", run.cause or run.diagnosis.replace("_", " ")),
            ("Files", ", ".join(made)),
            ("Size of its folder", pasts.size(size) if size is not None else ""),
            ("Peak GPU memory", f"{run.peak_gpu_memory_bytes / GIB:.1f} GiB" if run.peak_gpu_memory_bytes else ""),
            ("Peak memory", f"{run.peak_memory_bytes / GIB:.1f} GiB" if run.peak_memory_bytes else ""),
            ("Engine", engine),
            ("Easel", f"{run.versions.get('easel', 'unknown')}, Python {run.versions.get('python', 'unknown')}"),
            *((title, run.versions.get(key, "")) for key, title in RELATIVES.items()),
            ("Folder", str(places.runs() / run.run)),
        ]
        return [(name, text) for name, text in pairs if text]

    def _show_settings(self) -> None:
        """Shows the settings that differ from Easel's defaults, or all of them, which are read from the plan."""
        past = self._past
        if past is None:
            return
        shown: dict[str, Any] = {**past.settings}
        many = len(shown)
        if self.shows_all:
            try:
                shown = fields.flatten(self._attached().folder.plan)
            except JobError as error:
                self.session.note(str(error))
        known = fields.all_fields()
        self.settings.show_pairs(
            (known[path].title if path in known else path, value_text(value))
            for path, value in sorted(
                shown.items(),
                key=lambda pair: (pair[0] not in known, list(known).index(pair[0]) if pair[0] in known else 0),
            )
        )
        title = f"All {len(shown)} settings" if self.shows_all else f"{many} settings differ from the default"
        self.settings_title.show_text(title.replace("1 settings differ", "1 setting differs"))
        self.all.description = "Only the different" if self.shows_all else "Show all"
        images = images_of(self._attached().folder) if past.images is None else None
        if images is not None and not self.shows_all:
            self.settings_title.show_text(f"{title}; {images} images are in its folder")


def _warning(past: PastRun) -> str:
    """What is damaged in the folder of a run, or what an older Easel did not record, as a sentence; "" if nothing is."""
    if past.damage:
        return past.damage
    missing = unknown(past)
    return f"An older Easel made this run, and did not record {_listed(missing)}." if missing else ""


RELATIVES = {"like": "Like", "resumes": "Continues", "retries": "Repeats", "sweep": "Sweep"}
"""The entries of versions.json that name what a run came from, and their words."""


def _listed(words: tuple[str, ...]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last

"""The queue on the page: what runs and what waits for each GPU, its order, and whether it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.jobs.queueing import entries, requests
from trainer_core.jobs.queueing.entries import ALL, Queue
from trainer_core.training import sweep_end
from trainer_ui import pasts
from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.formatting import Paragraph, show
from trainer_ui.past_reader import PastReader, in_thread
from trainer_ui.widgets import Box, Button, Checkbox, VBox

if TYPE_CHECKING:
    from trainer_ui.past_reader import Seen
    from trainer_ui.session import Session


class QueuePanel:
    """The running and waiting runs, with buttons that move and cancel the waiting ones."""

    def __init__(self, session: Session, reader: PastReader, sweep: Callable[[], object]) -> None:
        self.session, self.reader = session, reader
        handler = session.handler
        self.done = Paragraph("", "muted", "small", "grow")
        self.pause = Button(description="Pause", classes=("easel-quiet",))
        self.pause.on_click(handler(lambda _: self._pause()))
        self.sweep = Button(description="Try several values…", classes=("easel-small",))
        self.sweep.on_click(handler(lambda _: sweep()))
        self.problem = Paragraph("", "danger", "small")
        self.state = Paragraph("", "muted", "small", role="status")
        self.list = ActionList("Queue", handler(self._act))
        self.stops = Checkbox(description="Pause after a run that failed", indent=False)
        self.stops.observe(handler(self._stop_on_failure), "value")
        head = Box([Paragraph("Queue", "heading"), self.done, self.pause], classes=("easel-row",))
        self.widget = VBox(
            [head, self.problem, self.list, self.state, self.stops, self.sweep], classes=("easel-card", "easel-queue")
        )

    def _queue(self) -> Queue:
        return self.reader.seen.queue if self.reader.seen is not None else Queue()

    def _pause(self) -> None:
        if self._queue().paused:
            requests.go_on()
        else:
            requests.pause(ALL)
        self.reader.look(now=True)

    def _stop_on_failure(self, stops: bool) -> None:
        requests.stop_on_failure(stops)
        self.reader.look(now=True)

    def _act(self, pair: tuple[str, str]) -> None:
        name, act = pair
        if act == "cancel":
            # A run that is being started gets some seconds to end.
            in_thread(self.session, lambda: self._cancel(name))
            return
        position = self._queue().position(name)
        requests.move(name, position + (1 if act == "down" else -1))
        self.reader.look(now=True)

    def _cancel(self, name: str) -> None:
        requests.cancel(name)
        sweep_end.job_ended(places.runs() / name)
        self.reader.look(now=True)

    def show(self) -> None:
        """Shows the queue as it was read last."""
        seen = self.reader.seen
        if seen is None:
            return
        queue, items = seen.queue, queue_items(seen)
        self.problem.show_text(seen.queue_problem)
        self.list.show_items(items)
        self.pause.description = "Continue" if queue.paused else "Pause"
        show(self.pause, bool(queue.entries or queue.paused))
        if self.stops.value != queue.stops_on_failure:
            self.stops.value = queue.stops_on_failure
        self.done.show_text(_ready(seen))
        self.state.show_text(_state(queue, bool(items)))


def queue_items(seen: Seen) -> list[Item]:
    """What runs and what waits, by GPU; a heading for each GPU if there is more than one."""
    running = [(name, going) for name, going in seen.going.items() if going.occupies and not seen.queue.entry(name)]
    gpus = sorted({going.gpu for _, going in running} | {entry.gpu for entry in seen.queue.entries})
    items = []
    for gpu in gpus:
        group = (entries.place(gpu) if gpu else "GPU unknown") if len(gpus) > 1 else ""
        for name, going in running:
            if going.gpu == gpu:
                share = going.step / going.total if going.total else 0.0
                left = pasts.span(going.left_s) if going.left_s is not None else ""
                text = f"training, {100 * share:.0f} %" if going.step else "starting"
                items.append(Item(name, _called(seen, name), text, left, group, share))
        waiting = seen.queue.of(gpu)
        for number, entry in enumerate(waiting, 1):
            name = _called(seen, entry.run)
            if entry.taken:
                items.append(Item(entry.run, name, "is being started", group=group))
                continue
            first = sum(1 for each in waiting if each.taken) + 1
            acts = (
                Act("up", "↑", f"Move {name} up", number > first),
                Act("down", "↓", f"Move {name} down", number < len(waiting)),
                Act(
                    "cancel",
                    "✕",
                    f"Cancel {name}",
                    question=f"Cancel {name}? It stays in the history.",
                    sure="Cancel it",
                ),
            )
            items.append(Item(entry.run, name, f"waits at position {number}", "", group, acts=acts))
    return items


def _called(seen: Seen, name: str) -> str:
    run = seen.run(name)
    return pasts.called(run) if run is not None else name


def _ready(seen: Seen) -> str:
    """When the runs that train now will be done, if that is known."""
    left = [going.left_s for going in seen.going.values() if going.occupies]
    known = [each for each in left if each is not None]
    if not known or len(known) < len(left):
        return ""
    at = time.localtime(time.time() + max(known))
    return f"the present run ends about {at.tm_hour}:{at.tm_min:02}"


def _state(queue: Queue, has_items: bool) -> str:
    if queue.paused:
        reasons = " ".join(queue.reasons.values())
        return f"The queue is paused: no further run is started until you press Continue. {reasons}".strip()
    if not queue.entries:
        return (
            "Nothing waits. “Queue it” in Prepare adds a run while another one trains."
            if not has_items
            else "Nothing waits."
        )
    return "“Pause” lets the present run end and starts no other. The queue needs no open notebook."

"""Asks an endpoint about images, several at once, and waits where it is busy."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from trainer_core.captioning import answers, keys, sending
from trainer_core.captioning.endpoint import Client, Endpoint, Refused
from trainer_core.captioning.pace import Pace
from trainer_core.captioning.questions import Asked, Settings
from trainer_core.captioning.storage import Caption
from trainer_core.captioning.templates import Template
from trainer_core.errors import DatasetError, EaselError, JobError
from trainer_core.jobs import own_program

ATTEMPTS = 6
FIRST_FAILURES, MOST_FAILURES = 3, 10
"""So many failures at the start, or one after another, mean that it is not the images."""
FATAL = {401, 402, 403, 404, 405}
"""Statuses that every other request will get as well."""

Answer = Caption | str


def answers_of(
    settings: Settings, host: Endpoint, row: Template, wanted: list[Asked]
) -> Iterator[tuple[Asked, Answer]]:
    """The caption of each image, or why there is none, as they come.

    Raises:
        EaselError: the endpoint cannot be used.
    """
    own_program.report(f"Asking {host.host}" + ("" if host.is_local else ", which is another machine"))
    own_program.report("Asking the server")
    client = Client(host, keys.find(host.host, settings.key_variable), settings.read_s)
    asking = _Asking(settings, client, row)
    for each in wanted:
        asking.waiting.put(each)
    most = max(1, min(settings.most_at_once, len(wanted)))
    # Daemons, because a stop must not wait for a server.
    for _ in range(most):
        threading.Thread(target=asking.work, daemon=True).start()
    failures, successes = 0, 0
    for _ in wanted:
        each, said = asking.done.get()
        if isinstance(said, EaselError):
            failures += 1
            is_over = failures >= MOST_FAILURES or (failures >= FIRST_FAILURES and not successes)
            if is_over or (isinstance(said, Refused) and (said.status in FATAL or said.kind in ("link", "offline"))):
                raise JobError(said.message, f"{said.hint} What is done is kept; start it again to go on.".strip())
            yield each, f"{said.message} {said.hint}".strip()
            continue
        if isinstance(said, BaseException):
            raise said
        failures, successes = 0, successes + 1
        yield each, said


class _Asking:
    """The work that threads share."""

    def __init__(self, settings: Settings, client: Client, row: Template) -> None:
        self._settings, self._client, self._row = settings, client, row
        self._pace = Pace(settings.most_at_once, settings.first_wait_s)
        self.waiting: queue.SimpleQueue[Asked] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[tuple[Asked, Caption | BaseException]] = queue.SimpleQueue()

    def work(self) -> None:
        """Asks about images until there are no more."""
        while True:
            try:
                each = self.waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self.done.put((each, self._caption(each)))
            except (EaselError, OSError, ValueError, RuntimeError) as error:
                self.done.put((each, error))

    def _caption(self, each: Asked) -> Caption:
        image = sending.data_url(Path(self._settings.dataset) / each.path)
        for attempt in range(ATTEMPTS):
            self._pace.enter()
            try:
                said = self._client.ask(
                    self._settings.model, each.question, image, self._row.most_tokens, self._settings.temperature
                )
            except Refused as error:
                if not error.is_passing or (error.status in (0, 500) and attempt + 1 >= ATTEMPTS // 2):
                    self._pace.failed()
                    raise
                pause_s = self._pace.refused(error.wait_s)
                own_program.report(f"Waiting: {pause_s:.0f} s, at most {self._pace.limit} at once now. {error.message}")
                if attempt + 1 == ATTEMPTS:
                    raise
                continue
            self._pace.answered()
            return answers.judged(
                said.text,
                said.finish_reason,
                forbids_style=self._row.forbids_style,
                english=self._settings.english,
                model=self._settings.author,
            )
        raise DatasetError("The endpoint stayed busy.", "Start it again later.")

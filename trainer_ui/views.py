"""The views of an app, and the callbacks after which they are shown again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from trainer_ui.boundary import attempt


class Views:
    """The functions that fill an app's widgets, the last sentence for the user, and the lock around both.

    Callbacks may run at the same time: Jupyter answers a widget in a thread of its own while a cell runs, and the feed of
    a job is another thread. So everything that changes or shows the state of an app holds `lock`.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._soon_lock = threading.Lock()
        self._soon: list[str] = []
        """What waits to be shown: a sentence for each call of `show_soon`."""
        self.message = ""
        """The last sentence for the user, until their next action."""
        self.unasked = False
        """Whether a thread shows the views, and not an action of the user. No widget may be made then: JupyterLab would
        show nothing of a notebook whose page is being opened."""
        self.show_message: Callable[[], object] = lambda: None
        """Shows `message` on the page: called last when a view has failed, so that the user reads why."""
        self._views: list[Callable[[], None]] = []
        self._showing = False

    def add_view(self, view: Callable[[], None]) -> None:
        """Adds a function that `show` calls."""
        self._views.append(view)

    def show(self) -> None:
        """Calls every view. One that fails does not keep the others from being shown: its error becomes the message."""
        with self.lock:
            self._showing = True
            try:
                failed = [view for view in self._views if not attempt(view, self.note)]
                if failed:
                    attempt(self.show_message, self.note)
            finally:
                self._showing = False

    def handler(self, action: Callable[[Any], object]) -> Callable[..., None]:
        """A widget callback that runs `action` with the new value, or with the button, and then shows all views.

        Actions run one at a time; an error becomes the message. Values that a view sets while it shows are ignored: they
        are no action of the user.
        """

        def call(event: Any = None, *_: Any) -> None:
            with self.lock:
                if self._showing:
                    return
                self.message = ""
                attempt(lambda: action(event["new"] if isinstance(event, Mapping) else event), self.note)
                attempt(self.show, self.note)

        return call

    def show_unasked(self, sentence: str = "") -> None:
        """Shows all views from a thread, with a sentence if there is one."""
        with self.lock:
            self.message, self.unasked = sentence or self.message, True
            attempt(self.show, self.note)
            self.unasked = False

    def show_soon(self, sentence: str = "") -> None:
        """Shows all views from a new thread, with a sentence if there is one, and returns at once.

        For threads that must not wait: a callback may hold the lock for as long as it reads a large dataset, and a feed
        that does not send looks like a dead kernel.
        """
        with self._soon_lock:
            self._soon.append(sentence)
            if len(self._soon) > 1:
                # One that waits shows this, too.
                return
        threading.Thread(target=self._show_what_waits, name="easel-show", daemon=True).start()

    def _show_what_waits(self) -> None:
        with self.lock:
            with self._soon_lock:
                sentences, self._soon = self._soon, []
            self.show_unasked(next(filter(None, reversed(sentences)), ""))

    def note(self, sentence: str) -> None:
        """Keeps a sentence for the next time that the views are shown."""
        self.message = sentence

"""A model behind a link: what it is, shown before its weights are downloaded, and the download."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from trainer_core.errors import DownloadCancelled, DownloadError, EaselError
from trainer_core.models import tokens
from trainer_core.text import printable
from trainer_ui.boundary import attempt
from trainer_ui.formatting import Paragraph, file_size, hint, show
from trainer_ui.widgets import Box, Button, FloatProgress, Password, VBox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trainer_core.models.detection import Detection
    from trainer_core.models.downloads import Link, Progress, Remote
    from trainer_ui.session import Session

NEEDS_TOKEN = ("token", "gated")
"""The kinds of refusal for which a token may help."""


class Fetch:
    """Inspects links, or downloads them one after the other, in a thread.

    `arrived` is called with the path of each model when it is downloaded. Nothing is saved in the notebook: a token goes from
    its field to the memory of this kernel, and the field is cleared.
    """

    def __init__(
        self, session: Session, arrived: Callable[[Path], None], describe: Callable[[Detection, str], str]
    ) -> None:
        self.session, self.arrived, self.describe = session, arrived, describe
        self.link: Link | None = None
        self.remote: Remote | None = None
        self.state = "idle"
        """One of idle, looking, offered, asking (for a token), fetching, stopped, failed."""
        self._queue: list[Link] = []
        self._cancel = threading.Event()
        self._refused = ""
        self._was_looking = False
        self.says = Paragraph("", role="status")
        self.bar = FloatProgress(min=0.0, max=1.0, classes=("easel-progress",))
        self.numbers = Paragraph("", "muted", "small")
        self.get, self.stop = Button(description="Download"), Button(description="Stop")
        self.token, self.use = Password(description="Token"), Button(description="Use this token")
        hint(self.token, "It stays in the memory of this kernel and is never written to a file.")
        self.get.on_click(session.handler(lambda _: self._continue()))
        self.stop.on_click(session.handler(lambda _: self.cancel()))
        self.use.on_click(session.handler(lambda _: self._take_token()))
        self.ask = Box([self.token, self.use], classes=("easel-token-line",))
        buttons = Box([self.get, self.stop], classes=("easel-row",))
        self.widget = VBox([self.says, self.bar, self.numbers, self.ask, buttons], classes=("easel-fetch",))
        self.show()

    @property
    def is_busy(self) -> bool:
        """Whether its thread is working."""
        return self.state in ("looking", "fetching")

    def look(self, link: Link) -> None:
        """Finds out what a link leads to, in a thread; only the header is downloaded.

        Raises:
            DownloadError: a download is in progress.
        """
        if self.state == "fetching":
            raise DownloadError(
                "A download is in progress.", "Wait for it or stop it, then enter the other link again."
            )
        self.link, self.remote, self._queue = link, None, [link]
        self._begin("looking", lambda cancel: self._look(link, cancel))

    def fetch(self, *links: Link) -> None:
        """Downloads these models, or the one that was inspected; what was downloaded before a stop is not downloaded again."""
        if self.state != "fetching" and (links or self._queue):
            self._queue = list(links) or self._queue
            self._begin("fetching", self._fetch)

    def ask_for_token(self, link: Link, sentence: str) -> None:
        """Asks for the token of a link that is known to need one, with a sentence that says how to get it."""
        if self.state != "fetching":
            self.link, self.remote, self._queue = link, None, [link]
            self.state, self._refused, self._was_looking = "asking", "gated", False
            self.says.show_text(sentence, "")

    def cancel(self) -> None:
        """Stops a download; the downloaded part is kept for the next time."""
        self._cancel.set()

    def close(self) -> None:
        """Stops the work, and clears the token field."""
        self.cancel()
        self.token.value = ""

    def forget(self) -> None:
        """Drops an offer, a question or an error; a download continues."""
        self.token.value = ""
        if self.state != "fetching":
            self._cancel.set()
            self.link, self.remote, self.state = None, None, "idle"
            self.says.show_text("", "")

    def _begin(self, state: str, work: Callable[[threading.Event], None]) -> None:
        # The result of earlier work is not waited for, and it is ignored.
        self._cancel.set()
        self.state, self._refused = state, ""
        self._was_looking = state == "looking"
        self._cancel = cancel = threading.Event()
        self.says.show_text("Reading what this link leads to…" if state == "looking" else "Requesting the file…", "")
        threading.Thread(target=self._work, args=(work, cancel), name="easel-fetch", daemon=True).start()

    def _work(self, work: Callable[[threading.Event], None], cancel: threading.Event) -> None:
        def fail(sentence: str) -> None:
            self._end(cancel, "failed", sentence, "danger")

        attempt(lambda: self._guarded(work, cancel), fail)
        self.session.show_soon()

    def _guarded(self, work: Callable[[threading.Event], None], cancel: threading.Event) -> None:
        try:
            work(cancel)
        except DownloadCancelled:
            self._end(
                cancel, "stopped", "Stopped. The downloaded part is kept, and a download continues from there.", ""
            )
        except DownloadError as error:
            choices = "".join(f"\n{printable(choice, 200)}" for choice in error.choices)
            self._end(cancel, "failed", f"{error}{choices}", "danger", refused=error.kind)

    def _end(
        self,
        cancel: threading.Event,
        state: str,
        sentence: str,
        tone: str,
        remote: Remote | None = None,
        refused: str = "",
    ) -> None:
        """Sets the outcome of the work that `cancel` belongs to, unless other work has started or it was dropped."""
        with self.session.lock:
            if self._cancel is cancel and self.is_busy:
                self.state, self._refused = state, refused
                self.remote = remote or self.remote
                self.says.show_text(sentence, tone)

    def _look(self, link: Link, cancel: threading.Event) -> None:
        from trainer_core.models import detection, downloads

        remote = downloads.resolve(link, cancel=cancel)
        try:
            found = detection.detect(downloads.read_header(remote))
            what = self.describe(found, remote.name)
        except EaselError as error:
            if isinstance(error, DownloadError) and error.kind != "whole":
                raise
            what = str(error)
        self._end(cancel, "offered", " ".join((what, *link.notes)), "", remote=remote)

    def _fetch(self, cancel: threading.Event) -> None:
        from trainer_core.models import downloads

        while self._queue:
            link = self._queue[0]
            self.link = link
            path = downloads.download(link, progress=self._tell, cancel=cancel)
            self._queue = self._queue[1:]
            self.arrived(path)
        self._end(cancel, "idle", "", "")

    def _tell(self, now: Progress) -> None:
        total = now.total_bytes
        self.bar.value = now.done_bytes / total if total else 0.0
        more = f", then {len(self._queue) - 1} more" if len(self._queue) > 1 else ""
        shown = self.link.shown if self.link else "the model"
        self.says.show_text(f"{now.doing.capitalize()} {shown}{more}", "")
        speed = f"{gigabytes(now.done_bytes)} of {gigabytes(total)}" if total else gigabytes(now.done_bytes)
        left = f", {_clock(now.eta_s)} left" if now.eta_s is not None else ""
        self.numbers.show_text(f"{speed}, {now.bytes_per_s / 1e6:.1f} MB/s{left}")

    def _continue(self) -> None:
        """Downloads what was offered or stopped; a link that could not be inspected is inspected again."""
        if self.link is not None and self._was_looking and self.remote is None:
            self.look(self.link)
        else:
            self.fetch()

    def _take_token(self) -> None:
        text, self.token.value = self.token.value, ""
        if self.link is not None and not self.is_busy:
            tokens.remember(self.link.site, text)
            # A token in the link was refused, and would be used before this one.
            self.link = replace(self.link, token=None, notes=())
            self._queue[:1] = [self.link]
            self._continue()

    def show(self) -> None:
        """Shows the buttons for this state."""
        fetching = self.state == "fetching"
        for one in (self.bar, self.numbers, self.stop):
            show(one, fetching)
        size = self.remote.size_bytes if self.remote else None
        labels = {"offered": "Download", "stopped": "Continue", "failed": "Try again"}
        self.get.description = labels.get(self.state, "Download") + (
            f" ({gigabytes(size)})" if size and self.state == "offered" else ""
        )
        may_try = self.state == "failed" and (self.remote is not None or bool(self._queue))
        show(self.get, self.state in ("offered", "stopped") or may_try)
        may_help = self.link is not None and self.link.site in tokens.SITES and self._refused in NEEDS_TOKEN
        show(self.ask, self.state in ("failed", "asking") and may_help)
        if self.link is not None:
            self.token.description = f"Token for {tokens.title(self.link.site)}"
        (self.widget.add_class if self.state == "failed" else self.widget.remove_class)("easel-is-failed")
        show(self.widget, self.state != "idle")


def links_to(sources: Sequence[str]) -> list[Link]:
    """The links in these texts; a text that is not a link is left out."""
    from trainer_core.models import downloads

    return [link for text in sources if (link := downloads.parse(text)) is not None]


def gigabytes(size_bytes: int) -> str:
    """A size as text: "6.94 GB", "840 MB"."""
    return file_size(size_bytes / 1024**2)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"

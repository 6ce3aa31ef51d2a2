"""The bar of the file uploader: what is being done, how far it is, and the space on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.jobs import time_left
from trainer_ui.formatting import Figures, Headline, show
from trainer_ui.widgets import Box, Button

if TYPE_CHECKING:
    from trainer_core.keeping.receiving import Standing
    from trainer_ui.components.arrivals import Arrivals
    from trainer_ui.files_session import FilesSession

LOW_BYTES = 10e9
"""Less free space than this is not enough for many base models."""


class FilesBar:
    """State, free space, and Stop while something is being done."""

    def __init__(self, session: FilesSession, drop: Arrivals) -> None:
        self.session, self.drop = session, drop
        self.headline, self.figures = Headline(), Figures()
        self.stop = Button(description="Stop", classes=("easel-small",))
        self.stop.on_click(session.handler(lambda _: session.cancelled.set()))
        self.again = Button(description="Reload", classes=("easel-small", "easel-quiet"))
        self.again.on_click(session.handler(lambda _: session.look()))
        actions = Box([self.stop, self.again], classes=("easel-row", "easel-actions"))
        self.widget = Box([self.headline, self.figures, actions], classes=("easel-ready", "easel-files-bar"))

    def show(self) -> None:
        """Shows how it stands."""
        session = self.session
        if session.doing:
            percent = f" {session.share:.0%}" if session.share is not None else ""
            self.headline.show_state("accent", "…", session.doing, f"Working.{percent}", session.share)
        elif (standing := self.drop.standing) is not None:
            asks = self.drop.waits_for == "asks"
            self.headline.show_state("warn" if asks else "accent", "?" if asks else "↑", *self._sending(standing))
        elif session.error:
            self.headline.show_state("danger", "!", "The folder cannot be shown", session.error)
        elif session.disk is not None and session.disk.free < LOW_BYTES:
            self.headline.show_state(
                "warn", "!", "Little space is left on the disk", self._trash() or "Delete what you do not need."
            )
        else:
            self.headline.show_state(
                "ok", "✓", "Ready for your files", "Drop them, paste a link, or tidy up what is here."
            )
        self.figures.show_figures(self._figures(), self._meter())
        show(self.stop, bool(session.doing))

    def _sending(self, now: Standing) -> tuple[str, str, float | None]:
        """What is said of files that arrive: a title, a line, and the share that is here."""
        place = f"{now.arrived + 1:,} of {now.files:,}"
        if self.drop.waits_for == "asks":
            return "A file waits for your answer", "The question is under Bring in, above the list of files.", None
        here = f"{size(now.have)} of {size(now.size_bytes)} are here"
        share = now.have / now.size_bytes if now.size_bytes else 1.0
        if self.drop.waits_for == "paused":
            return f"Paused at {place}", f"{here}. Go on under Bring in.", share
        per_s = self.drop.bytes_per_s
        left = f", {time_left.spoken((now.size_bytes - now.have) / per_s)} left" if per_s > 0 else ""
        return f"Sending {place}", f"{here}{left}. Keep this page open.", share

    def _trash(self) -> str:
        total = sum(one.size_bytes for one in self.session.deleted)
        return f"{size(total)} are in the trash: empty it to get them back." if total else ""

    def _figures(self) -> list[tuple[str, str, str]]:
        disk = self.session.disk
        if disk is None:
            return []
        return [("Free on this disk", size(disk.free), f"of {size(disk.total)}")]

    def _meter(self) -> tuple[float, float, str] | None:
        disk = self.session.disk
        if disk is None or not disk.total:
            return None
        # The label says "free", so the bar is filled as far as the disk is free.
        return (
            disk.free / disk.total,
            0.0,
            "over" if disk.free < LOW_BYTES / 5 else "tight" if disk.free < LOW_BYTES else "fits",
        )


def size(number: float) -> str:
    """A number of bytes as people say it: "6.94 GB", "840 MB", "12 kB"."""
    if number >= 1e12:
        return f"{number / 1e12:.2f} TB"
    if number >= 1e9:
        return f"{number / 1e9:.1f} GB" if number >= 1e10 else f"{number / 1e9:.2f} GB"
    return (
        f"{number / 1e6:,.1f} MB"
        if number >= 1e6
        else f"{number / 1e3:,.0f} kB"
        if number >= 1e3
        else f"{number:.0f} bytes"
    )

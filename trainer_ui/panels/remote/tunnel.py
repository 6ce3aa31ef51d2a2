"""The tunnel: a public address for the webhooks of RunPod. It is not needed; with it the end of a training is noticed at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.components.copy_line import CopyLine
from trainer_ui.formatting import Headline, Paragraph, show
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from trainer_core.remote.serve.server import Server
    from trainer_ui.remote_desk import RemoteDesk

TUNNEL = "tunnel"
STATES = {
    "off": ("", "·", "Off"),
    "starting": ("accent", "…", "Starting"),
    "running": ("ok", "✓", "Running"),
    "failed": ("danger", "!", "Failed"),
    "given": ("ok", "✓", "Not needed"),
}


class TunnelCard:
    """Its state and address, Start and Stop. The server behind it lives as long as this app."""

    def __init__(self, desk: RemoteDesk) -> None:
        self.desk, handler = desk, desk.session.handler
        self.server: Server | None = None
        self.headline = Headline()
        self.start = Button(description="Start the tunnel\nopens a public address", classes=("easel-two-lines",))
        self.start.on_click(handler(lambda _: self._start()))
        self.stop = Button(description="Stop the tunnel", classes=("easel-small", "easel-stop"))
        self.stop.on_click(handler(lambda _: self._stop()))
        self.address = CopyLine(label="Public address")
        # In a box: a component does not follow a change of its own classes.
        self.addressed = Box([self.address], classes=("easel-remote-link",))
        self.widget = VBox(
            [
                Paragraph("Tunnel for webhooks", "heading"),
                Paragraph(
                    "RunPod can call back when a training has ended. Without a tunnel, Easel asks RunPod by itself every few seconds.",
                    "small",
                    "muted",
                ),
                self.headline,
                self.addressed,
                Box([self.start, self.stop], classes=("easel-row",)),
            ],
            classes=("easel-card", "easel-remote-list"),
        )

    def _start(self) -> None:
        def work() -> str:
            from trainer_core.remote import serve

            if self.server is None:
                # Any free port: only the tunnel leads to it.
                self.server = serve.start(port=0)
            return self.server.tunnel.start().sentence

        self.desk.ask(TUNNEL, "Opening the tunnel", work)

    def _stop(self) -> None:
        server = self.server
        if server is not None:
            self.desk.ask(TUNNEL, "Closing the tunnel", lambda: server.tunnel.stop().sentence)

    def show(self) -> None:
        """Shows the state of the tunnel."""
        doing, said = self.desk.doing.get(TUNNEL), self.desk.said.get(TUNNEL)
        found = self.server.tunnel.state() if self.server is not None else None
        state = "starting" if doing else found.state if found is not None else "failed" if said and said[1] else "off"
        sentence = (
            f"{doing}…" if doing else said[0] if said and said[0] else found.sentence if found is not None else ""
        )
        self.headline.show_state(*STATES[state], sentence or "Webhooks cannot arrive now.")
        address = found.url if found is not None and not doing else ""
        if self.address.text != address:
            self.address.show_text(address)
        show(self.addressed, bool(address))
        is_open = found is not None and found.state == "running"
        show(self.start, not is_open)
        show(self.stop, is_open)
        # Not disabled meanwhile: a button that is disabled loses the keyboard.
        (self.start.add_class if doing else self.start.remove_class)("easel-busy")

    def close(self) -> None:
        """Ends the server, and with it the tunnel."""
        if self.server is not None:
            self.server.close()
            self.server = None

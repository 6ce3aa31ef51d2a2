"""The accounts: endpoint and bucket, keys, machines and the tunnel. Made when the place is first shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.widgets import Box, VBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_ui.remote_desk import RemoteDesk


class AccountsPanel:
    """Four cards in two columns."""

    def __init__(self, desk: RemoteDesk, is_shown: Callable[[], bool]) -> None:
        self.desk, self.is_shown = desk, is_shown
        self.is_made = False
        self.widget = VBox(classes=("easel-remote-place",))

    def _make(self) -> None:
        from trainer_ui.panels.remote.endpoint import EndpointCard
        from trainer_ui.panels.remote.keys import KeysCard
        from trainer_ui.panels.remote.machines import MachinesCard
        from trainer_ui.panels.remote.tunnel import TunnelCard

        self.is_made = True
        self.keys = KeysCard(self.desk)
        self.endpoint = EndpointCard(self.desk, self.keys.typed)
        self.machines, self.tunnel = MachinesCard(self.desk), TunnelCard(self.desk)
        # What belongs to RunPod, and beside it the machines, for which nothing else is needed.
        columns = [[self.endpoint, self.keys], [self.machines, self.tunnel]]
        self.widget.children = (
            Box(
                [VBox([card.widget for card in column], classes=("easel-column",)) for column in columns],
                classes=("easel-remote-columns",),
            ),
        )

    def show(self) -> None:
        """Shows the cards."""
        if not self.is_shown():
            return
        if not self.is_made:
            if self.desk.session.unasked:
                return
            self._make()
        for card in (self.endpoint, self.keys, self.machines, self.tunnel):
            card.show()

    def close(self) -> None:
        """Ends the tunnel."""
        if self.is_made:
            self.tunnel.close()

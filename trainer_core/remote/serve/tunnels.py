"""The routes of the tunnel."""

from __future__ import annotations

from trainer_core.remote.serve.answers import Answer, failure
from trainer_core.remote.serve.asked import Asked
from trainer_core.remote.serve.shapes import Ngrok
from trainer_core.remote.serve.tunnel import TunnelError, TunnelState


def ngrok_status(asked: Asked) -> Answer:
    """Whether webhooks can arrive, and where."""
    return _answer(asked.works_with.tunnel.state())


def ngrok_start(asked: Asked) -> Answer:
    """Opens the tunnel; one that is open stays as it is."""
    try:
        return _answer(asked.works_with.tunnel.start())
    except TunnelError as error:
        return failure(504 if error.kind == "slow" else 502, error.message, error.hint)


def ngrok_stop(asked: Asked) -> Answer:
    """Closes the tunnel; without one, nothing happens."""
    return _answer(asked.works_with.tunnel.stop())


def _answer(found: TunnelState) -> Answer:
    return Answer(Ngrok(running=found.is_running, url=found.url or None, state=found.state, message=found.sentence))

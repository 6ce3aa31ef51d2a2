"""`easel remote serve`: the documents' API and the receiver of webhooks, on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.cli.style_options import style_options

if TYPE_CHECKING:
    from types import FrameType

    from trainer_core.remote.serve.server import Server


@click.command("serve")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="The port; 0 is any free one. Default: the setting PORT, or 5173."
)
@click.option("--tunnel", is_flag=True, help="Open a tunnel of ngrok to the receiver of webhooks, and to nothing else.")
@click.option(
    "--receiver-port",
    type=click.IntRange(1, 65535),
    help="Let the receiver alone listen at this port, too, for a gateway of your own.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ADDRESS",
    help="Let a page of this address, such as http://localhost:3000, call from a browser. Default: none.",
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
@style_options
def command(
    port: int | None,
    tunnel: bool,
    receiver_port: int | None,
    origins: tuple[str, ...],
    as_json: bool,
    where: str,
    env_file: Path | None,
) -> None:
    """Serve the documents' API, and receive webhooks.

    The API is that of the document "LoRA Training System", on this machine only. Callers send a token, which is in a file that only you can read, or in EASEL_SERVE_TOKEN. Ctrl+C ends it; trainings go on.
    """
    from trainer_core.remote import credentials, style_places
    from trainer_core.remote.serve.server import Options, started

    values = credentials.settings(env_file)
    for origin in origins:
        _check_origin(origin)
    options = Options(
        port=port,
        receiver_port=receiver_port or 0,
        settings=values,
        styles=lambda: style_places.opened(where, values).styles,
        origins=origins,
        say=lambda text: None if as_json else show.line(f"{time.strftime('%H:%M:%S')} {text}"),
    )
    with _ended_by_signals(), started(options) as server:
        try:
            if tunnel:
                server.tunnel.start()
            _show(server, as_json)
            server.wait()
        except KeyboardInterrupt:
            if not as_json:
                show.line("Ended. Trainings go on.")


def _show(server: Server, as_json: bool) -> None:
    state = server.tunnel.state()
    if as_json:
        show.as_json(
            {
                "address": server.address,
                "token_from": server.token.source,
                "receiver": server.receiver_address or None,
                "public": state.url or None,
                "tunnel": state.state,
            }
        )
        return
    show.line(f"Easel listens at {server.address}, on this machine only.")
    show.line(f"The token is in {server.token.source}. Send it as: Authorization: Bearer TOKEN")
    if server.receiver_address:
        show.line(f"The receiver of webhooks alone is at {server.receiver_address}.")
    show.line(f"{state.sentence}{f' Its address is {state.url}.' if state.url else ''}")
    show.line("Ctrl+C ends it.")


def _check_origin(origin: str) -> None:
    """Checks that a page's address is complete, and has nothing that the browser does not send.

    Raises:
        RemoteError: it is no address, or has a path.
    """
    from urllib.parse import urlsplit

    from trainer_core.errors import RemoteError, wrong_use
    from trainer_core.remote.runpod import web_address

    if urlsplit(web_address.checked(origin, "The address of --allow-origin")).path or origin.endswith("/"):
        message = "The address of --allow-origin has a path."
        raise wrong_use(RemoteError(message, "Give only the beginning, such as http://localhost:3000."))


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Lets SIGTERM do the same as Ctrl+C, and only the first of them: a second one would cut the end short."""
    import signal

    both = (signal.SIGINT, signal.SIGTERM)

    def interrupt(_: int, __: FrameType | None) -> None:
        for each in both:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(each, interrupt) for each in both]
    try:
        yield
    finally:
        for each, handler in zip(both, before, strict=True):
            signal.signal(each, handler)

"""`easel models download`: downloads a model from a link into Easel's folders."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from trainer_core.cli import show
from trainer_core.cli.detect import described
from trainer_core.errors import DownloadError
from trainer_core.models import downloads, tokens


@click.command()
@click.argument("link")
@click.option("--to", "folder", type=click.Path(path_type=Path), default=None, help="The folder to save it in.")
@click.option("--variant", default="", help="The variant of a diffusers model's weights, such as fp16.")
@click.option(
    "--ask-token",
    type=click.Choice(sorted(tokens.SITES)),
    help="Ask for an access token of this site, without showing it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the downloaded model as a JSON object.")
def download(link: str, folder: Path | None, variant: str, ask_token: str | None, as_json: bool) -> None:
    """Download the model behind a link.

    LINK is a Hugging Face repository or file, a Civitai page or AIR, or any other URL. Without --to, the model goes into the folder for its role in Easel's models folder. Ctrl+C stops the download;
    the same command resumes it. Tokens are read from HF_TOKEN and CIVITAI_TOKEN.
    """
    if ask_token:
        tokens.remember(ask_token, click.prompt(f"Token for {tokens.title(ask_token)}", hide_input=True, err=True))
    from trainer_core.prepare import reader

    parsed = downloads.parse(link)
    if parsed is None:
        raise DownloadError("This is not a link but the path of a local file.", "`easel detect` recognises files.")
    for notice in parsed.notes:
        show.err.print(notice, markup=False)
    path = _fetched(parsed, folder, variant)
    found, error = reader.recognise(path)
    if as_json:
        show.as_json(described(str(path), found, error))
    else:
        show.line(path, "bold")
        show.line(f"  {found.role.replace('_', ' ')}, {found.family or found.variant}" if found else f"  {error}")


def _fetched(link: downloads.Link, folder: Path | None, variant: str) -> Path:
    with interrupted() as cancel, progress_bar() as tell:
        return downloads.download(link, folder, progress=tell, cancel=cancel, variant=variant)


@contextmanager
def progress_bar() -> Iterator[Callable[[downloads.Progress], None]]:
    """A bar in the terminal, and the function that moves it."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=False),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=show.err, disable=not show.err.is_terminal) as bar:
        task = bar.add_task("connecting", total=None)

        def tell(now: downloads.Progress) -> None:
            bar.update(task, description=now.doing, completed=now.done_bytes, total=now.total_bytes)

        yield tell


@contextmanager
def interrupted() -> Iterator[threading.Event]:
    """An event that Ctrl+C sets, instead of stopping the program during a write; a second Ctrl+C does stop it."""
    cancel = threading.Event()

    def stop(*_: object) -> None:
        cancel.set()
        # The download waits for a server that does not answer, and the user may not want to.
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)

"""`easel diagnose`: explains why a run failed, using only its log."""

from __future__ import annotations

from typing import IO

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.engines import diagnosis, registry
from trainer_core.jobs import tail
from trainer_core.jobs.outcome import Diagnosis

LIMIT_BYTES = 2 << 20
"""The size of the end of a log that is read. It contains the error that stopped the engine."""
_CHUNK_BYTES = 1 << 20
NO_ERROR = "The log shows no error that ended the engine."


@click.command()
@click.argument("log", type=click.File("rb"))
@click.option(
    "--backend",
    required=True,
    type=click.Choice([backend.manifest.id for backend in registry.available()]),
    help="The engine that wrote the log.",
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def diagnose(log: IO[bytes], backend: str, as_json: bool) -> None:
    """Explain from a log why a training failed.

    LOG is a file, or - for standard input.

    The engine need not have been started by Easel. The cause in the JSON output is null if the log shows no error, or one that
    Easel does not know.
    """
    found = diagnosis.explain(tail.split(_end(log)), registry.get(backend).manifest.diagnosis, None)
    known = found if found is not None and found.id != diagnosis.UNKNOWN else None
    if as_json:
        show.as_json(
            {
                "cause": known.id if known else None,
                "message": found.cause if found else NO_ERROR,
                "line": found.line if found else "",
                "fix": known.advice if known else "",
            }
        )
        return
    _show(found or Diagnosis("", NO_ERROR, "", ""))


def _end(log: IO[bytes]) -> bytes:
    """The last part of a log, which may be a pipe."""
    kept = b""
    if log.seekable():
        log.seek(max(0, log.seek(0, 2) - LIMIT_BYTES))
    while chunk := log.read(_CHUNK_BYTES):
        kept = (kept + chunk)[-LIMIT_BYTES:]
    return kept


def _show(found: Diagnosis) -> None:
    show.line(f"what happened: {found.cause}")
    if found.line:
        show.line(f"from the log: {found.line}")
    if found.advice and found.id != diagnosis.UNKNOWN:  # its advice is to read the log
        show.line(f"what to do: {found.advice}")

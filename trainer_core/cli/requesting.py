"""What `easel runs save` and `easel runs sample` share: they ask the engine of a running run for something."""

from __future__ import annotations

from trainer_core.cli import show
from trainer_core.cli.runs import find_run
from trainer_core.engines.seam import Request
from trainer_core.training.controls import ask


def request(name: str, what: Request, as_json: bool) -> None:
    """Asks the engine of the run with this name, and prints what it does and when.

    Raises:
        JobError: there is no such run.
        RunError: its engine cannot be asked for this.
    """
    run = find_run(name)
    sentence = ask(run, what)
    if as_json:
        show.as_json({"run": run.name, "asked": what, "effect": sentence})
    else:
        show.line(sentence)

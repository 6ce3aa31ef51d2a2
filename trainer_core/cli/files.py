"""What `easel plan --files` prints: the engine's files and commands for a job, and what another run had instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer_core.cli import show

if TYPE_CHECKING:
    from trainer_core.prepare.state import State
    from trainer_core.problems import Problem
    from trainer_core.training.run import Run

HELP = "Show only the files that the engine would get, and its commands, also while something is still missing."
AGAINST = "With --files: mark what differs from the files of an earlier run with + and -."
STYLES = {"+": "green", "-": "red", " ": ""}


def show_files(state: State, problems: Sequence[Problem], run: Run | None, as_json: bool) -> None:
    """Prints what a start would write and run; with a `run`, compared with what that had."""
    from trainer_core.prepare import preview

    seen = preview.look_ahead(state, problems)
    old = preview.files_of(run) if run is not None else {}
    compared = preview.differences(seen.files, old if run is not None else seen.files)
    if as_json:
        differences = {name: [[line.sign, line.text] for line in lines] for name, lines in compared.items()}
        against = {"against": run.name, "differences": differences} if run is not None else {}
        show.as_json({**seen.as_dict(), **against})
        return
    for name, lines in compared.items():
        show.line(f"--- {name}", "bold")
        for line in lines:
            show.line(f"{line.sign} {line.text}" if run is not None else line.text, STYLES[line.sign] if run else "")
        show.line()
    for command in seen.commands:
        show.line(f"--- command: {command.name}" if len(seen.commands) > 1 else "--- command", "bold")
        for name, value in command.environment.items():
            show.line(f"{name}={value}", "dim")
        show.line(command.text)
    if seen.folder:
        show.line(f"in {seen.folder} (its name begins with the time of the start)", "dim")
    for sentence in seen.saves:
        show.line(sentence)
    for sentence in seen.missing:
        show.line(f"Still missing: {sentence}", "yellow")

"""What a person does in the notebooks for model files, without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.page import click, enter, go, inside, wait_for
from trainer_core.jobs.state import FINAL_STATES, JobState


def control(app: Any, utility: str, name: str) -> Any:
    """The control of a field."""
    return next(one for one in app.forms[utility].controls if one.field.name == name)


def fill(app: Any, utility: str, **values: Any) -> None:
    """Shows a place and enters values."""
    go(app, utility)
    for name, value in values.items():
        one = control(app, utility, name)
        enter(next(getattr(one, kind) for kind in ("text", "list", "box") if hasattr(one, kind)), value)


def finish(app: Any, utility: str) -> None:
    """Presses the button of the place, and waits for the end of its job."""
    bar = app.bars[utility]
    wait_for(lambda: not bar.start.disabled)
    before = app.jobs.job
    click(bar.start)
    wait_for(lambda: app.jobs.job is not before and app.jobs.state in FINAL_STATES)
    wait_for(lambda: app.places.chosen == "watch")
    assert app.jobs.state is JobState.COMPLETED, app.jobs.job.folder.log.read_text()
    app.views.show()


def made(app: Any) -> Path:
    """The path of the file that the job has made, as the page shows it."""
    return Path(next(one.text for one in inside(app.root) if type(one).__name__ == "CopyLine" and one.text))

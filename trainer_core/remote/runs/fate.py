"""What can be said of a training that cannot be asked about now: by what was seen of it last, and what it was asked to do."""

from __future__ import annotations

from trainer_core.jobs.stop_request import When
from trainer_core.remote.runs.known import Known

GOES_ON = "it trained when it answered last, and needs no connection for that"


def fate(known: Known, wanted: When | None = None) -> str:
    """A clause without a full stop. `wanted` is the stop that the user asked for."""
    is_unasked = wanted is not None and known.asked not in (wanted, "now")
    if not known.begun:
        if is_unasked:
            return "it was not told yet that the run is stopped, so the training may still begin"
        return "as far as Easel knows, the training has not begun"
    if known.phase == "ended":
        return "the training has ended there, and what it made is not all here"
    if is_unasked:
        return "it was not asked to stop yet, so the training may go on"
    if known.asked:
        return f"it was asked to stop the training{' after its next checkpoint' * (known.asked == 'save')}"
    if not known.phase:
        return "the training was started there, and needs no connection"
    if known.phase == "waiting":
        return "the training had not begun when it answered last"
    return GOES_ON


def sentence(known: Known, wanted: When | None = None) -> str:
    """The same as a sentence."""
    said = fate(known, wanted)
    return f"{said[0].upper()}{said[1:]}."

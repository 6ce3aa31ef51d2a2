"""Reads the progress bar of tqdm that counts optimizer steps, as several trainers print it: "steps:  25%|##| 1/4 [...]".

The loss in it is a moving average with three digits; the raw loss of each step comes from the TensorBoard files.
"""

from __future__ import annotations

import re

from trainer_core.events import Phase, Progress

_BAR = re.compile(
    r"(?P<what>validation )?steps:\s+\d+%\|[^|]*\|\s*(?P<step>\d+)/(?P<total>\d+) \[[\d:]+<[\d:?]+,\s*"
    r"(?P<rate>[\d.?]+)(?P<unit>s/it|it/s)(?:.*?avr_loss=(?P<loss>[\w.+-]+))?"
)


def parse(text: str) -> Progress | Phase | None:
    """The progress in a line, or the phase of a bar that counts images which are not trained; None for another line."""
    bar = _BAR.search(text)
    if bar is None:
        return None
    return Phase("validating") if bar["what"] else _progress(bar)


def _progress(bar: re.Match[str]) -> Progress:
    rate = _number(bar["rate"])
    if rate is not None and bar["unit"] == "it/s":
        rate = 1 / rate if rate else None
    return Progress(int(bar["step"]), int(bar["total"]), rate, _number(bar["loss"]))


def _number(text: str | None) -> float | None:
    """The number in the text, nan and inf included; None for "?" or nothing."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None

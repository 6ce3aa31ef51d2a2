"""Parses the console output of sd-scripts into events.

The loss in the progress bar is a moving average with three digits; the raw loss of each step comes from the TensorBoard
files. Messages are in English, then " / ", then in Japanese: only the English part is read.
"""

from __future__ import annotations

import re

from trainer_core.events import Epoch, Event, Notice, Phase, Progress
from trainer_core.text import without_escapes

_BAR = re.compile(
    r"(?P<what>validation )?steps:\s+\d+%\|[^|]*\|\s*(?P<step>\d+)/(?P<total>\d+) \[[\d:]+<[\d:?]+,\s*"
    r"(?P<rate>[\d.?]+)(?P<unit>s/it|it/s)(?:.*?avr_loss=(?P<loss>[\w.+-]+))?"
)
_EPOCH = re.compile(r"^epoch (\d+)/(\d+)\s*$")
_STAMP = re.compile(
    r"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)?\s*(?P<level>INFO|WARNING|ERROR)\s+(?P<text>.*?)(?:\s{2,}\S+\.py:\d+)?\s*$"
)

_PHASES = (
    ("Loading settings from", "starting"),
    ("prepare images", "reading dataset"),
    ("loading model for process", "loading model"),
    ("load StableDiffusion checkpoint", "loading model"),
    ("caching latents...", "caching latents"),
    ("caching Text Encoder outputs", "caching text"),
    ("create LoRA network", "building network"),
    ("running training", "training"),
    ("generating sample images", "sampling"),
    ("saving checkpoint:", "saving"),
    ("model saved.", "saved"),
)
# Messages of every run that do not help the user: the regularisation note is printed for each plain dataset.
_QUIET = ("no regularization images", "[Dataset", "Failed to get git commit hash")

_HELD_OUT = re.compile(r"ignore subset with image_dir='[^']*_validation': no images found")
"""A folder of held-out images has none to train."""


def parse(line: str) -> Event | None:
    """What one line (or one redraw of the bar) means, or None. Never raises."""
    text = without_escapes(line).strip()
    if not text:
        return None
    if bar := _BAR.search(text):
        # The bar of a validation counts images that are not trained.
        return Phase("validating") if bar["what"] else _progress(bar)
    if epoch := _EPOCH.match(text):
        return Epoch(int(epoch[1]), int(epoch[2]))
    stamp = _STAMP.match(text)
    level, message = (stamp["level"], stamp["text"]) if stamp else ("", text)
    for beginning, name in _PHASES:
        if message.startswith(beginning):
            # The rest of the other messages is half a sentence, or names of variables.
            return Phase(name, message[len(beginning) :].strip() if name == "saving" else "")
    if level in ("WARNING", "ERROR") and not message.startswith(_QUIET) and not _HELD_OUT.match(message):
        return Notice("warning" if level == "WARNING" else "error", message.split(" / ")[0].strip())
    return None


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

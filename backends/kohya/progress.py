"""Parses the console output of sd-scripts into events.

Messages are in English, then " / ", then in Japanese: only the English part is read.
"""

from __future__ import annotations

import re

from trainer_core.engines import steps_bar
from trainer_core.events import Epoch, Event, Notice, Phase
from trainer_core.text import without_escapes

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
    if bar := steps_bar.parse(text):
        return bar
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

"""Parses the console output of musubi-tuner's programs into events.

Its messages come from Python's logging, as "INFO:module:text", or from print. Some are in English, then " / ", then in Japanese:
only the English part is read.
"""

from __future__ import annotations

import re

from trainer_core.engines import steps_bar
from trainer_core.events import Epoch, Event, Notice, Phase
from trainer_core.text import without_escapes

_EPOCH = re.compile(r"^epoch (\d+)/(\d+)\s*$")
_LOGGED = re.compile(r"^(?P<level>INFO|WARNING|ERROR):(?P<module>[\w.]+):(?P<text>.*)$")

_LOGGED_PHASES = (
    ("musubi_tuner.cache_latents", "Encoding dataset", "caching latents"),
    ("musubi_tuner.cache_text_encoder_outputs", "Encoding dataset", "caching text"),
    ("musubi_tuner.training.trainer_base", "Load dataset config", "reading dataset"),
    ("musubi_tuner.training.trainer_base", "Loading DiT model", "loading model"),
    ("musubi_tuner.training.trainer_base", "generating sample images", "sampling"),
    ("musubi_tuner.training.trainer_base", "model saved.", "saved"),
    ("musubi_tuner.networks.lora", "create LoRA for U-Net/DiT", "building network"),
    ("musubi_tuner.training.parser_common", "Loading settings from", "starting"),
)
"""(module, how its message begins, the phase)."""
_PRINTED_PHASES = (("running training", "training"), ("saving checkpoint:", "saving"))
# No help: of a file whose name lacks the word "edit", and of a kernel for 4 bits that no run uses.
_QUIET = ("The provided DiT model", "Failed to load CPU gemm_4bit_forward")


def parse(line: str) -> Event | None:
    """What one line (or one redraw of the bar) means, or None. Never raises."""
    text = without_escapes(line).strip()
    if not text:
        return None
    if bar := steps_bar.parse(text):
        return bar
    if epoch := _EPOCH.match(text):
        return Epoch(int(epoch[1]), int(epoch[2]))
    if logged := _LOGGED.match(text):
        return _logged(logged["level"], logged["module"], logged["text"].split(" / ")[0].strip())
    for beginning, name in _PRINTED_PHASES:
        if text.startswith(beginning):
            return Phase(name, text[len(beginning) :].strip() if name == "saving" else "")
    return None


def _logged(level: str, module: str, message: str) -> Event | None:
    for of, beginning, name in _LOGGED_PHASES:
        if module == of and message.startswith(beginning):
            return Phase(name)
    if level == "INFO" or not message or message.startswith(_QUIET):
        return None
    return Notice("warning" if level == "WARNING" else "error", message)

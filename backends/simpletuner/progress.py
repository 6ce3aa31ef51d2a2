"""Parses the console output of SimpleTuner into events.

Its progress bar is redrawn two or three times a step: first with the new step number and the loss of the previous step,
then with its own loss. So the last `Step` with a number is the right one.
"""

from __future__ import annotations

import re

from trainer_core.events import Event, Notice, Phase, Progress, Step
from trainer_core.text import without_escapes

# Its logger drops the escape character of a colour code and leaves the rest.
_BARE_COLOUR = re.compile(r"\[\d{1,2}(?:;\d{1,2})*m")
_BAR = re.compile(
    r"Epoch (?P<epoch>\d+)/(?P<epochs>\d+),? Steps:\s+\d+%\|[^|]*\|\s*(?P<step>\d+)/(?P<total>\d+) \[[^<\]]*<[^,\]]*,\s*"
    r"(?P<rate>[\d.?]+)\s*(?P<unit>s/it|it/s)(?P<more>[^\]]*)"
)
_VALUE = re.compile(r"\b(?P<name>lr|step_loss|prodigy_effective_lr)=(?P<value>[^,\s\]]+)")
_STAMP = re.compile(r"^(?:\[RANK \d+\]\s*)?\S+ \S+ \[(?P<level>INFO|WARNING|ERROR|CRITICAL)\] (?P<text>.*)$")

_PHASES = (
    ("Loading data backend config", "reading dataset"),
    ("Loading bucket manager", "reading dataset"),
    ("Collecting captions", "caching text"),
    ("Initialise text embed pre-computation", "caching text"),
    ("Creating VAE latent cache", "caching latents"),
    ("Executing VAE cache update", "caching latents"),
    ("Processing bucket", "caching latents"),
    ("Processing prompts", "caching text"),
    ("Processing validation prompts", "sampling"),
    ("Loading diffusion model", "loading model"),
    ("Saving current state", "saving"),
    ("Model weights saved in", "saving"),
)
# Printed before the samples are made; the line of their progress bar ends only when the first of them is done.
# Source: SimpleTuner 4.10.1, helpers/training/validation.py.
_SAMPLES = re.compile(r"Processing \d+ local validation work items\b")
# Messages of every run that do not help the user.
_QUIET = (
    "requires an alignment value",
    "not found in the current backend config",
    "No cache file found, creating new one",
    "Not using caption dropout",
)


def parse(line: str) -> Event | None:
    """What one line (or one redraw of the bar) means, or None. Never raises."""
    text = _BARE_COLOUR.sub("", without_escapes(line)).strip()
    if not text:
        return None
    if bar := _BAR.search(text):
        return _step(bar)
    stamp = _STAMP.match(text)
    level, message = (stamp["level"], stamp["text"]) if stamp else ("INFO", text)
    message = re.sub(r"^(?:\[(?:RANK|Rank) \d+\]|\(id=[^)]*\))\s*", "", message)
    if _SAMPLES.match(message):
        return Phase("sampling")
    for beginning, name in _PHASES:
        if message.startswith(beginning):
            return Phase(name)
    if level != "INFO" and not any(quiet in message for quiet in _QUIET):
        return Notice("warning" if level == "WARNING" else "error", message.strip())
    return None


def _step(bar: re.Match[str]) -> Event:
    values = {found["name"]: _number(found["value"]) for found in _VALUE.finditer(bar["more"])}
    number, total = int(bar["step"]), int(bar["total"])
    if number and "step_loss" in values:
        # The effective learning rate of Prodigy differs from the one in the plan.
        rate = values.get("prodigy_effective_lr", values.get("lr"))
        return Step(number, values["step_loss"], rate)
    pace = _number(bar["rate"])
    if pace and bar["unit"] == "it/s":
        pace = 1 / pace
    return Progress(number, total, pace)


def _number(text: str | None) -> float | None:
    """The number in the text, nan and inf included; None for "?" or nothing."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None

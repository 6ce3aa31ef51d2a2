"""Formats an estimate as text for people."""

from __future__ import annotations

from trainer_core.estimate.result import Estimate
from trainer_core.plan.sections import TrainingPlan
from trainer_core.text import plain_number, size

UNITS = ((86400, 3, "days"), (3600, 2, "h"), (60, 2, "min"))
"""The seconds of a unit, the least number of units for which it is used, and its name."""
NEARLY = 0.95
"""From this part of a unit on, a time is told in it."""
NOTABLE = 0.25
"""Samples that take at least this part of a run's time are worth a word."""


def numbers(found: Estimate) -> str:
    """Epochs, time, file size and disk space in one line, without unknown values."""
    texts = []
    if found.epochs is not None:
        texts.append(f"About {epochs(found.epochs)}")
    if found.seconds[1] > 0:
        texts.append(span(found.seconds) if found.is_time_known else "time not known before the first steps")
    if found.lora_mib > 0:
        texts.append(f"a file of {size_mib(found.lora_mib)}")
    if found.disk_gib > 0:
        texts.append(f"{size_mib(found.disk_gib * 1024)} of disk space")
    return ", ".join(texts)


def epochs(count: float) -> str:
    """A number of epochs with its name: "1 epoch", "1,600 epochs"."""
    number = f"{count:,.0f}" if count >= 100 else plain_number(count)
    return f"{number} {'epoch' if number == '1' else 'epochs'}"


def samples(found: Estimate, plan: TrainingPlan) -> str:
    """How many samples a run makes and how long they take, as a sentence; "" if it makes none."""
    if not plan.sampling.every_steps or not found.samples:
        return ""
    count, every = len(plan.sample_prompts), plan.sampling.every_steps
    prompts = "1 prompt" if count == 1 else f"{count} prompts"
    often = "every step" if every == 1 else f"every {every:,} steps"
    first = " and before the first" if plan.sampling.at_start else ""
    images = "1 image" if found.samples == 1 else f"{found.samples:,} images"
    is_known = found.is_time_known and found.sampling_s[1] > 0
    return f"{prompts}, {often}{first}: {images}{f', {span(found.sampling_s)}' if is_known else ''}."


def sample_share(found: Estimate) -> str:
    """Which part of the time of a run its samples take, in words; "" if it is small, or not known."""
    total, part = sum(found.seconds), sum(found.sampling_s)
    if total <= 0 or part < NOTABLE * total:
        return ""
    return (
        "which take longer than all steps"
        if 2 * part > total
        else f"about {5 * round(20 * part / total)} % of the time"
    )


def span(seconds: tuple[float, float]) -> str:
    """A range of time, the least first: "6 to 12 min"; each number with its unit where they differ: "40 s to 3 min"."""
    low, high = sorted(seconds)
    least, unit = _amount(low, high)
    most, name = _amount(high, high)
    if unit != name:
        return f"{least} {unit} to {most} {name}"
    return f"{most} {name}" if least == most else f"{least} to {most} {name}"


def _amount(seconds: float, largest: float) -> tuple[str, str]:
    """A time as (number, unit): in the unit of the largest time of its range, unless it is less than one of that unit."""
    units = [(unit, name) for unit, least, name in UNITS if largest >= least * unit and seconds >= NEARLY * unit] or [
        (1, "s")
    ]
    unit, name = units[0]
    return f"{seconds / unit:.{1 if unit >= 3600 and seconds < 10 * unit else 0}f}", name


def size_mib(mib: float) -> str:
    """A size in MiB, in GiB if it is at least one GiB, or in a smaller unit below one MiB."""
    return f"{mib:.0f} MiB" if 10 <= mib < 1024 else size(mib * (1 << 20))

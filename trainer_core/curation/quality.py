"""What the measures of images mean: one row for each measure, and one for each finding that follows from them.

The measures are kept as they are. A finding is made when they are read, so that a threshold can be moved at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from trainer_core.errors import DatasetError

State = Literal["found", "unsure", "fine", "not measured"]
"""What a finding says of an image. "unsure": the measure is between clear cases, so somebody has to look."""


@dataclass(frozen=True)
class Measure:
    """A measure of an image: its name as a score, its unit, what its number says, and where it comes from."""

    key: str
    title: str
    unit: str
    meaning: str
    source: str
    least: float | None = 0.0
    most: float | None = None
    """The numbers that it can have are from `least` to `most`; None if there is no bound."""


@dataclass(frozen=True)
class Limit:
    """From where on a measure counts: below (or above) `sure` it is found, up to `unsure` it may be."""

    measure: str
    side: Literal["below", "above"]
    sure: float
    unsure: float

    def state(self, value: float | None, threshold: float | None = None) -> State:
        """What it says of a value; `threshold` is in place of `sure`, and the space between the two moves with it."""
        if value is None:
            return "not measured"
        sure = self.sure if threshold is None else threshold
        unsure = self.unsure + (sure - self.sure)
        sign = 1 if self.side == "below" else -1
        if value * sign < sure * sign:
            return "found"
        return "unsure" if value * sign < unsure * sign else "fine"


@dataclass(frozen=True)
class Finding:
    """What is worth a look in an image. It is found if all its limits are exceeded; the first one can be moved.

    `instead_of` are findings that it explains, so they are not said as well.
    """

    key: str
    title: str
    meaning: str
    advice: str
    limits: tuple[Limit, ...]
    source: str
    instead_of: tuple[str, ...] = ()


_OURS = (
    "measured on 22 photographs and scans of scikit-image, scikit-learn and matplotlib, and on copies of them that were"
    " blurred, enlarged and compressed; drawn scenes besides"
)
_CHOSEN = "chosen; compared with the same images, none of which it finds"

MEASURES: Mapping[str, Measure] = {
    one.key: one
    for one in (
        Measure("brightness", "Brightness", "0 to 255", "The middle value: half of the image is darker.", "histogram of the gray image", most=255),
        Measure("contrast", "Contrast", "0 to 255", "From the darkest to the lightest hundredth of the image.", "histogram of the gray image", most=255),
        Measure("deviation", "Deviation", "0 to 255", "How much the values differ; about 0 for one plain colour.", "histogram of the gray image", most=255),
        Measure("blur", "Sharpness", "0 and more", "The sharpest of 8 x 8 parts, at 512 px: small if nothing in the image is sharp.", "mean size of the second derivative (Laplacian)"),
        Measure("detail", "Fine detail", "logarithm, below 0", "The share of fine detail at the sharpest place: -4 is ten times less than -3. Enlarged images have little.", "power above half of the highest frequency", least=None, most=0),
        Measure("blocks", "JPEG blocks", "1 and more", "How much the borders of 8-pixel blocks stand out: about 1 without blocks.", "steps between pixels at block borders against the others"),
        Measure("bars", "Bars", "0 to 1", "The share of a side that plain bars at both ends take.", "rows of one value with a sharp end", most=1),
    )
}  # fmt: skip
"""The measures by key. As a filter: `score.blur:<3`."""

FINDINGS: Mapping[str, Finding] = {
    one.key: one
    for one in (
        Finding("blank", "Blank", "it is nearly one plain colour", "Reject it, unless that is the subject.", (Limit("deviation", "below", 3, 4), Limit("contrast", "below", 12, 16)), _CHOSEN, ("low_contrast", "dark", "bright", "blurred", "soft")),
        Finding("dark", "Very dark", "most of it is nearly black", "Reject it, or use a brighter copy.", (Limit("brightness", "below", 20, 28), Limit("contrast", "below", 60, 75)), _CHOSEN, ("low_contrast",)),
        Finding("bright", "Very bright", "most of it is nearly white", "Reject it, or use a darker copy.", (Limit("brightness", "above", 225, 215), Limit("contrast", "below", 60, 75)), _CHOSEN, ("low_contrast",)),
        Finding("low_contrast", "Low contrast", "its values hardly differ, as in fog", "Keep it if it is meant to look so.", (Limit("contrast", "below", 25, 35),), _CHOSEN),
        Finding("blurred", "Blurred", "no part of it is sharp", "Reject it: blur is learned.", (Limit("blur", "below", 2.5, 3.5),), _OURS, ("soft",)),
        Finding("soft", "Soft or enlarged", "it has less fine detail than its size suggests", "Look for the original: it may be an enlarged small image.", (Limit("detail", "below", -3.5, -3.0),), _OURS),
        Finding("blocky", "JPEG blocks", "blocks of strong compression are visible", "Look for a better copy: the blocks are learned.", (Limit("blocks", "above", 2.5, 2.0),), _OURS),
        Finding("barred", "Bars", "plain bars at two ends of it are trained, too", "Crop them away.", (Limit("bars", "above", 0.04, 0.02),), _CHOSEN),
    )
}  # fmt: skip
"""The findings by key, the most severe first."""


def threshold(key: str, value: float) -> float:
    """The threshold of a finding, if its measure can have this value.

    Raises:
        DatasetError: it is not a number, infinite, or a value that no image can have.
    """
    measure = MEASURES[FINDINGS[key].limits[0].measure]
    is_below = measure.least is not None and value < measure.least
    is_above = measure.most is not None and value > measure.most
    if not math.isfinite(value) or is_below or is_above:
        wanted = f"{measure.title} ({measure.key}) is a number: {measure.unit}."
        raise DatasetError(f"The threshold of {key} cannot be {value:g}.", wanted)
    return value


def state(key: str, scores: Mapping[str, float], thresholds: Mapping[str, float] | None = None) -> State:
    """What one finding says of an image with these scores; `thresholds` are those that differ from the start, by finding."""
    finding = FINDINGS[key]
    moved = (thresholds or {}).get(key)
    states = [
        limit.state(scores.get(limit.measure), moved if place == 0 else None)
        for place, limit in enumerate(finding.limits)
    ]
    order: tuple[State, ...] = ("not measured", "fine", "unsure", "found")
    return next(one for one in order if one in states)


def found(scores: Mapping[str, float], thresholds: Mapping[str, float] | None = None) -> dict[str, State]:
    """The findings of an image that are found or unsure, the most severe first."""
    states = {key: state(key, scores, thresholds) for key in FINDINGS}
    explained = {other for key, one in states.items() if one == "found" for other in FINDINGS[key].instead_of}
    return {key: one for key, one in states.items() if one in ("found", "unsure") and key not in explained}


def counts(
    images: Iterable[Mapping[str, float]], thresholds: Mapping[str, float] | None = None
) -> Mapping[str, Mapping[State, int]]:
    """How many images each finding would name with these thresholds, by its state."""
    totals = {key: Counter[State]() for key in FINDINGS}
    for scores in images:
        said = found(scores, thresholds)
        for key, total in totals.items():
            total[said.get(key) or ("not measured" if state(key, scores) == "not measured" else "fine")] += 1
    return totals

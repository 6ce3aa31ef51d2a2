"""The methods of a merge, from methods.toml, and the check of their parameters. Not: their arithmetic."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer_core.errors import WeightsError
from trainer_core.files import read_rows

WEIGHT = "weight"
PARTS = ("denoiser", "text_encoders", "vae")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number that the user chooses. `models`: the parameter exists only with so many models; 0 means always."""

    title: str
    default: float
    least: float
    most: float
    models: int = 0


@dataclass(frozen=True, kw_only=True)
class Method:
    """A row of methods.toml, which describes the fields."""

    id: str
    title: str
    formula: str
    sentence: str
    source: str
    models: tuple[int, ...]
    parameters: Mapping[str, Parameter]
    base: str = ""
    at_zero: str = ""
    at_one: str = ""
    reads_whole: int = 0
    two_passes: bool = False
    random: bool = False
    parts: tuple[str, ...] = field(default=PARTS)

    def values(self, given: Mapping[str, float], models: int) -> dict[str, float]:
        """The value of each parameter with so many models.

        Raises:
            WeightsError: one is unknown, or out of its range.
        """
        known = {name: row for name, row in self.parameters.items() if row.models in (0, models)}
        for name, value in given.items():
            if name not in known:
                raise WeightsError(
                    f"{self.title} of {models} models has no parameter {name!r:.40}.", f"It has: {', '.join(known)}."
                )
            row = known[name]
            check_range(row.title, value, row.least, row.most)
        found = {name: float(given.get(name, row.default)) for name, row in known.items()}
        if found.get("weight_c", 0) + (found[WEIGHT] if "weight_c" in found else 0) > 1:
            raise WeightsError("The weights of B and C are more than 1 together, so A would count negatively.", "")
        return found


def check_range(title: str, value: float, least: float, most: float) -> None:
    """Checks that a number is within its range.

    Raises:
        WeightsError: it is not.
    """
    if not math.isfinite(value) or not least <= value <= most:
        raise WeightsError(f"{title} is {value:g}.", f"It can be from {least:g} to {most:g}.")


@functools.cache
def methods() -> Mapping[str, Method]:
    """The methods by id, in the order of the file."""
    return read_rows(Path(__file__).with_name("methods.toml"), Method)


def get(name: str, models: int) -> Method:
    """The method with this id, for so many models.

    Raises:
        WeightsError: there is none, or it takes another number of models.
    """
    found = methods().get(name)
    if found is None:
        raise WeightsError(f"There is no method {name!r:.40}.", f"There are: {', '.join(methods())}.")
    if models not in found.models:
        raise WeightsError(
            f"{found.title} takes {' or '.join(map(str, found.models))} models, and {models} were given.",
            found.formula[0].upper() + found.formula[1:] + ".",
        )
    return found

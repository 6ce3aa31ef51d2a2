"""The tables of what GPUs and drivers can do."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer_core.files import read_rows
from trainer_core.hardware import Accelerator

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Architecture:
    """A row of architectures.toml, which explains the fields."""

    id: str
    title: str
    kind: Literal["cuda", "rocm"]
    architectures: tuple[str, ...]
    bf16: Literal["native", "emulated", "unknown"]
    fp8: Literal["hardware", "storage", "no", "unknown"]
    flash: Literal["yes", "no", "experimental", "unknown"]
    eight_bit: Literal["yes", "no", "unknown"]
    advice: str
    source: str


@dataclass(frozen=True)
class Driver:
    """A row of drivers.toml: a major version of CUDA, and the lowest driver that runs its builds."""

    id: str
    driver: str


@functools.cache
def architectures() -> dict[str, Architecture]:
    """The rows by id."""
    return read_rows(_FOLDER / "architectures.toml", Architecture)


def architecture(device: Accelerator) -> Architecture | None:
    """The row of a device; None if its architecture is not known or not in the table."""
    rows = (row for row in architectures().values() if row.kind == device.kind)
    return next((row for row in rows if device.architecture in row.architectures), None)


@functools.cache
def _drivers() -> dict[str, Driver]:
    return read_rows(_FOLDER / "drivers.toml", Driver)


def cuda_of(driver: str) -> str:
    """The newest major version of CUDA whose builds run with an NVIDIA driver; "" if there is none."""
    have = _numbers(driver)
    return next((row.id for row in _drivers().values() if have >= _numbers(row.driver)), "")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))

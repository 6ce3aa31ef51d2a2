"""The status of one training engine on this machine: whether it is installed, its version, and the results of trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Trial:
    """The result of trying one thing in the engine's environment; `reason` is the sentence that says why it failed."""

    works: bool
    reason: str = ""
    state_bytes: float | None = None
    """Measured bytes of optimizer state for each trained parameter in 32 bits; None if that was not measured."""
    takes: Mapping[str, Mapping[str, Any]] | None = None
    """What the constructor of an optimizer takes: {argument: {"default": its default}}; None if that was not read."""


@dataclass(frozen=True)
class Trials:
    """The results of trials after the installation, by name: of optimizers, and of packages that options need."""

    optimizers: Mapping[str, Trial] = field(default_factory=dict)
    packages: Mapping[str, Trial] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineStatus:
    """The status of one engine on the machine that trains. `version` is "" if it is not installed or not known.

    Of an engine that another machine lacks, `machine` is the name of that machine, `command` installs the engine there, and
    `is_coming` says that the start of a run does so, too.
    """

    installed: bool = False
    version: str = ""
    trials: Trials = Trials()
    machine: str = ""
    command: str = ""
    is_coming: bool = False


NOT_KNOWN = EngineStatus()
"""The status of an engine that was not looked for."""
UNTRIED = Trial(works=False)

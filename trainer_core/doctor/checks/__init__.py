"""The checks of the doctor: each is a function from a case to findings. Not: reading a machine, which `hardware` and `probe` do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from trainer_core.doctor.case import Case
from trainer_core.doctor.checks import (
    attention,
    eight_bit,
    engines,
    folders,
    gpus,
    jupyter_servers,
    kernels,
    network,
    platforms,
    system,
)
from trainer_core.doctor.finding import Finding

Check = Callable[[Case], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    system.system,
    system.processor,
    system.memory,
    platforms.platform,
    folders.folders,
    folders.shared_memory,
    gpus.cards,
    gpus.hidden_cards,
    gpus.memory_in_use,
    engines.engines,
    kernels.kernels,
    eight_bit.eight_bit,
    attention.attention,
    network.index,
    network.torch_index,
    network.sources,
    network.hub,
    network.tokens,
    jupyter_servers.jupyter_servers,
)
"""The checks in the order of the report. A check is added by its row here."""

"""How far files are that are sent or fetched, in words with units. What is not known is not said."""

from __future__ import annotations

from trainer_core.events import Transfer
from trainer_core.text import printable, size


def words(moved: Transfer) -> str:
    """Which files are on their way, and how far they are, as "sending 12 files to box: 1.2 of 6.5 GB, 10 MB per second"."""
    return f"{what(moved)}: {', '.join(filter(None, (amount(moved), rate(moved))))}"


def what(moved: Transfer) -> str:
    """Which files are on their way."""
    return printable(moved.what, 200)


def amount(moved: Transfer) -> str:
    """How many bytes have arrived, and of how many."""
    done = size(max(0, moved.done_bytes))
    if moved.total_bytes is None or moved.total_bytes < 0:
        return f"{done}, of a size that is not known"
    return f"{done} of {size(moved.total_bytes)}"


def rate(moved: Transfer) -> str:
    """How fast they arrive; "" if that was not measured."""
    return f"{size(round(moved.bytes_per_s))} per second" if moved.bytes_per_s and moved.bytes_per_s >= 1 else ""

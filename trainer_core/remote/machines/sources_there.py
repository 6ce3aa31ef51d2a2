"""On the machine itself: the source code of an engine that a question names."""

from __future__ import annotations

from typing import Any

from trainer_core.remote.machines.names import check_sha256
from trainer_core.remote.machines.store import Store

ADDRESS, ARCHIVE = "source", "archive"
"""The entries of the question that installs an engine: an address, or the SHA-256 of an archive that was sent."""


def asked(engine: str, about: dict[str, Any]) -> str | None:
    """The source that a question names, as an installation takes it; None for the usual one.

    Raises:
        JobError: the archive has not arrived.
    """
    if ARCHIVE in about:
        name = f"{engine}.tar.gz"
        return str(Store.own().arrange({name: check_sha256(about[ARCHIVE])}) / name)
    return str(about[ADDRESS]) if about.get(ADDRESS) else None

"""The source code of an engine for another machine: an address that it asks itself, or an archive that is sent to it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.engines import manifest
from trainer_core.errors import JobError, wrong_use
from trainer_core.install import upstream
from trainer_core.install.addresses import without_secrets
from trainer_core.jobs.hosts.machine import Machine
from trainer_core.remote.machines import sending
from trainer_core.remote.machines.sources_there import ADDRESS, ARCHIVE
from trainer_core.text import printable

Say = Callable[[str], None]


def check(engine: str, source: str) -> None:
    """Refuses what is neither a folder or file here nor an address.

    Raises:
        JobError: it is neither.
    """
    if not _is_here(source) and "://" not in source and not ("@" in source and ":" in source):
        raise wrong_use(
            JobError(
                f"There is no folder {printable(source, 200)} on this machine, and it is no address.",
                f"Name a folder of this machine, which is sent there, or an address: --source {engine}=https://…",
            )
        )


def brought(machine: Machine, engine: str, source: str, say: Say) -> dict[str, Any]:
    """What the question to install an engine says about its source, after what is here was sent there.

    Of a folder or archive here the pinned commit is sent. So is that of an address with a password, which stays on this machine.

    Raises:
        InstallError: the source does not have the pinned commit, or cannot be reached.
        MachineError: the machine cannot be reached.
        JobError: the disk there is too small.
    """
    table = manifest.read(engine)
    if not table.has_source:
        say(f"{table.title} comes from the package registry: the source {without_secrets(source)} is not used.")
        return {}
    if not _is_here(source) and without_secrets(source) == source:
        return {ADDRESS: source}
    if not _is_here(source):
        say("The source is fetched here and sent, because its address has a password or a query.")
    given = str(places.typed(source)) if _is_here(source) else source
    with tempfile.TemporaryDirectory(prefix="easel-source-") as scratch:
        tree, archive = Path(scratch, "tree"), Path(scratch, f"{engine}.tar.gz")
        upstream.fetch(table.upstream, tree, given, say)
        upstream.pack(tree, archive)
        (item,) = sending.items([archive]).values()
        sending.send(machine, [item], say)
    return {ARCHIVE: item.sha256}


def _is_here(source: str) -> bool:
    return places.is_there(places.typed(source))

"""The program of a machine that trains: `python -m trainer_core.remote.machines.answering`, started over ssh.

It does what the messages on its input ask for. Paths in messages are never used as they are: files have the SHA-256 of their
content as names, runs and jobs their ids, and all of them lie in the folder of this machine's Easel.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from trainer_core import __version__, places
from trainer_core.errors import EaselError, JobError
from trainer_core.jobs.hosts.answering import Answer, serve
from trainer_core.jobs.hosts.host import READ_LIMIT_BYTES
from trainer_core.remote.machines.names import check_id, check_sha256, check_size
from trainer_core.remote.machines.store import Store
from trainer_core.text import printable

MODULE = "trainer_core.remote.machines.answering"
"""The name under which the program is started."""


def main() -> int:
    """Answers until the input ends; returns 0, or 1 after bytes that are no message."""
    return serve(_answer)


def _answer(about: Mapping[str, Any], body: bytes) -> Answer:
    action = _action(str(about.get("do")))
    try:
        return action(about, body)
    except JobError:
        raise
    except EaselError as error:
        raise JobError(error.message, error.hint) from error


def _action(name: str) -> Callable[[Mapping[str, Any], bytes], Answer]:
    actions = _ACTIONS
    if name.startswith("run "):
        # Only these need plans and engines, which take longer to load.
        from trainer_core.remote.machines import runs_there

        actions = runs_there.ACTIONS
    elif name == "hub":
        from trainer_core.remote.machines import hub_there

        actions = hub_there.ACTIONS
    if name not in actions:
        raise ValueError(f"there is no question {printable(name, 80)!r}")
    return actions[name]


def _machine(_about: Mapping[str, Any], _body: bytes) -> Answer:
    """What this machine has, and its engines, for the checks of a plan."""
    from trainer_core import hardware
    from trainer_core.remote.machines import engine_list

    found = hardware.machine(places.home()).to_dict()
    return {"machine": found, "version": __version__, "engines": engine_list.own()}, b""


def _there(_about: Mapping[str, Any], body: bytes) -> Answer:
    store, asked = Store.own(), json.loads(body)
    if not isinstance(asked, dict):
        raise TypeError("the list of files is no table")
    return {"free": store.free_bytes()}, json.dumps(store.there(asked)).encode()


def _piece(about: Mapping[str, Any], body: bytes) -> Answer:
    sha256, offset = check_sha256(about["sha256"]), check_size(about["offset"])
    return {"there": Store.own().add(sha256, check_size(about["size"]), offset, body)}, b""


def _pieces(about: Mapping[str, Any], body: bytes) -> Answer:
    files = [(check_sha256(sha256), check_size(size)) for sha256, size in about["files"]]
    if sum(size for _, size in files) != len(body):
        raise ValueError("the files have another length than their list says")
    Store.own().add_several(files, body)
    return {}, b""


def _arrange(_about: Mapping[str, Any], body: bytes) -> Answer:
    tree = json.loads(body)
    if not isinstance(tree, dict):
        raise TypeError("the list of names is no table")
    return {"path": str(Store.own().arrange(tree))}, b""


def _engine(about: Mapping[str, Any], _body: bytes) -> Answer:
    """Whether an engine is installed here."""
    from trainer_core.engines import registry
    from trainer_core.install.installed import installed

    backend = registry.get(str(about["engine"]))
    if not backend.manifest.needs_installation:
        return {"is_ready": True, "version": __version__}, b""
    found = installed(backend.manifest.id)
    return {"is_ready": found is not None, "version": found.version if found else ""}, b""


def _install(about: Mapping[str, Any], _body: bytes) -> Answer:
    from trainer_core.engines import manifest
    from trainer_core.install import job
    from trainer_core.remote.machines import sources_there

    engine = str(about["engine"])
    # Its name becomes that of a file.
    manifest.read(engine)
    source = sources_there.asked(engine, dict(about))
    found, is_new = job.start(engine, str(about.get("accelerator", "auto")), source)
    return {"job": found.name, "is_new": is_new}, b""


def _job(about: Mapping[str, Any], _body: bytes) -> Answer:
    """How a job of this machine goes, and its log from an offset on."""
    from trainer_core.jobs.hosts.local import LOCAL
    from trainer_core.jobs.job import Job
    from trainer_core.jobs.state import FINAL_STATES

    job = Job.attach(places.jobs() / check_id(about["job"]))
    # The state first: what was written before the end is then in the log.
    state = job.state
    found, offset = LOCAL.read(job.folder.log, check_size(about["offset"]), READ_LIMIT_BYTES // 8)
    diagnosis = job.diagnosis if state in FINAL_STATES else None
    told = f"{diagnosis.cause} {diagnosis.advice}".strip() if diagnosis else ""
    return {"state": state.value, "is_final": state in FINAL_STATES, "told": told, "offset": offset}, found


_ACTIONS: Mapping[str, Callable[[Mapping[str, Any], bytes], Answer]] = {
    "machine": _machine,
    "there": _there,
    "piece": _piece,
    "pieces": _pieces,
    "arrange": _arrange,
    "engine": _engine,
    "install": _install,
    "job": _job,
}

if __name__ == "__main__":
    sys.exit(main())

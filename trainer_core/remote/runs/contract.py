"""The contract test of all carriers: the tests of a carrier call `check_carrier_contract(connect, folder)`.

It has a trainer do one short run of the rehearsal engine, and checks every promise of `Carrier` that needs no broken connection.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from trainer_core.errors import EaselError
from trainer_core.remote.runs import carrier as carriers
from trainer_core.remote.runs.carrier import Carrier, is_passing

LIMIT_S = 240.0


def check_carrier_contract(connect: Callable[[], Carrier], folder: Path) -> None:
    """Raises AssertionError if a carrier does not keep what `Carrier` promises.

    `connect` makes a carrier of a run that has not begun, which lasts for some seconds and makes at least one file; each call
    makes another carrier of the same run. `folder` is an empty folder for fetched files.
    """
    first = connect()
    _check_before(first)
    said: list[str] = []
    first.begin(said.append)
    other = connect()
    other.begin(said.append)
    assert all(isinstance(text, str) for text in said), "`say` gets sentences"
    _check_phases(other)
    _check_reading(other)
    _check_files(first, other, folder)
    first.stop("now")
    assert other.state().phase == "ended", "a stop does not change a run that has ended"
    assert _refuses(lambda: first.put("spec.json", b"{}")), f"only {carriers.REQUESTS} is put"
    first.close()
    other.close()
    third = connect()
    third.begin(said.append)
    assert third.state().phase == "ended", "a run that has ended is not begun again"
    third.close()


def _check_before(one: Carrier) -> None:
    assert one.state().phase == "waiting", "a run that has not begun waits"
    assert one.read("events.jsonl", 0) == b"", "a file that does not exist yet has no bytes"


def _check_phases(one: Carrier) -> None:
    deadline, seen = time.monotonic() + LIMIT_S, []
    while not seen or seen[-1] != "ended":
        assert time.monotonic() < deadline, f"the run has not ended: {seen[-3:]}"
        seen.append(one.state().phase)
        time.sleep(0.2)
    assert set(seen) <= {"waiting", "running", "ended"}, seen
    assert seen == sorted(seen, key=["waiting", "running", "ended"].index), "a run does not go back"


def _check_reading(one: Carrier) -> None:
    for name in carriers.READ:
        content = _all_of(one, name, 0)
        assert content, f"{name} of a run that has ended has bytes"
        middle = len(content) // 2
        assert _all_of(one, name, middle) == content[middle:], f"{name} is read from any byte on"
        assert one.read(name, len(content)) == b"", f"there is nothing behind the end of {name}"
    assert json.loads(_all_of(one, "result.json", 0))["state"] == "COMPLETED"
    for wrong in ("../versions.json", "/etc/hostname", "output", "plan.toml/../../x"):
        assert _refuses(lambda wrong=wrong: one.read(wrong, 0)), f"{wrong} is not read"


def _check_files(one: Carrier, other: Carrier, folder: Path) -> None:
    there = one.files()
    assert there, "a run that is complete has files"
    for name, file in there.items():
        assert name.split("/")[0] in carriers.FOLDERS, f"{name} is below {' or '.join(carriers.FOLDERS)}"
        assert file.tag
        target = folder / name.replace("/", "_")
        other.fetch(name, target)
        content = target.read_bytes()
        assert len(content) == file.size
        assert not file.sha256 or hashlib.sha256(content).hexdigest() == file.sha256
        other.fetch(name, target)
        assert target.read_bytes() == content, "a file can be fetched again"
    assert one.files() == there, "the files of a run that has ended do not change"
    assert {each.name for each in folder.iterdir()} == {name.replace("/", "_") for name in there}, (
        "nothing else is left"
    )
    for wrong in ("output/nothing.safetensors", "../spec.json", "spec.json"):
        assert _refuses(lambda wrong=wrong: one.fetch(wrong, folder / "wrong")), f"{wrong} is not fetched"
    assert not (folder / "wrong").exists()


def _all_of(one: Carrier, name: str, begin: int) -> bytes:
    content = b""
    while piece := one.read(name, begin + len(content)):
        content += piece
    return content


def _refuses(call: Callable[[], object]) -> bool:
    """Whether a call is refused for good."""
    try:
        call()
    except EaselError as error:
        return not is_passing(error)
    return False

"""The questions about runs that this machine trains for others. The runs are those of `trainer_core.remote.runs.there`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, cast, get_args

from trainer_core.files import open_own
from trainer_core.jobs.hosts.answering import Answer
from trainer_core.jobs.stop_request import When
from trainer_core.remote.machines import when_done_there
from trainer_core.remote.machines.names import check_id, check_name, check_size
from trainer_core.remote.runs import there
from trainer_core.remote.runs.request import Request

PIECE_BYTES = 4 << 20


def _begin(_about: Mapping[str, Any], body: bytes) -> Answer:
    return {"run": there.begin(Request.from_json(body)).name}, b""


def _resume(about: Mapping[str, Any], _body: bytes) -> Answer:
    return {"run": there.resume(check_id(about["id"]), check_id(about["of"])).name}, b""


def _seen(about: Mapping[str, Any], _body: bytes) -> Answer:
    return asdict(there.seen(check_id(about["id"]))), b""


def _read(about: Mapping[str, Any], _body: bytes) -> Answer:
    return {}, there.read(check_id(about["id"]), str(about["name"]), check_size(about["offset"]))


def _files(about: Mapping[str, Any], _body: bytes) -> Answer:
    found = there.files(check_id(about["id"]))
    return {}, json.dumps({name: asdict(each) for name, each in found.items()}).encode()


def _file(about: Mapping[str, Any], _body: bytes) -> Answer:
    """A piece of one of the run's files."""
    path = there.path_of(check_id(about["id"]), check_name(about["name"]))
    with open_own(path) as file:
        file.seek(check_size(about["offset"]))
        return {}, file.read(PIECE_BYTES)


def _stop(about: Mapping[str, Any], _body: bytes) -> Answer:
    after = about["after"]
    if after not in get_args(When):
        raise ValueError("no such stop")
    there.stop(check_id(about["id"]), cast("When", after))
    return {}, b""


def _put(about: Mapping[str, Any], body: bytes) -> Answer:
    there.put(check_id(about["id"]), body)
    return {}, b""


def _done(about: Mapping[str, Any], _body: bytes) -> Answer:
    words = about["words"]
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ValueError("no words of a command")
    return {"told": when_done_there.start(check_id(about["id"]), words)}, b""


ACTIONS: Mapping[str, Callable[[Mapping[str, Any], bytes], Answer]] = {
    "run begin": _begin,
    "run resume": _resume,
    "run seen": _seen,
    "run read": _read,
    "run files": _files,
    "run file": _file,
    "run stop": _stop,
    "run put": _put,
    "run done": _done,
}

"""The trainer's side of remote runs as a program, for a carrier that can start programs on the trainer.

    python -m trainer_core.remote.runs.there_command VERB ID [argument ...]

    begin ID              the request is the standard input
    resume ID OF          continues the run OF as the run ID
    state ID              prints {"phase", "sentence"}
    read ID NAME OFFSET   prints bytes of a file that grows
    files ID              prints {name: {"size", "tag", "sha256"}}
    fetch ID NAME OFFSET  prints a file that `files` names, from a byte on
    stop ID now|save
    put ID                the content of requests.json is the standard input

After an error the exit code is 3, and the standard error ends with a line of JSON: {"message", "hint"}.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainer_core.errors import EaselError, JobError, wrong_use
from trainer_core.files import open_own
from trainer_core.remote.runs import there
from trainer_core.remote.runs.request import LARGEST_BYTES, Request

REFUSED = 3
"""The exit code after an error that is said in JSON."""


def main(words: Sequence[str]) -> int:
    """Does what the words say, and returns the exit code."""
    try:
        verb, *arguments = words or [""]
        if verb not in VERBS:
            raise wrong_use(
                JobError(f"There is no command {verb!r:.40} for a trainer.", "Update Easel on the trainer.")
            )
        VERBS[verb](*arguments)
    except EaselError as error:
        return _refused(error.message, error.hint)
    except (TypeError, ValueError) as error:
        return _refused(f"The command for the trainer cannot be read: {error}.", "Update Easel on both machines.")
    except OSError as error:
        return _refused(f"{error.filename or 'A file'} on the trainer: {error.strerror or error}.", "")
    return 0


def _refused(message: str, hint: str) -> int:
    print(json.dumps({"message": message, "hint": hint}), file=sys.stderr, flush=True)
    return REFUSED


def _begin(id: str) -> None:  # noqa: A002 - the id of a run is called so everywhere
    request = Request.from_json(sys.stdin.buffer.read(LARGEST_BYTES + 1))
    if request.id != id:
        raise JobError(f"The request is not that of the run {id}.")
    _print({"folder": there.begin(request).folder.path})


def _resume(id: str, of: str) -> None:  # noqa: A002 - as above
    _print({"folder": there.resume(id, of).folder.path})


def _state(id: str) -> None:  # noqa: A002 - as above
    _print(dataclasses.asdict(there.seen(id)))


def _read(id: str, name: str, offset: str) -> None:  # noqa: A002 - as above
    sys.stdout.buffer.write(there.read(id, name, int(offset)))


def _files(id: str) -> None:  # noqa: A002 - as above
    _print({name: dataclasses.asdict(file) for name, file in there.files(id).items()})


def _fetch(id: str, name: str, offset: str) -> None:  # noqa: A002 - as above
    with open_own(there.path_of(id, name)) as file:
        file.seek(int(offset))
        shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)


def _stop(id: str, after: str) -> None:  # noqa: A002 - as above
    there.stop(id, "save" if after == "save" else "now")


def _put(id: str) -> None:  # noqa: A002 - as above
    there.put(id, sys.stdin.buffer.read(1 << 16))


def _print(data: Mapping[str, Any]) -> None:
    print(json.dumps(data, default=str))


VERBS: Mapping[str, Callable[..., None]] = {
    "begin": _begin,
    "resume": _resume,
    "state": _state,
    "read": _read,
    "files": _files,
    "fetch": _fetch,
    "stop": _stop,
    "put": _put,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

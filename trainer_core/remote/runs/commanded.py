"""A carrier for trainers on which programs can be started: it runs `trainer_core.remote.runs.there_command` for each call.

A way to reach such a trainer says how a program is started there and what must be brought before; the rest is here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from trainer_core.errors import JobError
from trainer_core.jobs.stop_request import When
from trainer_core.remote.runs import fetching
from trainer_core.remote.runs.carrier import REQUESTS, Doing, FileThere, NotNow, Seen, quiet
from trainer_core.remote.runs.fetching import file_there
from trainer_core.remote.runs.request import Request
from trainer_core.remote.runs.there_command import REFUSED
from trainer_core.remote.runs.transfers import Transfers, fetched
from trainer_core.text import printable

MODULE = "trainer_core.remote.runs.there_command"
_HINT = "Update Easel on the trainer."


class Trainer(Protocol):
    """Starts programs on a trainer."""

    def run(self, words: Sequence[str], given: bytes = b"") -> tuple[int, bytes, bytes]:
        """The exit code, output and errors of Easel's Python there with these arguments; `given` is its input.

        Raises:
            JobError: `is_passing` if the trainer cannot be reached now.
        """
        ...

    def stream(self, words: Sequence[str], take: Callable[[bytes], None]) -> tuple[int, bytes]:
        """The exit code and errors of the same; `take` gets the output piece by piece.

        Raises:
            JobError: as `run`, also when the connection was cut while it ran.
        """
        ...

    def close(self) -> None:
        """Gives up the connection."""
        ...


class CommandedCarrier:
    """A carrier over a `Trainer`. `bring` brings what is missing, and returns the request with the paths of the trainer."""

    def __init__(
        self,
        trainer: Trainer,
        id: str,  # noqa: A002 - the id of a run is called so everywhere
        bring: Callable[[Callable[[str], None]], Request],
        transfers: Transfers,
    ) -> None:
        self._trainer, self._id, self._bring, self._transfers = trainer, id, bring, transfers
        self._listed: Mapping[str, FileThere] = {}

    def begin(self, say: Callable[[str], None], doing: Callable[[Doing], None] = quiet) -> None:  # noqa: ARG002
        """See `Carrier.begin`."""
        if self.state().phase != "waiting":
            return
        request = self._bring(say)
        self._ask("begin", given=request.to_json().encode())
        say("The trainer has started the run.")

    def state(self) -> Seen:
        """See `Carrier.state`."""
        told = self._json("state")
        if (phase := told.get("phase")) not in ("waiting", "running", "ended", "lost"):
            raise JobError("The trainer did not say where the run is.", _HINT)
        return Seen(phase, printable(str(told.get("sentence", "")), 500), told.get("is_known") is not False)

    def read(self, name: str, offset: int) -> bytes:
        """See `Carrier.read`."""
        return self._ask("read", name, str(offset))

    def files(self) -> Mapping[str, FileThere]:
        """See `Carrier.files`."""
        self._listed = {name: file_there(row) for name, row in self._json("files").items()}
        return self._listed

    def fetch(self, name: str, target: Path) -> None:
        """See `Carrier.fetch`."""
        there = self._listed.get(name) or self.files().get(name)
        if there is None:
            raise JobError(f"The trainer has no file {printable(name, 200)!r} any more.")

        def pieces(offset: int, take: Callable[[bytes], None]) -> None:
            self._check(*self._trainer.stream(self._words("fetch", name, str(offset)), take))

        try:
            with self._transfers.of(fetched(name)) as tell:
                fetching.fetch(there, target, pieces, tell)
        except JobError:
            # The file may have changed since it was listed.
            self._listed = {}
            raise

    def stop(self, after: When) -> None:
        """See `Carrier.stop`."""
        self._ask("stop", after)

    def put(self, name: str, content: bytes) -> None:
        """See `Carrier.put`."""
        if name != REQUESTS:
            raise JobError(f"{printable(name, 80)!r} is not sent to a trainer.")
        self._ask("put", given=content)

    def resume(self, id: str, say: Callable[[str], None]) -> None:  # noqa: A002 - as above
        """See `Carrier.resume`."""
        self._ask("resume", id)
        say("The trainer goes on with the run.")

    def close(self) -> None:
        """See `Carrier.close`."""
        self._trainer.close()

    def _words(self, verb: str, *arguments: str) -> list[str]:
        return ["-P", "-m", MODULE, verb, self._id, *arguments]

    def _ask(self, verb: str, *arguments: str, given: bytes = b"") -> bytes:
        code, printed, errors = self._trainer.run(self._words(verb, *arguments), given)
        self._check(code, errors)
        return printed

    def _json(self, verb: str) -> dict[str, Any]:
        try:
            told = json.loads(self._ask(verb))
        except (ValueError, RecursionError) as error:
            raise JobError("The trainer's answer cannot be read.", _HINT) from error
        if not isinstance(told, dict):
            raise JobError("The trainer's answer cannot be read.", _HINT)
        return told

    def _check(self, code: int, errors: bytes) -> None:
        """Raises what the trainer said of an error."""
        if not code:
            return
        if code < 0:
            raise NotNow(f"The program that reaches the trainer was ended by signal {-code}.")
        lines = errors.decode("utf-8", "replace").strip().splitlines()
        last = lines[-1] if lines else ""
        if code == REFUSED:
            with contextlib.suppress(ValueError, RecursionError):
                told = json.loads(last)
                if isinstance(told, dict):
                    raise JobError(printable(str(told.get("message", ""))), printable(str(told.get("hint", ""))))
        raise JobError(
            f"Easel on the trainer failed with exit code {code}: {printable(last, 300) or 'it said nothing'}.", _HINT
        )

"""A trainer for tests: another home of Easel on this machine, which a carrier reaches by starting programs, with faults on request.

The faults are a file that every process reads before each call: {"fetch": ["cut", 2]} cuts the next two fetches. The file `down` beside
it makes the trainer unreachable as long as it is there.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.played import until
from trainer_core.child import child_environment
from trainer_core.errors import JobError, wrong_use
from trainer_core.models.downloads.progress import Progress
from trainer_core.remote.runs.carrier import NotNow, Target
from trainer_core.remote.runs.commanded import CommandedCarrier
from trainer_core.remote.runs.notes import Notes
from trainer_core.remote.runs.outgoing import Outgoing
from trainer_core.remote.runs.request import PlanPath, Request
from trainer_core.remote.runs.transfers import EVERY_S, Transfers

KIND = "home"
SLOW_S = 3.0
ROOT = str(Path(__file__).parents[2])


class Faults:
    """What goes wrong with a trainer, in a folder that tests and carriers share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def set(self, **wanted: tuple[str, int]) -> None:
        """The next calls that fail, by verb: how, and how often."""
        scratch = self.folder / "faults.new"
        scratch.write_text(json.dumps(wanted))
        scratch.replace(self.folder / "faults.json")

    def down(self, is_down: bool = True) -> None:
        """Makes the trainer unreachable, or reachable again."""
        (self.folder / "down").touch() if is_down else (self.folder / "down").unlink(missing_ok=True)

    def take(self, verb: str) -> str:
        """What happens to this call; "" for nothing. Each is counted."""
        with (self.folder / "calls").open("a") as calls:
            calls.write(f"{verb}\n")
        if (self.folder / "down").exists():
            return "down"
        try:
            wanted = json.loads((self.folder / "faults.json").read_text())
        except (OSError, ValueError):
            return ""
        how, times = wanted.get(verb, ("", 0))
        if times <= 0:
            return ""
        self.set(**{**wanted, verb: (how, times - 1)})
        return how

    def calls(self, verb: str) -> int:
        """How often this was called so far."""
        path = self.folder / "calls"
        return path.read_text().split().count(verb) if path.exists() else 0


class Machine:
    """The machine of the trainer: starts programs there for whoever asks at its socket.

    A process of a run may not start the trainer's programs: its supervisor ends everything that it has left running.
    """

    def __init__(self, home: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="easel-home-"))
        self.socket = self._folder / "socket"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.second_home_machine", str(self.socket)],
            env=child_environment({"EASEL_HOME": str(home), "PYTHONPATH": ROOT}),
        )
        until(self.socket.exists)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder)


class HomeTrainer:
    """Asks the machine of the second home to start programs."""

    def __init__(self, target: Target) -> None:
        self._socket, self.faults = str(target["socket"]), Faults(Path(target["faults"]))

    def run(self, words: Sequence[str], given: bytes = b"") -> tuple[int, bytes, bytes]:
        how = self.faults.take(words[3])
        self._before(how)
        done = self._asked(words, given)
        if how == "after":
            # The call was done, and its answer is lost.
            raise NotNow("The connection was cut.")
        return done

    def stream(self, words: Sequence[str], take: Callable[[bytes], None]) -> tuple[int, bytes]:
        how = self.faults.take(words[3])
        self._before(how)
        code, content, errors = self._asked(words, b"")
        if how == "bytes" and content:
            content = bytes([content[0] ^ 1]) + content[1:]
        for begin in range(0, len(content), 4096):
            take(content[begin : begin + 4096])
            if how == "half":
                raise NotNow("The connection was cut in the middle.")
        return code, errors

    def _asked(self, words: Sequence[str], given: bytes) -> tuple[int, bytes, bytes]:
        with socket.socket(socket.AF_UNIX) as made:
            made.connect(self._socket)
            with made.makefile("rwb") as stream:
                pickle.dump((list(words[3:]), given), stream)
                stream.flush()
                return pickle.load(stream)

    def close(self) -> None:
        return None

    def _before(self, how: str) -> None:
        if how == "down":
            raise NotNow("Nothing answers.")
        if how == "cut":
            raise NotNow("The connection was cut.")
        if how == "refused":
            raise JobError("The key is not valid any more.", "Renew it.")
        if how == "slow":
            time.sleep(SLOW_S)
        if how == "die":
            os.kill(os.getpid(), 9)


class HomeKind:
    """Trainers that are other homes of Easel on this machine, named by their folder."""

    id, title = KIND, "Another home"
    variables = ()

    @property
    def patience_s(self) -> float:
        return float(os.environ.get("EASEL_TEST_PATIENCE_S", "600"))

    def target(self, text: str) -> Target:
        if not Path(text).is_absolute():
            raise wrong_use(JobError(f"{text} is not a folder."))
        # Where its socket is, the folder says.
        return {"kind": KIND, "home": text, "faults": f"{text}-faults", "socket": (Path(text) / "socket").read_text()}

    def spelled(self, target: Target) -> str:
        return str(target["home"])

    def shown(self, target: Target) -> str:
        return f"the home {Path(target['home']).name}"

    def machine(self, target: Target) -> None:
        return None

    def carrier(self, target: Target, id: str, folder: Path, notes: Notes) -> CommandedCarrier:  # noqa: A002
        trainer, transfers = HomeTrainer(target), Transfers(folder)

        def bring(say: Callable[[str], None]) -> Request:
            how = trainer.faults.take("bring")
            if how == "slow":
                say("Bringing slowly.")
                with transfers.of("sending 3 images to there") as tell:
                    tell(Progress(1 << 20, 4 << 20, 0.0, None))
                    time.sleep(EVERY_S)
                    tell(Progress(3 << 20, 4 << 20, float(2 << 20), None))
                    time.sleep(SLOW_S - EVERY_S)
            trainer._before(how if how != "slow" else "")
            return brought(Outgoing.of(folder, id), Path(target["home"]), say)

        return CommandedCarrier(trainer, id, bring, transfers)


def brought(what: Outgoing, home: Path, say: Callable[[str], None]) -> Request:
    """Copies the images into the second home; the model files are those of this machine."""
    places: dict[str, str] = {}
    for images in what.images:
        folder = home / "datasets" / what.id / images.path.key / images.folder.name
        for name, source in images.sources():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
        places[images.path.key] = str(folder)
    say(f"{sum(len(each.files) for each in what.images)} files were brought.")

    def there(one: PlanPath) -> str:
        return places.get(one.key, one.path)

    return what.request(there)


def install(site: Path, monkeypatch: Any) -> None:
    """Makes the kind known to this process and to those that it starts."""
    about = site / "second_home-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: second-home\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[trainer_core.carriers]\n{KIND} = tests.support.second_home:kind\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(site), ROOT)))


kind: Any = HomeKind()

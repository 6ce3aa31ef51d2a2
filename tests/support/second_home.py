"""A trainer for tests: another home of Easel on this machine, which a carrier reaches by starting programs, with faults on request.

The faults are a file that every process reads before each call: {"fetch": ["cut", 2]} cuts the next two fetches. The file `down` beside
it makes the trainer unreachable as long as it is there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trainer_core.child import child_environment
from trainer_core.errors import JobError, wrong_use
from trainer_core.remote.runs.carrier import NotNow, Target
from trainer_core.remote.runs.commanded import CommandedCarrier
from trainer_core.remote.runs.notes import Notes
from trainer_core.remote.runs.outgoing import Outgoing
from trainer_core.remote.runs.request import PlanPath, Request

KIND = "home"
SLOW_S = 3.0


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


class HomeTrainer:
    """Starts programs in the second home."""

    def __init__(self, target: Target) -> None:
        self._home, self.faults = Path(target["home"]), Faults(Path(target["faults"]))
        self._environment = child_environment({"EASEL_HOME": str(self._home)})

    def run(self, words: Sequence[str], given: bytes = b"") -> tuple[int, bytes, bytes]:
        how = self.faults.take(words[3])
        self._before(how)
        done = subprocess.run(
            [sys.executable, *words],
            input=given,
            capture_output=True,
            env=self._environment,
            check=False,
            cwd=self._home,
        )
        if how == "after":
            # The call was done, and its answer is lost.
            raise NotNow("The connection was cut.")
        return done.returncode, done.stdout, done.stderr

    def stream(self, words: Sequence[str], take: Callable[[bytes], None]) -> tuple[int, bytes]:
        how = self.faults.take(words[3])
        self._before(how)
        with subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
            cwd=self._home,
        ) as made:
            assert made.stdout is not None
            assert made.stderr is not None
            first = True
            while piece := made.stdout.read(4096):
                if how == "bytes":
                    piece = bytes([piece[0] ^ 1]) + piece[1:]
                    how = ""
                take(piece)
                if how == "half" and first:
                    made.kill()
                    raise NotNow("The connection was cut in the middle.")
                first = False
            return made.wait(), made.stderr.read()

    def close(self) -> None:
        return None

    def _before(self, how: str) -> None:
        if how == "down":
            raise NotNow("Nothing answers.")
        if how == "cut":
            raise NotNow("The connection was cut.")
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
        return {"kind": KIND, "home": text, "faults": f"{text}-faults"}

    def spelled(self, target: Target) -> str:
        return str(target["home"])

    def shown(self, target: Target) -> str:
        return f"the home {Path(target['home']).name}"

    def machine(self, target: Target) -> None:
        return None

    def carrier(self, target: Target, id: str, folder: Path, notes: Notes) -> CommandedCarrier:  # noqa: A002
        trainer = HomeTrainer(target)

        def bring(say: Callable[[str], None]) -> Request:
            how = trainer.faults.take("bring")
            if how == "slow":
                say("Bringing slowly.")
                time.sleep(SLOW_S)
            trainer._before(how if how != "slow" else "")
            return brought(Outgoing.of(folder, id), Path(target["home"]), say)

        return CommandedCarrier(trainer, id, bring)


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
    root = str(Path(__file__).parents[2])
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(site), root)))


kind: Any = HomeKind()

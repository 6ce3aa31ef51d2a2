"""The driver of the job: trains each plan on a node of the cluster, and collects the results on the node where it runs itself.

Ray starts it as `python job.py` in a copy of its folder. On a node, `job.py --train FOLDER` runs the scripts of one training; it ends
the training when what started it is gone, as after `ray job stop`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path, PurePosixPath
from typing import Any

PIECE_BYTES = 32 << 20
EXIT_CODE = "exit-code"
SCRIPTS = ("setup.sh", "train.sh")


class Training:
    """One training on its node, as an actor of Ray."""

    def __init__(self, job: str, name: str, files: str, data: dict[str, str]) -> None:
        self._home = Path.home() / "easel-ray" / job / name
        self._files = files
        self._data = data

    def run(self) -> int:
        """Trains, and returns the exit code of the scripts. What they print goes into the log of the job."""
        here = Path.cwd()
        shutil.copytree(here / self._files, self._home / "files")
        for target, source in self._data.items():
            path = self._home / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(here / source)
        print(f"On {os.uname().nodename}, in {self._home}", flush=True)
        # A pipe that ends with this process: the other one then ends the training.
        command = [sys.executable, str(here / "job.py"), "--train", str(self._home)]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(line.rstrip(), flush=True)
        code = self._home / EXIT_CODE
        return int(code.read_text("utf-8")) if code.is_file() else 1

    def results(self) -> list[tuple[str, int]]:
        """The files of the results with their sizes in bytes."""
        folder = self._home / "results"
        found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        return [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in found]

    def read(self, name: str, offset: int) -> bytes:
        """A piece of one of these files."""
        with (self._home / "results" / name).open("rb") as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)


def drive(job: str, target: Path) -> int:
    """Trains every plan of the job and returns the exit code: 0 if all were trained."""
    # Ray would leave out lines of one training that look like those of another.
    os.environ["RAY_DEDUP_LOGS"] = "0"
    ray = importlib.import_module("ray")
    ray.init()
    trainings = json.loads(Path("job.json").read_text("utf-8"))["trainings"]
    actors = {}
    for each in trainings:
        needs = ray.remote(scheduling_strategy="SPREAD", **each["needs"])
        actors[each["name"]] = needs(Training).remote(job, each["name"], each["files"], each["data"])
    running = {actor.run.remote(): name for name, actor in actors.items()}
    failed = []
    while running:
        done, _ = ray.wait(list(running), num_returns=1)
        name = running.pop(done[0])
        code, kept = _ended(ray, done[0], actors[name], target / name)
        print(f"{name}: exit code {code}, {kept} files in {target / name}", flush=True)
        failed += [name] if code else []
    print(f"{len(trainings) - len(failed)} of {len(trainings)} plans were trained. Results: {target}", flush=True)
    return 1 if failed else 0


def _ended(ray: Any, run: Any, actor: Any, target: Path) -> tuple[int, int]:
    """The exit code of a training, and how many files of it were collected; the actor is not needed any more."""
    try:
        code = ray.get(run)
        kept = _collect(ray, actor, target)
    except ray.exceptions.RayError as error:
        # One node that is lost must not end the others.
        print(f"{target.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1, 0
    ray.kill(actor)
    return code, kept


def _collect(ray: Any, actor: Any, target: Path) -> int:
    """Copies the results of a training into a folder, and returns the number of files."""
    listed = ray.get(actor.results.remote())
    for name, size in listed:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts:
            continue
        path = target.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        with part.open("wb") as file:
            while file.tell() < size and (piece := ray.get(actor.read.remote(name, file.tell()))):
                file.write(piece)
        part.replace(path)
    return len(listed)


def train(home: Path) -> None:
    """Runs the scripts of one training, and writes their exit code into a file. It is ended when the standard input ends."""
    if os.fork():
        # What Ray kills with an actor are its own child processes: this must not be one.
        os._exit(0)
    ended = threading.Event()
    current: list[subprocess.Popen[str]] = []

    def watch() -> None:
        sys.stdin.read()
        ended.set()
        for process in current:
            process.send_signal(signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    code = 0
    for script in SCRIPTS:
        if ended.is_set() or code:
            break
        command = ["bash", str(home / "files" / script)]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            current.append(process)
            assert process.stdout is not None
            for line in process.stdout:
                _tell(line)
        current.clear()
        code = process.returncode
    (home / EXIT_CODE).write_text(f"{code or int(ended.is_set())}\n", "utf-8")


def _tell(line: str) -> None:
    """Passes a line on, if there is still somebody to read it."""
    try:
        print(line, end="", flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - the rest of the lines has no reader


def main() -> int:
    """The exit code of the driver."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--id", default=time.strftime("easel-%Y%m%d-%H%M%S"))
    parser.add_argument("--results", default="~/easel-results")
    parser.add_argument("--train", type=Path)
    given = parser.parse_args()
    if given.train is not None:
        train(given.train)
        return 0
    return drive(given.id, Path(given.results).expanduser() / given.id)


if __name__ == "__main__":
    sys.exit(main())

"""A run as a folder: every file of it, and how each is written.

    plan.toml        what was asked for; `easel train plan.toml` asks for the same again
    spec.json        what the backend made of it; written last, so its presence means a whole run
    versions.json    schema version of this folder, the versions of Easel, engine and Python, and the profile
    hardware.json    the machine
    dataset/         links to the pictures; the engine works here and never in the user's folder
    output/          what the engine writes
    engine.log       the engine's output as it came
    events.jsonl     what happened, one JSON object a line
    runner.json, engine.json   which processes they are
    runner.log       what the runner itself had to say
    stop             there when somebody asked for an end
    reserve          while it runs: room for its result, should the disk be full
    result.json      how it ended; appears whole

Tokens and passwords are in none of them: an engine inherits those from the environment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import platform
import re
import secrets
import shutil
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core import __version__, places
from trainer_core.backend import ArtefactPattern, Artefacts, JobSpec, Metrics
from trainer_core.errors import RunError

SCHEMA_VERSION = 1
_SECRET = re.compile(r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|API_?KEY)(?:$|_)", re.IGNORECASE)


@dataclass(frozen=True)
class RunDirectory:
    """The paths of a run's files, and the reading and writing of those that more than one process needs."""

    path: Path

    @classmethod
    def create(cls, folder: Path, name: str) -> RunDirectory:
        """A new, empty run folder below `folder`, called `<date>-<time>-<name>`.

        Raises:
            RunError: it cannot be made.
        """
        base = f"{time.strftime('%Y%m%d-%H%M%S')}-{_plain_name(name)}"
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(1, 1000):
                path = folder.resolve() / (base if number == 1 else f"{base}-{number}")
                with contextlib.suppress(FileExistsError):
                    path.mkdir()
                    return cls(path)
        raise RunError(f"No free name for a run in {folder}.", "Remove old runs.")

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """The run folder at `path`.

        Raises:
            RunError: it is none, or a newer Easel made it.
        """
        directory = cls(Path(path).resolve())
        if not places.is_there(directory.path / "spec.json"):
            raise RunError(f"{path} is not a run folder.", "A run folder holds a spec.json.")
        version = directory.versions.get("schema_version")
        if not isinstance(version, int):
            raise RunError(f"{path} does not say which schema it has.", "Its versions.json is damaged.")
        if version > SCHEMA_VERSION:
            raise RunError(
                f"{path} was made by a newer Easel (schema {version}, known here: {SCHEMA_VERSION}).", "Update Easel."
            )
        return directory

    @property
    def dataset(self) -> Path:
        """The staged pictures."""
        return self.path / "dataset"

    @property
    def output(self) -> Path:
        """What the engine writes."""
        return self.path / "output"

    @property
    def log(self) -> Path:
        """The engine's output."""
        return self.path / "engine.log"

    @property
    def runner_log(self) -> Path:
        """The runner's own output: empty when all is well."""
        return self.path / "runner.log"

    @property
    def events(self) -> Path:
        """What happened, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def stop(self) -> Path:
        """The file that asks for an end."""
        return self.path / "stop"

    @property
    def reserve(self) -> Path:
        """Room on the disk that is given up for the result when there is no other."""
        return self.path / "reserve"

    @property
    def result(self) -> dict[str, Any] | None:
        """How the run ended; None while it has not."""
        return self.read("result.json")

    @property
    def versions(self) -> dict[str, Any]:
        """The schema version of this folder, and the versions of Easel, the engine and Python."""
        return self.read("versions.json") or {}

    @property
    def plan(self) -> dict[str, Any]:
        """The plan as tables, without the schema version and the engine's id that stand beside them in the file.

        Raises:
            RunError: the file is damaged.
        """
        try:
            tables = tomllib.loads((self.path / "plan.toml").read_text("utf-8", errors="surrogateescape"))
        except (OSError, ValueError) as error:
            raise RunError(f"The plan in {self.path} cannot be read: {error}.") from error
        return {name: table for name, table in tables.items() if isinstance(table, dict)}

    @property
    def spec(self) -> JobSpec:
        """What the backend made of the plan. Its `files` are empty: they lie in this folder.

        Raises:
            RunError: the file is damaged.
        """
        try:
            return _spec_from(self.read("spec.json") or {})
        except (KeyError, TypeError) as error:
            raise RunError(f"The spec.json in {self.path} is damaged: {error}.") from error

    @property
    def total_steps(self) -> int:
        """How many steps the job has; 0 when its file does not say."""
        number = (self.read("spec.json") or {}).get("total_steps", 0)
        return number if isinstance(number, int) else 0

    def write_job(
        self, plan: Mapping[str, Any], spec: JobSpec, versions: Mapping[str, Any], hardware: Mapping[str, Any]
    ) -> None:
        """Writes everything the runner needs, `spec.json` last.

        Raises:
            RunError: a file cannot be written, or the backend asked for something that no run may hold.
        """
        import tomli_w

        if secrets := [name for name in spec.environment if _SECRET.search(name)]:
            raise RunError(
                f"{spec.backend} wants to write {', '.join(secrets)} into the run folder.",
                "Tokens stay in the environment.",
            )
        with _writing(self.path):
            self.output.mkdir(exist_ok=True)
            for name, text in spec.files.items():
                self._write_native(name, text)
            tables = {"schema_version": SCHEMA_VERSION, "engine": spec.backend, **plan}
            write_text(self.path / "plan.toml", tomli_w.dumps(tables))
            own = {"schema_version": SCHEMA_VERSION, "easel": __version__, "python": platform.python_version()}
            self.write("versions.json", {**own, **versions})
            self.write("hardware.json", hardware)
            self.write("spec.json", _spec_data(spec))

    def _write_native(self, name: PurePosixPath, text: str) -> None:
        if name.is_absolute() or ".." in name.parts:
            raise RunError(f"The backend wants to write {name}, which is not inside the run folder.")
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)

    def read(self, name: str) -> dict[str, Any] | None:
        """The JSON object in a file of this folder; None when it is not there or not (yet) readable."""
        try:
            data = json.loads((self.path / name).read_text("utf-8", errors="surrogateescape"))
        except (OSError, ValueError):
            return None
        return data if isinstance(data, dict) else None

    def write(self, name: str, data: Mapping[str, Any]) -> None:
        """Writes a JSON file of this folder, which appears whole or not at all."""
        write_text(self.path / name, json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n")

    def remove(self) -> None:
        """Deletes the folder and the links in it; what they point to stays."""
        shutil.rmtree(self.path, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes a file that appears whole or not at all."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # A file name that is not UTF-8 keeps its bytes.
        with scratch.open("x", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.write(text)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"The run folder in {folder} cannot be written: {error.strerror or error}.", "Check free space and rights."
        ) from error


def _plain_name(name: str) -> str:
    """The name as part of a folder's name: letters, digits, dot, dash and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:60] or "run"


def _spec_data(spec: JobSpec) -> dict[str, Any]:
    """The spec as JSON data; of its files only the names."""
    data = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    data |= {"files": [str(name) for name in spec.files], "metrics": dataclasses.asdict(spec.metrics)}
    return {**data, "environment": dict(spec.environment), "artefacts": dataclasses.asdict(spec.artefacts)}


def _spec_from(data: Mapping[str, Any]) -> JobSpec:
    metrics, artefacts = dict(data["metrics"]), data["artefacts"]
    metrics["folder"] = Path(metrics["folder"]) if metrics["folder"] else None
    metrics["learning_rates"] = tuple(metrics["learning_rates"])
    known = {field.name for field in dataclasses.fields(JobSpec)}
    read = {
        "files": {},
        "command": tuple(data["command"]),
        "working_directory": Path(data["working_directory"]),
        "metrics": Metrics(**metrics),
        "artefacts": Artefacts(**{kind: ArtefactPattern(**pattern) for kind, pattern in artefacts.items()}),
    }
    return JobSpec(**{**{name: value for name, value in data.items() if name in known}, **read})

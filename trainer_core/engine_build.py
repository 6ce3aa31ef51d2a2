"""How an engine's environment is made and checked: the steps under `trainer_core.environments`. Standard library only."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import engine_check, engine_dump, hardware, interpreters, torch_choice
from trainer_core.child import child_environment
from trainer_core.engine_table import EngineTable, Variant
from trainer_core.errors import InstallError
from trainer_core.torch_choice import REGISTRY, TorchChoice
from trainer_core.uv import cache_folder, decisive_line, run_logged, uv_environment

Report = Callable[[str], None]

_GIB = 1024**3
_CHECK_S = 600


@dataclass(frozen=True)
class Build:
    """What was settled before anything is fetched; `choices` are the builds of torch to try, best first."""

    title: str
    variant: Variant
    interpreter: interpreters.Interpreter
    choices: tuple[TorchChoice, ...]
    table: EngineTable


def settle(table: EngineTable, device: hardware.Accelerator, python: str | None, uv: Path, report: Report) -> Build:
    """The first variant that the device and the Pythons at hand allow, with the Python and the builds of torch for it.

    Raises:
        InstallError: why not even the preferred variant can be had.
    """
    refused: list[InstallError] = []
    for variant in table.variants:
        try:
            choices = torch_choice.choices(variant.torch, device, f"{table.title} {variant.version}")
            wanted = [minor for minor in variant.python if python in (None, minor)]
            if not wanted:
                raise InstallError(
                    f"{table.title} {variant.version} does not run on Python {python}.",
                    f"It takes {' or '.join(variant.python)}.",
                )
            found = interpreters.find(wanted, uv, uv_environment(), report, f"{table.title} {variant.version}")
        except InstallError as error:
            refused.append(error)
            continue
        for error in refused:
            report(f"{error.message} So this is version {variant.version}.")
        return Build(table.title, variant, found, choices, table)
    raise refused[0]


def fill(
    folder: Path, build: Build, device: hardware.Accelerator, uv: Path, lock: int, report: Report
) -> tuple[TorchChoice, Mapping[str, Any]]:
    """The build of torch that was used and what the check saw, once the environment in `folder` is filled and works.

    Raises:
        InstallError: none of the builds could be installed, or none works.
    """
    for position, choice in enumerate(build.choices):
        last = position == len(build.choices) - 1
        missing = failure = _put_packages(folder, build, choice, uv, lock, report)
        seen: Mapping[str, Any] = {}
        if not failure:
            report("Checking that it works.")
            wanted = device.kind if device.present else ""
            seen, failure = check_and_record(folder, build.table, build.variant, build.variant.imports, wanted, report)
        if not failure:
            return choice, seen
        # Nothing stands in for hashed packages that cannot be had, or are not what they were.
        if last or (missing and choice.build == REGISTRY):
            network = "Check that this machine reaches its package registry, or name a mirror in UV_DEFAULT_INDEX. "
            if choice.build != REGISTRY:
                network = (
                    f"The torch build {choice.build} comes from PyTorch's own index, which must be reachable here. "
                )
            hint = f"{network if 'fetch' in failure else ''}The whole output is in {log_of(folder)}"
            raise InstallError(f"{build.title} could not be installed: {failure}.", hint)
        report(
            f"torch for {choice.build} cannot be used here ({failure}): taking the next build that runs on this machine."
        )
    raise AssertionError("torch_choice.choices is never empty")


def _put_packages(folder: Path, build: Build, choice: TorchChoice, uv: Path, lock: int, report: Report) -> str:
    """What went wrong, in one line; "" once `folder` has a fresh venv with the pinned packages and the chosen torch."""
    venv = folder / "venv"

    def run(*arguments: str, say: Report | None = report, **variables: str) -> str:
        environment = {**uv_environment(), **variables}
        status, output = run_logged([str(uv), *arguments], log_of(folder), say, environment, (lock,), cwd=folder)
        return decisive_line(output) if status else ""

    if failure := run("venv", "--quiet", "--clear", "--python", str(build.interpreter.path), str(venv), say=None):
        return failure
    put = ("pip", "install", "--python", str(venv / "bin" / "python"))
    pinned = [*put, "--no-deps", "--require-hashes", "--requirement", str(build.variant.lock)]
    report(choice.reason)
    if choice.build == REGISTRY:
        return run(*pinned, "--requirement", str(build.variant.torch_lock))
    torch = [f"--torch-backend={choice.build}", *(f"{name}=={version}" for name, version in choice.pins.items())]
    # Asked first and without patience: whether the index can be reached, and has these builds, is known before gigabytes move.
    failure = run(*put, "--dry-run", "--no-deps", *torch, say=None, UV_HTTP_RETRIES="0", UV_HTTP_TIMEOUT="10")
    return failure or run(*pinned) or run(*put, *torch)


def check(folder: Path, imports: Sequence[str], accelerator: str) -> tuple[Mapping[str, Any], str]:
    """(what was seen, "") or (what was seen, the failure), from the engine's own Python in `folder`."""
    source = folder / "source"
    task = {"imports": list(imports), "path": str(source) if source.is_dir() else None, "device": accelerator}
    seen, failure = _answer(folder, Path(engine_check.__file__), task, folder)
    if failure:
        return seen, failure
    return seen, "" if seen.pop("ok") else seen["failure"]


def _answer(folder: Path, program: Path, task: Mapping[str, Any], inside: Path) -> tuple[dict[str, Any], str]:
    """(the JSON object in the last line of a program that the engine's own Python runs, "") or (nothing, the failure)."""
    command = [str(folder / "venv" / "bin" / "python"), str(program), json.dumps(task)]
    # Nothing may be looked up; the import of some engines would try.
    environment = child_environment({"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"})
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_CHECK_S,
            env=environment,
            cwd=inside,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {}, str(error)
    with log_of(folder).open("a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}\n")
    try:
        return json.loads(done.stdout.strip().splitlines()[-1]), ""
    except (ValueError, IndexError):
        return {}, decisive_line(done.stderr) or f"it ended with status {done.returncode}"


def check_and_record(
    folder: Path, table: EngineTable, variant: Variant, imports: Sequence[str], accelerator: str, report: Report
) -> tuple[Mapping[str, Any], str]:
    """What `check` says; beside it, in another process, the engine's own options are recorded."""
    with ThreadPoolExecutor(max_workers=1) as beside:
        recording = beside.submit(record_options, folder, table, variant)
        answer = check(folder, imports, accelerator)
    if not answer[1] and (said := recording.result()):
        report(said)
    return answer


def record_options(folder: Path, table: EngineTable, variant: Variant) -> str:
    """Write the options of the engine in `folder` into its `schema`; returns what to tell, "" when it lists none.

    An engine works without: then Easel goes by the record that it ships.
    """
    if table.dump is None:
        return ""
    source = folder / "source"
    with tempfile.TemporaryDirectory(prefix=".schema-", dir=folder) as name:
        fresh, old = Path(name, "schema"), Path(name, "old")
        fresh.mkdir()
        task = {
            "dump": str(table.dump),
            "to": str(fresh),
            "path": str(source) if source.is_dir() else None,
            "version": table.commit or variant.version,
        }
        seen, failure = _answer(folder, Path(engine_dump.__file__), task, Path(name))
        if failure:
            return f"The options of {table.title} could not be recorded ({failure}): Easel goes by its own record."
        if (folder / "schema").exists():
            (folder / "schema").rename(old)
        fresh.rename(folder / "schema")
    count = len(seen["programs"])
    return f"Recorded the options of {table.title}: {count} tables in {seen['seconds']:.0f} s."


def require_space(folder: Path, uv: Path, needed_gib: float, title: str) -> None:
    """Raise InstallError when a disk is too full: that of the engine, or that of uv's cache where it is another one.

    On one disk both hold the same files once, by hard links.
    """
    for needing in (folder, cache_folder(uv)):
        free_gib = hardware.free_disk_bytes(needing) / _GIB
        if free_gib < needed_gib:
            raise InstallError(
                f"{title} needs about {needed_gib:.0f} GiB in {needing}, and {free_gib:.1f} GiB are free.",
                "Free some space, or set EASEL_HOME (and UV_CACHE_DIR) to a folder on a larger disk.",
            )


def log_of(folder: Path) -> Path:
    """Where the raw output of the tools is kept."""
    return folder / "install.log"


def on_gpu(seen: Mapping[str, Any]) -> str:
    """A few words on the GPU that the check computed on, or ""."""
    return f", on {seen['gpu']} ({seen['architecture']})" if "gpu" in seen else ""

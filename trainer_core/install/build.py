"""How an engine's environment is created and checked: the steps that `trainer_core.install.environments` uses. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import hardware
from trainer_core.child import child_environment
from trainer_core.engines.manifest import BackendManifest, Variant
from trainer_core.errors import InstallError
from trainer_core.install import interpreters, mirrors, torch_choice
from trainer_core.install.inside import check as check_program
from trainer_core.install.inside import dump
from trainer_core.install.torch_choice import REGISTRY, TorchChoice
from trainer_core.install.uv import cache_folder, decisive_line, run_logged, uv_environment

Report = Callable[[str], None]

_GIB = 1024**3
_CHECK_S = 600


@dataclass(frozen=True)
class Build:
    """What is decided before anything is downloaded; `choices` are the torch builds to try, best first."""

    title: str
    variant: Variant
    interpreter: interpreters.Interpreter
    choices: tuple[TorchChoice, ...]
    table: BackendManifest


def settle(table: BackendManifest, device: hardware.Accelerator, python: str | None, uv: Path, report: Report) -> Build:
    """The first variant that the device and the available Pythons allow, with its Python and its torch builds.

    Raises:
        InstallError: no variant can be installed; the reason is that of the preferred one.
    """
    refused: list[InstallError] = []
    for variant in table.environment:
        try:
            choices = torch_choice.choices(variant.torch, device, f"{table.title} {variant.version}")
            wanted = [minor for minor in variant.python if python in (None, minor)]
            if not wanted:
                raise InstallError(
                    f"{table.title} {variant.version} does not run on Python {python}.",
                    f"Use Python {' or '.join(variant.python)}.",
                )
            found = interpreters.find(wanted, uv, uv_environment(), report, f"{table.title} {variant.version}")
        except InstallError as error:
            refused.append(error)
            continue
        for error in refused:
            report(f"{error.message} Version {variant.version} is installed instead.")
        return Build(table.title, variant, found, choices, table)
    raise refused[0]


def fill(
    folder: Path,
    build: Build,
    device: hardware.Accelerator,
    uv: Path,
    lock: int,
    report: Report,
    *,
    thorough: bool = False,
    torch: str = "",
) -> tuple[TorchChoice, Mapping[str, Any]]:
    """The torch build that was used and what the check found, once the environment in `folder` is complete and works.

    The `thorough` check imports all that trainings use. `torch` is the only build to use, if one is named.

    Raises:
        InstallError: no build could be installed, or none works.
    """
    choices = [choice for choice in build.choices if torch in ("", choice.build)]
    if not choices:
        able = ", ".join(choice.build for choice in build.choices)
        raise InstallError(f"{build.title} cannot use torch for {torch} here.", f"This machine can use: {able}.")
    for position, choice in enumerate(choices):
        last = position == len(choices) - 1
        missing = failure = _install_packages(folder, build, choice, uv, lock, report)
        seen: Mapping[str, Any] = {}
        if not failure:
            report("Checking that it works.")
            wanted = device.kind if device.present else ""
            work = compile_modules if ships_record(build.table, build.variant) else record_options
            seen, failure = check_while(work, folder, build.table, build.variant, wanted, report, thorough=thorough)
        if not failure:
            return choice, seen
        # There is no alternative to hashed packages that cannot be downloaded or have changed.
        if last or (missing and choice.build == REGISTRY):
            network = "Check that this machine can reach its package registry, or set UV_DEFAULT_INDEX to a mirror. "
            if choice.build != REGISTRY:
                network = f"The torch build {choice.build} comes from PyTorch's own index, which must be reachable here, or a mirror of it in {mirrors.TORCH_INDEX}. "
            hint = f"{network if 'fetch' in failure else ''}The full output is in {log_of(folder)}"
            raise InstallError(f"{build.title} could not be installed: {failure}.", hint)
        report(
            f"torch for {choice.build} cannot be used here ({failure}): trying the next build that runs on this machine."
        )
    raise AssertionError("torch_choice.choices is never empty")


def _install_packages(folder: Path, build: Build, choice: TorchChoice, uv: Path, lock: int, report: Report) -> str:
    """What failed, in one line; "" once `folder` has a new venv with the pinned packages and the chosen torch."""
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
    where, variables = mirrors.torch_from(choice.build, os.environ)
    torch = [*where, *(f"{name}=={version}" for name, version in choice.pins.items())]
    # A quick dry run shows whether the index can be reached and has these builds, before gigabytes are downloaded.
    failure = run(
        *put, "--dry-run", "--no-deps", *torch, say=None, **variables, UV_HTTP_RETRIES="0", UV_HTTP_TIMEOUT="10"
    )
    return failure or run(*pinned) or run(*put, *torch, say=report, **variables)


def check(folder: Path, imports: Sequence[str], accelerator: str, inside: str = "") -> tuple[Mapping[str, Any], str]:
    """(what was found, "") or (what was found, the failure), from the engine's own Python in `folder`.

    `inside` is the folder in the sources that has the engine's packages.
    """
    source = folder / "source" / inside
    task = {"imports": list(imports), "path": str(source) if source.is_dir() else None, "device": accelerator}
    seen, failure = _answer(folder, Path(check_program.__file__), task, folder)
    if failure:
        return seen, failure
    return seen, "" if seen.pop("ok") else seen["failure"]


def _answer(folder: Path, program: Path, task: Mapping[str, Any], inside: Path) -> tuple[dict[str, Any], str]:
    """(the JSON object in the last line of a program that the engine's own Python runs, "") or ({}, the failure)."""
    command = [str(folder / "venv" / "bin" / "python"), str(program), json.dumps(task)]
    # Offline: some engines would contact the Hub while they are imported.
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
        return {}, decisive_line(done.stderr) or f"it exited with status {done.returncode}"


def check_while(
    work: Callable[[Path, BackendManifest, Variant], str],
    folder: Path,
    table: BackendManifest,
    variant: Variant,
    accelerator: str,
    report: Report,
    *,
    thorough: bool = False,
) -> tuple[Mapping[str, Any], str]:
    """The result of `check`, while `work` (`record_options` or `compile_modules`) runs in another process."""
    imports = [*variant.imports, *(variant.imports_thorough if thorough else ())]
    with ThreadPoolExecutor(max_workers=1) as pool:
        working = pool.submit(work, folder, table, variant)
        answer = check(folder, imports, accelerator, table.upstream.packages)
    if not answer[1] and (said := working.result()):
        report(said)
    return answer


def compile_modules(folder: Path, _table: BackendManifest, variant: Variant) -> str:
    """Compile the engine's own packages in `folder` to bytecode; returns "", because there is nothing to report.

    Python compiles each module at its first import anyway. Compiled here, the first training starts some seconds
    sooner; the check leaves a CPU core free for it.
    """
    names = dict.fromkeys(name.partition(".")[0] for name in variant.imports_thorough)
    packages = [str(found) for name in names for found in folder.glob(f"venv/lib/python*/site-packages/{name}")]
    command = [str(folder / "venv" / "bin" / "python"), "-m", "compileall", "-qq", *packages]
    if packages:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=_CHECK_S, env=child_environment(), check=False)
    return ""


def ships_record(table: BackendManifest, variant: Variant) -> bool:
    """Whether Easel ships a record of the options of exactly this version of the engine."""
    version = table.commit or variant.version
    records = sorted((table.folder / "schema").glob("*.json"))
    return any(json.loads(record.read_text("utf-8")).get("version") == version for record in records)


def record_options(folder: Path, table: BackendManifest, variant: Variant) -> str:
    """Write the options of the engine in `folder` into its `schema`; returns what to report, "" when it lists none.

    The engine works without this: Easel then uses the record that it ships.
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
        seen, failure = _answer(folder, Path(dump.__file__), task, Path(name))
        if failure:
            return f"The options of {table.title} could not be recorded ({failure}): Easel uses its own record."
        if (folder / "schema").exists():
            (folder / "schema").rename(old)
        fresh.rename(folder / "schema")
    count = len(seen["programs"])
    return f"Recorded the options of {table.title}: {count} tables in {seen['seconds']:.0f} s."


def require_space(folder: Path, uv: Path, needed_gib: float, title: str) -> None:
    """Raise InstallError when a disk is too full: the engine's, or that of uv's cache if it is another one.

    On the same disk, both share the files through hard links.
    """
    is_update = (folder / "installed.json").exists()
    beside = " The installed one is kept until the new one works; you can also remove it first." if is_update else ""
    for needing in (folder, cache_folder(uv)):
        free_gib = hardware.free_disk_bytes(needing) / _GIB
        if free_gib < needed_gib:
            raise InstallError(
                f"{title} needs about {needed_gib:.0f} GiB in {needing}, but only {free_gib:.1f} GiB are free.",
                "Free some space, or set EASEL_HOME (and UV_CACHE_DIR) to a folder on a larger disk." + beside,
            )


def log_of(folder: Path) -> Path:
    """The file with the raw output of the tools."""
    return folder / "install.log"


def on_gpu(seen: Mapping[str, Any]) -> str:
    """The end of a sentence that names the GPU that the check computed on, or ""."""
    return f", on {seen['gpu']} ({seen['architecture']})" if "gpu" in seen else ""

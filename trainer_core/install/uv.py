"""uv, the tool that creates all environments: found, or downloaded as a pinned wheel. Standard library only, Python 3.8 syntax."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Sequence, Tuple

from trainer_core.child import child_environment, full_environment
from trainer_core.errors import InstallError
from trainer_core.install import mirrors
from trainer_core.install.addresses import without_secrets
from trainer_core.places import home, resource

# The release that was tested; an older one may not know the newest torch builds or Pythons.
_MINIMUM = (0, 13, 0)
_ANSWER_S = 15
_FETCH_S = 300

# The lines of uv's output to show to a user who waits: the large downloads, and each step once.
_SHOWN = re.compile(r"Downloading \S+ \((\d{3,}\.\d+MiB|[\d.]+GiB)\)|Prepared |Installed ")
_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def system_certificates() -> str:
    """The file of certificates that this system trusts, or ""; companies add their own to it."""
    return next((path for path in _CERTIFICATES if Path(path).exists()), "")


def uv_environment() -> Dict[str, str]:
    """The environment variables for uv: download addresses and caches, but nothing that changes what it installs."""
    kept = mirrors.for_uv(os.environ)
    kept["UV_NO_CONFIG"] = "1"
    if system_certificates() and "SSL_CERT_FILE" not in os.environ:
        kept.setdefault("UV_SYSTEM_CERTS", "1")
    return full_environment(kept)


def kept_settings() -> Dict[str, str]:
    """The user's settings of uv and pip for download addresses and caches, for a child process that calls them."""
    return mirrors.kept(os.environ)


def ensure_uv(report: Callable[[str], None] = print) -> Path:
    """A uv of a suitable version: on PATH, next to this Python, among Easel's tools, or downloaded there with pip.

    Raises:
        InstallError: there is none, and pip is missing or cannot download it.
    """
    found = find_uv()
    if found is not None:
        return found
    own = _own()
    report("Downloading uv, the tool that creates the environments.")
    _fetch_with_pip(own.parent.parent)
    if version_of(own) < _MINIMUM:
        raise InstallError(
            "uv was downloaded but does not run on this machine.",
            "Install uv 0.13 or newer yourself and run this again.",
        )
    return own


def find_uv() -> Optional[Path]:
    """A uv of a suitable version that is already here; None if there is none."""
    on_path = shutil.which("uv")
    candidates = [Path(on_path)] if on_path else []
    candidates += [Path(sys.prefix, "bin", "uv"), _own()]
    fitting = (program for program in candidates if program.exists() and version_of(program) >= _MINIMUM)
    return next(fitting, None)


def _own() -> Path:
    return home() / "tools" / "uv" / "bin" / "uv"


def cache_folder(uv: Path) -> Path:
    """The folder where uv keeps its downloads."""
    command = [str(uv), "cache", "dir"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, timeout=_ANSWER_S, env=uv_environment(), check=True)
    return Path(answer.stdout.decode().strip())


def version_of(uv: Path) -> Tuple[int, ...]:
    """The version that a uv reports; () when it does not run."""
    try:
        answer = subprocess.run(
            [str(uv), "--version"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_ANSWER_S,
            env=uv_environment(),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.match(rb"uv (\d+)\.(\d+)\.(\d+)", answer.stdout)
    return tuple(int(part) for part in found.groups()) if found and answer.returncode == 0 else ()


def _fetch_with_pip(target: Path) -> None:
    """Install the pinned uv wheel under `target`, checked against its hash, with the first Python here that has pip."""
    kept = mirrors.for_pip(os.environ)
    if system_certificates():
        # pip before 24.2 trusts only the certificates that it ships.
        kept.setdefault("PIP_CERT", system_certificates())
    lock = resource("requirements") / "uv.txt"
    arguments = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--require-hashes",
        "--upgrade",
    ]
    arguments += ["--target", str(target), "--requirement", str(lock)]
    last = ""
    try:
        # pip would say of a folder that cannot be made only that there was an exception.
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InstallError(
            "uv cannot be put into " + str(target) + ": " + str(error.strerror or error) + ".",
            "Choose another folder for Easel's files: set EASEL_HOME.",
        ) from error
    for python in _pythons_with_pip():
        try:
            done = subprocess.run(
                [python, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_FETCH_S,
                env=full_environment(kept),
                check=False,
            )
        except subprocess.TimeoutExpired:
            last = "pip did not end within {} s".format(_FETCH_S)
            continue
        if done.returncode == 0:
            return
        last = decisive_line(done.stdout.decode("utf-8", "replace"))
    if last:
        raise InstallError(
            "uv could not be downloaded: " + last,
            "Check that this machine can reach its package registry, or install uv yourself.",
        )
    raise InstallError(
        "Neither uv nor pip was found.",
        "Install one of them (for example: apt install python3-pip) and run this again.",
    )


def _pythons_with_pip() -> Iterator[str]:
    """This Python and those on PATH for which `python -m pip` works; each is checked only when the caller asks for it."""
    named = [sys.executable, shutil.which("python3"), shutil.which("python"), "/usr/bin/python3"]
    for python in dict.fromkeys(name for name in named if name and os.access(name, os.X_OK)):
        command = [python, "-m", "pip", "--version"]
        try:
            answer = subprocess.run(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_ANSWER_S,
                env=child_environment(),
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if answer.returncode == 0:
            yield python


def run_logged(
    command: Sequence[str],
    log: Path,
    report: Optional[Callable[[str], None]] = None,
    environment: Optional[Mapping[str, str]] = None,
    keep_open: Sequence[int] = (),
    **options: Any,
) -> Tuple[int, str]:
    """(exit status, output) of `command`.

    The raw output is appended to `log`; the lines worth showing go to `report` as they come.

    `keep_open` are file descriptors the child inherits: a lock stays held until the last process that has it open has ended.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    with log.open("a", encoding="utf-8") as record:
        record.write("$ " + without_secrets(" ".join(command)) + "\n")
        record.flush()
        environment = uv_environment() if environment is None else dict(environment)
        with subprocess.Popen(
            list(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=tuple(keep_open),
            **options,
        ) as process:
            for raw in process.stdout or ():
                line = without_secrets(raw.decode("utf-8", "replace").rstrip())
                lines.append(line)
                record.write(line + "\n")
                record.flush()
                if report and _SHOWN.match(line.strip()):
                    report("  " + line.strip())
    return process.returncode, "\n".join(lines)


def decisive_line(output: str) -> str:
    """The line of a tool's output that says what failed: its error with the innermost cause, else the last line."""
    lines = [line.strip() for line in without_secrets(output).splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(error|ERROR)\b", line)]
    causes = [re.sub(r"^(cause|Caused by):\s*", "", line) for line in lines if re.match(r"(cause|Caused by):", line)]
    if errors:
        said = [re.sub(r"^(error|ERROR):\s*", "", errors[0]), *causes]
        if said[0].startswith("Request failed") and causes:
            # The number of retries is less informative than the request that failed.
            del said[0]
        return "; ".join(dict.fromkeys([said[0], said[-1]]))
    return lines[-1] if lines else "no output"
